"""A graph that cannot be built leaves nothing behind for the next one."""

import pytest
from tensorpack.models import Conv2D
from tensorpack.tfutils.argscope import get_arg_scope

import sspq
from sspq import models
from sspq.analysis.layers import inference_graph
from sspq.graphs.argscope import argscope


def size_of_sspq34():
    variables = inference_graph(sspq.CifarSSPQ34()).get_collection("trainable_variables")
    return sum(v.shape.num_elements() for v in variables)


def test_a_refused_network_does_not_change_the_next_one():
    assert size_of_sspq34() == 162244
    with pytest.raises(ValueError):
        inference_graph(models.build("lspq50", image_size=100000))
    assert size_of_sspq34() == 162244


def test_an_error_ends_the_inner_scopes_and_leaves_the_outer_one():
    with argscope(Conv2D, strides=2):
        with pytest.raises(KeyError), argscope(Conv2D, strides=3), argscope(
            [Conv2D], padding="SAME"
        ):
            assert get_arg_scope()["Conv2D"] == {"strides": 3, "padding": "SAME"}
            raise KeyError
        assert get_arg_scope()["Conv2D"] == {"strides": 2}
    assert not get_arg_scope()
