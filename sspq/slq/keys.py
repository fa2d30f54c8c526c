"""Keys of float32 numbers: unsigned integers in the order of the values.

The upper 16 bits of a key are sign, exponent and 7 bits of the mantissa: the number's *bin*. The
lower 16 bits are its *place* in the bin. Within a bin a number is a linear function of its place,
:math:`value = base + unit \\cdot place`, which makes sums over a bin sums of integers.
"""

from typing import Any, Tuple

import numpy as np

PLACE_BITS = 16
BINS = 1 << 16
PLACES = 1 << PLACE_BITS

_SIGN = 0x80000000


def keys_of(values: np.ndarray) -> np.ndarray:
    """The keys, uint32, of a float32 array. The key of -0.0 is one below that of 0.0."""
    bits = values.view(np.uint32)
    # All ones for a negative number, the sign bit alone for others.
    turned = (bits.view(np.int32) >> 31).view(np.uint32) | np.uint32(_SIGN)
    return bits ^ turned


def values_of(keys: Any) -> np.ndarray:
    """The numbers with these keys, as float64."""
    keys = np.asarray(keys, np.uint32)
    bits = np.where(keys >= _SIGN, keys ^ np.uint32(_SIGN), ~keys)
    return bits.view(np.float32).astype(np.float64)


def first_key_from(value: np.float32) -> int:
    """The least key of a number that is not below ``value``; 0.0 and -0.0 are the same number."""
    return int(keys_of(np.array([value if value else -0.0], np.float32))[0])


def first_key_above(value: np.float32) -> int:
    """The least key of a number above ``value``."""
    return int(keys_of(np.array([value if value else 0.0], np.float32))[0]) + 1


def lines_of(bins: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """``base`` and ``unit`` of bins of finite numbers, float64 and without rounding."""
    first = np.asarray(bins, np.uint32) << np.uint32(PLACE_BITS)
    base = values_of(first)
    return base, values_of(first + np.uint32(1)) - base


def finite_bins() -> slice:
    """The bins without NaN and infinity."""
    infinity = np.array([-np.inf, np.inf], np.float32)
    low, high = keys_of(infinity) >> np.uint32(PLACE_BITS)
    return slice(int(low) + 1, int(high))
