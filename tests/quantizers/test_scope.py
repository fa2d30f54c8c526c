"""Which kernels each variant quantizes."""

import json
import os

import pytest

from sspq.quantizers.scope import weight_scope

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "golden")


def quantized(variant):
    with open(os.path.join(GOLDEN, "cifar-s1-paper.json")) as f:
        names = [name for name, _, _ in json.load(f)["variables"]]
    scope = weight_scope("cifar", variant)
    return [name for name in names if scope.holds(name)]


def test_paper_quantizes_every_kernel_but_the_first_and_the_last():
    names = quantized("paper")
    assert all(name.endswith("/W") for name in names)
    assert "conv1/W" not in names and "fct/W" not in names
    # Two in each of 15 blocks, three shortcuts, and the one of conv6.
    assert len(names) == 2 * 15 + 3 + 1


def test_released_quantizes_the_three_shortcuts_alone():
    blocks = ("conv3blk1", "conv4blk1", "conv5blk1")
    assert quantized("released") == ["%s/convshortcut/W" % b for b in blocks]


def test_a_tower_prefix_changes_nothing():
    scope = weight_scope("cifar", "paper")
    assert not scope.holds("tower1/conv1/W")
    assert scope.holds("tower1/conv2blk1/conv1x1a/W")


def test_an_unknown_variant_is_refused():
    with pytest.raises(
        ValueError, match=r"`variant` must be one of .*'paper', 'released'.*'Paper'"
    ):
        weight_scope("cifar", "Paper")


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match="`family` must be one of"):
        weight_scope("mnist", "paper")
