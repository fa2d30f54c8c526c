"""The order in which MLQ quantizes layers."""

import pytest

from sspq.slq import Advance, incremental_stages

LAYERS = ("conv1", "conv2", "fc")


def test_by_default_each_layer_passes_both_states_in_network_order():
    assert incremental_stages(LAYERS) == (
        Advance(("conv1",), 1),
        Advance(("conv1",), 2),
        Advance(("conv2",), 1),
        Advance(("conv2",), 2),
        Advance(("fc",), 1),
        Advance(("fc",), 2),
    )


def test_layers_of_a_group_advance_together_in_the_order_of_the_groups():
    assert incremental_stages(LAYERS, [["fc"], ["conv1", "conv2"]]) == (
        Advance(("fc",), 1),
        Advance(("fc",), 2),
        Advance(("conv1", "conv2"), 1),
        Advance(("conv1", "conv2"), 2),
    )


@pytest.mark.parametrize(
    "groups",
    [[["conv1", "conv2"]], [["conv1", "conv2", "fc"], ["fc"]], [["conv1", "conv2", "fc", "fc2"]]],
)
def test_groups_that_do_not_hold_each_layer_once_are_refused(groups):
    with pytest.raises(ValueError, match="each of the layers .*'fc'.* once, got"):
        incremental_stages(LAYERS, groups)
