"""Bytes and information density."""

import pytest

from sspq.analysis.size import MIB, codebook_bytes, information_density, model_size
from sspq.quantizers.scope import weight_bits


def bits(kernels, last=32):
    return weight_bits("cifar", "paper", kernels, last)


VARIABLES = [
    ("conv1/W", (3, 3, 3, 16)),
    ("conv2blk1/conv1x1a/W", (1, 1, 5, 5)),
    ("conv2blk1/stembn/gamma", (5,)),
    ("fct/W", (3, 3)),
    ("fct/b", (100,)),
]


def test_float32_bytes_are_four_a_parameter():
    size = model_size(VARIABLES, bits(32))
    assert size.parameters == 432 + 25 + 5 + 9 + 100
    assert size.float32_bytes == size.quantized_bytes == 4 * size.parameters


@pytest.mark.parametrize("kernels, packed", [(8, 25), (4, 13), (3, 10), (1, 4 + 4)])
def test_quantized_tensors_take_their_bits_and_one_bit_a_scale(kernels, packed):
    rest = 4 * (432 + 5 + 9 + 100)
    assert model_size(VARIABLES, bits(kernels)).quantized_bytes == rest + packed


def test_the_last_layer_s_kernel_has_bits_of_its_own():
    rest = 4 * (432 + 25 + 5 + 100)
    assert model_size(VARIABLES, bits(32, last=8)).quantized_bytes == rest + 9


@pytest.mark.parametrize("centres, index_bits", [(17, 5), (9, 4), (5, 3), (3, 2), (2, 1), (1, 1)])
def test_a_codebook_takes_its_centres_and_an_index_for_each_value(centres, index_bits):
    assert codebook_bytes(16, centres) == 2 * index_bits + 4 * centres
    assert codebook_bytes(1, centres) == 1 + 4 * centres
    size = model_size(VARIABLES, bits(32), {"fct/W": centres})
    rest = 4 * (432 + 25 + 5 + 100)
    assert size.quantized_bytes == rest + codebook_bytes(9, centres)


def test_information_density_is_the_papers():
    """ResNet50: 76.35 % in 97.49 MiB is -0.106; L-SSPQ50: 73.93 % in 3.55 MiB is 1.318."""
    assert information_density(76.35, int(97.49 * MIB)) == pytest.approx(-0.106, abs=5e-4)
    assert information_density(73.93, int(3.55 * MIB)) == pytest.approx(1.318, abs=1e-3)


def test_without_a_hit_there_is_no_density():
    assert information_density(0.0, MIB) is None
