"""Which kernels each variant quantizes."""

import json
import os

import pytest

from sspq.quantizers.scope import weight_bits, weight_scope

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "golden")


def quantized(variant, family="cifar", name="cifar-s1-paper"):
    with open(os.path.join(GOLDEN, name + ".json")) as f:
        names = [name for name, _, _ in json.load(f)["variables"]]
    scope = weight_scope(family, variant)
    return [name for name in names if scope.holds(name)]


def test_paper_quantizes_every_kernel_but_the_first_and_the_last():
    names = quantized("paper")
    assert all(name.endswith("/W") for name in names)
    assert "conv1/W" not in names and "fct/W" not in names
    # Two in each of 15 blocks, three shortcuts, and the one of conv6.
    assert len(names) == 2 * 15 + 3 + 1


def test_released_quantizes_the_three_shortcuts_alone():
    blocks = ("conv3blk1", "conv4blk1", "conv5blk1")
    assert quantized("released") == [f"{b}/convshortcut/W" for b in blocks]


def test_paper_quantizes_every_1x1_kernel_of_l_sspq():
    names = quantized("paper", "imagenet", "imagenet-s1-released")
    assert all(name.endswith("/W") for name in names)
    assert "conv0/W" not in names and "linear/W" not in names and "bfAP/conv1x1a/W" in names
    # Two in each of 15 blocks, four shortcuts, and the one of bfAP.
    assert len(names) == 2 * 15 + 4 + 1


def test_released_quantizes_nothing_of_l_sspq():
    assert quantized("released", "imagenet", "imagenet-s1-released") == []


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


@pytest.mark.parametrize(
    "family, kernel, last",
    [("cifar", "conv2blk1/conv1x1a", "fct"), ("imagenet", "bfAP/conv1x1a", "linear")],
)
def test_kernels_and_the_last_layer_have_bits_of_their_own(family, kernel, last):
    bits = weight_bits(family, "paper", 4, 8)
    assert (bits.of(kernel + "/W"), bits.of(last + "/W"), bits.of(last + "/b")) == (4, 8, 32)
    assert bits.of("tower1/" + last + "/W") == 8
    assert weight_bits(family, "paper", 4).of(last + "/W") == 32


def test_wrong_bits_are_refused_by_name():
    with pytest.raises(ValueError, match="`bitw` must be an int from 1 to 32, got 0"):
        weight_bits("cifar", "paper", 0)
