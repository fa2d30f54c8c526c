"""Tensors as bit-packed codes, and back to the same bits.

A scheme says what a code c of a tensor means:

========== =============================== ==========================================
scheme     value                           parts beside the codes
========== =============================== ==========================================
sign       ``(2c - 1) * scale``            ``scale``, float32 ``[]``
levels     ``2 * (c * (1 / n)) - 1``
quotients  ``2 * (c / n) - 1``
codebook   ``centres[c]``                  ``centres``, float32 ``[at most 2**bits]``
uniform    ``(c - 2**(bits-1) + 1)*scale`` ``scale``, float32, one for each last axis
float                                      the values themselves, float32 or float16
========== =============================== ==========================================

with ``n = 2**bits - 1``, all in float32 arithmetic: TensorFlow turns a division by a constant into
a multiplication by its reciprocal, but not everywhere, and last bits tell the two apart.

Value i of a tensor in row-major order has bits ``i*bits`` to ``i*bits + bits - 1`` of its codes,
the most significant first; zeros fill the last byte.
"""

from typing import Callable, Dict, NamedTuple, Optional, Tuple

import numpy as np

from sspq.analysis.size import count_of

MOST_BITS = 8  # of a code
SCHEMES = ("sign", "levels", "quotients", "codebook", "uniform", "float")

_SAMPLE = 4096  # values looked at to tell that a tensor has no codebook

# The levels of a DoReFa weight quantizer, n + 1 of them.
_GRIDS: Dict[str, Callable[[np.float32], np.ndarray]] = {
    "levels": lambda n: 2 * (_up_to(n) * (np.float32(1) / n)) - 1,
    "quotients": lambda n: 2 * (_up_to(n) / n) - 1,
}


class EncodingError(ValueError):
    """A tensor cannot be encoded as asked, or an encoded one is damaged."""


class Encoded(NamedTuple):
    """A tensor as it is stored.

    Attributes:
        scheme: one of ``SCHEMES``.
        bits: bits of a code, 1 to 8, or of a value of the scheme "float".
        shape: shape of the tensor.
        parts: arrays by name, ``codes`` uint8 ``[bytes]`` and what the scheme adds; of "float",
            ``values``.
    """

    scheme: str
    bits: int
    shape: Tuple[int, ...]
    parts: Dict[str, np.ndarray]

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts.values())


def pack_bits(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes below ``2**bits``, uint8 of any shape, as bytes."""
    each = np.unpackbits(codes.reshape(-1, 1), axis=1)[:, MOST_BITS - bits :]
    return np.packbits(each)


def unpack_bits(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """The first ``count`` codes of :func:`pack_bits`, uint8 ``[count]``.

    Raises:
        EncodingError: there are more or fewer bytes than they take, or the filling is not zero.
    """
    if len(packed) != -(-count * bits // 8):
        raise EncodingError(
            f"{count} codes of {bits} bits take {-(-count * bits // 8)} bytes, got {len(packed)}"
        )
    flat = np.unpackbits(packed)
    if flat[count * bits :].any():
        raise EncodingError("the bits that fill the last byte must be 0")
    codes = np.zeros(count, np.uint8)
    for place in range(bits):
        codes = (codes << 1) | flat[place : count * bits : bits]
    return codes


def encode_quantized(values: np.ndarray, bits: int) -> Encoded:
    """Values of a DoReFa weight quantizer of ``bits`` bits, so that they come back bit by bit.

    Whatever is not exactly on the quantizer's levels gets a codebook.

    Raises:
        EncodingError: there are more than ``2**bits`` different values.
    """
    shape, flat = values.shape, np.ascontiguousarray(values, np.float32).ravel()
    if bits == 1 and flat.size:
        scale = np.abs(flat[0])
        attempt = _encoded("sign", 1, shape, (flat > 0).astype(np.uint8), scale=np.array(scale))
        if _same(decode(attempt), values):
            return attempt
    elif flat.size:
        n = 2**bits - 1
        codes = np.clip(np.rint((flat + 1) / 2 * n), 0, n).astype(np.uint8)
        for scheme in _GRIDS:
            attempt = _encoded(scheme, bits, shape, codes)
            if _same(decode(attempt), values):
                return attempt
    centres, codes = _distinct(flat)
    if len(centres) > 2**bits:
        raise EncodingError(f"{len(centres)} different values do not fit into {bits} bits")
    return _encoded("codebook", bits, shape, codes.astype(np.uint8), centres=centres)


def encode_codebook(values: np.ndarray) -> Optional[Encoded]:
    """A tensor of few different values, as single-level quantization leaves it, else None.

    A code takes ``ceil(log2(number of values))`` bits. None as well if float32 is not larger.
    """
    flat = np.ascontiguousarray(values, np.float32).ravel()
    if not flat.size or len(_distinct(flat[:_SAMPLE])[0]) > 2**MOST_BITS:
        return None
    centres, codes = _distinct(flat)
    if len(centres) > 2**MOST_BITS:
        return None
    bits = max(1, (len(centres) - 1).bit_length())
    found = _encoded("codebook", bits, values.shape, codes.astype(np.uint8), centres=centres)
    return found if found.nbytes < flat.nbytes else None


def encode_uniform(values: np.ndarray, bits: int) -> Encoded:
    """Rounds a matrix ``[in, out]`` to ``bits`` bits with a scale for each output. Loses precision.

    Raises:
        EncodingError: ``bits`` is not from 2 to 8, or a value is not finite.
    """
    if not 2 <= bits <= MOST_BITS:
        raise EncodingError(f"a float tensor can be rounded to 2 to 8 bits, got {bits!r}")
    if not np.isfinite(values).all():
        raise EncodingError(f"values that are not finite cannot be rounded to {bits} bits")
    most = 2 ** (bits - 1) - 1
    scale = (np.abs(values).reshape(-1, values.shape[-1]).max(0) / most).astype(np.float32)
    steps = np.rint(values / np.where(scale > 0, scale, 1))
    codes = (np.clip(steps, -most, most) + most).astype(np.uint8)
    return _encoded("uniform", bits, values.shape, codes, scale=scale)


def encode_float(values: np.ndarray, dtype: str) -> Encoded:
    """Values in float32, or in float16 where all of them stay finite."""
    values = np.ascontiguousarray(values, np.float32)
    with np.errstate(over="ignore"):
        small = values.astype(dtype)
    if np.isfinite(values).all() and not np.isfinite(small).all():
        small = values
    return Encoded("float", 8 * small.itemsize, values.shape, {"values": small})


def decode(encoded: Encoded) -> np.ndarray:
    """The values, float32.

    Raises:
        EncodingError: the parts do not fit together.
    """
    scheme, bits, shape, parts = encoded
    if scheme == "float":
        return np.ascontiguousarray(parts["values"], np.float32)
    count = count_of(shape)
    codes = unpack_bits(parts["codes"], bits, count)
    if scheme == "sign":
        scale = parts["scale"].reshape(())
        return np.where(codes == 1, scale, -scale).astype(np.float32).reshape(shape)
    if scheme in _GRIDS:
        return _GRIDS[scheme](np.float32(2**bits - 1))[codes].reshape(shape)
    if scheme == "codebook":
        centres = parts["centres"]
        if count and codes.max() >= len(centres):
            raise EncodingError(f"a code is {codes.max()}, of {len(centres)} centres")
        return centres[codes].reshape(shape)
    middle = np.float32(2 ** (bits - 1) - 1)
    return (codes.astype(np.float32).reshape(shape) - middle) * parts["scale"]


def _encoded(
    scheme: str, bits: int, shape: Tuple[int, ...], codes: np.ndarray, **parts: np.ndarray
) -> Encoded:
    return Encoded(scheme, bits, tuple(shape), dict(codes=pack_bits(codes, bits), **parts))


def _up_to(n: np.float32) -> np.ndarray:
    return np.arange(n + 1, dtype=np.float32)


def _distinct(flat: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Different values by their bits, and the index of each value among them."""
    values, index = np.unique(flat.view(np.uint32), return_inverse=True)
    return values.view(np.float32), index


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.tobytes() == np.ascontiguousarray(b, np.float32).tobytes()
