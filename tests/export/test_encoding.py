"""Codes come back to the same bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sspq.analysis.size import tensor_bytes
from sspq.compat import tf
from sspq.export.packed.encoding import (
    EncodingError,
    decode,
    encode_codebook,
    encode_float,
    encode_quantized,
    encode_uniform,
    pack_bits,
    unpack_bits,
)
from sspq.quantizers.dorefa import get_dorefa


def same_bits(a, b):
    return a.dtype == b.dtype == np.float32 and a.shape == b.shape and a.tobytes() == b.tobytes()


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_codes_of_any_width_come_back(data):
    bits = data.draw(st.integers(1, 8))
    codes = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=50))
    packed = pack_bits(np.array(codes, np.uint8), bits)
    assert packed.dtype == np.uint8 and len(packed) == -(-len(codes) * bits // 8)
    assert list(unpack_bits(packed, bits, len(codes))) == codes


def test_the_most_significant_bit_comes_first():
    assert list(pack_bits(np.array([1, 2, 3], np.uint8), 3)) == [0b00101001, 0b10000000]


@pytest.mark.parametrize("packed, bits, count", [([0], 3, 4), ([0, 0, 0], 3, 3), ([1], 3, 2)])
def test_a_wrong_length_or_filling_is_refused(packed, bits, count):
    with pytest.raises(EncodingError):
        unpack_bits(np.array(packed, np.uint8), bits, count)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("shape", [(3, 5, 7, 11), (1, 1, 64, 32)])
def test_what_the_quantizer_gives_comes_back_bit_by_bit(bits, shape, sess):
    weights = np.random.RandomState(bits).randn(*shape).astype(np.float32)
    fw, _, _ = get_dorefa(bits, 32, 32)
    # As a graph computes it, and with a division that TensorFlow does not rewrite.
    for values in (sess.run(fw(tf.Variable(weights).initialized_value())), _divided(weights, bits)):
        encoded = encode_quantized(values, bits)
        assert same_bits(decode(encoded), values)
        assert encoded.scheme in (("sign",) if bits == 1 else ("levels", "quotients"))
        assert encoded.nbytes == tensor_bytes(values.size, bits)


def _divided(weights, bits):
    if bits == 1:
        return np.where(weights >= 0, np.float32(0.3), np.float32(-0.3))
    n = np.float32(2**bits - 1)
    codes = np.random.RandomState(0).randint(0, 2**bits, weights.shape).astype(np.float32)
    return 2 * (codes / n) - 1


@pytest.mark.parametrize("bits", [1, 4])
def test_values_off_the_levels_get_a_codebook(bits):
    values = np.array([0.1, -0.7, 0.1, 0.1], np.float32)
    encoded = encode_quantized(values, bits)
    assert encoded.scheme == "codebook" and same_bits(decode(encoded), values)


def test_more_values_than_codes_are_refused():
    with pytest.raises(EncodingError, match="5 different values do not fit into 2 bits"):
        encode_quantized(np.array([0.1, 0.2, 0.4, 0.5, 0.6], np.float32), 2)


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("bits", [1, 3])
def test_constant_tensors_and_signed_zeros_come_back(bits, zero, sess):
    fw, _, _ = get_dorefa(bits, 32, 32)
    values = sess.run(fw(tf.constant(np.full([4, 5], zero, np.float32))))
    assert same_bits(decode(encode_quantized(values, bits)), values)


@pytest.mark.parametrize(
    "centres, bits", [(2, 1), (3, 2), (5, 3), (9, 4), (17, 5), (200, 8), (256, 8)]
)
def test_single_level_quantized_weights_get_their_codebook(centres, bits):
    """2**(b - 1) + 1 centres take b bits."""
    rng = np.random.RandomState(0)
    book = rng.randn(centres).astype(np.float32)
    values = book[np.r_[np.arange(centres), rng.randint(0, centres, 4000 - centres)]].reshape(
        40, 100
    )
    encoded = encode_codebook(values)
    assert (encoded.scheme, encoded.bits) == ("codebook", bits)
    assert same_bits(decode(encoded), values)
    assert encoded.nbytes == 4000 * bits // 8 + 4 * centres


def test_a_tensor_of_many_values_has_no_codebook():
    values = np.arange(10000, dtype=np.float32)
    assert encode_codebook(values) is None
    values[:5000] = 0
    assert encode_codebook(values) is None


def test_a_codebook_that_saves_nothing_is_not_used():
    assert encode_codebook(np.arange(100, dtype=np.float32)) is None


@pytest.mark.parametrize("bits", range(2, 9))
def test_uniform_rounding_is_off_by_half_a_step_at_most(bits):
    values = np.random.RandomState(1).randn(50, 7).astype(np.float32)
    values[:, 3] = 0
    back = decode(encode_uniform(values, bits))
    step = np.abs(values).max(0) / (2 ** (bits - 1) - 1)
    assert (np.abs(back - values) <= 0.5001 * step).all()
    assert (back[:, 3] == 0).all()


@pytest.mark.parametrize("bits", [0, 1, 9])
def test_uniform_rounding_refuses_other_widths(bits):
    with pytest.raises(EncodingError, match="2 to 8 bits"):
        encode_uniform(np.ones((2, 2), np.float32), bits)


def test_float16_is_used_where_it_holds_the_values():
    assert encode_float(np.array([1.0, 2.0], np.float32), "float16").bits == 16
    assert encode_float(np.array([1e5, 2.0], np.float32), "float16").bits == 32
