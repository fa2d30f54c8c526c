"""Bytes of a model as its graph defines them."""

import math
from types import MappingProxyType
from typing import Iterable, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from sspq.quantizers.scope import WeightBits

MIB = 2**20


class ModelSize(NamedTuple):
    """Trainable parameters and their bytes, in float32 and with the quantized tensors packed."""

    parameters: int
    float32_bytes: int
    quantized_bytes: int


def count_of(shape: Tuple[int, ...]) -> int:
    """The number of values in a tensor of that shape."""
    return int(np.prod(shape, dtype=np.int64))


def tensor_bytes(count: int, bits: int) -> int:
    """Bytes of ``count`` values of ``bits`` bits each, rounded up to whole bytes.

    Beside them comes the scale that the quantizer needs to be undone: a float32 with 1 bit, none
    with more, whose levels are fixed.
    """
    return -(-count * bits // 8) + (4 if bits == 1 else 0)


def codebook_bytes(count: int, centres: int) -> int:
    """Bytes of ``count`` values that are one of ``centres``: an index each, and float32 centres."""
    index_bits = max(1, (centres - 1).bit_length())
    return -(-count * index_bits // 8) + 4 * centres


def model_size(
    variables: Iterable[Tuple[str, Tuple[int, ...]]],
    bits: WeightBits,
    centres: Mapping[str, int] = MappingProxyType({}),
) -> ModelSize:
    """Sizes of the trainable ``variables`` (name, shape), see :func:`tensor_bytes`.

    Those in ``centres`` have a codebook of so many values instead, see :func:`codebook_bytes`.
    """
    parameters = quantized = 0
    for name, shape in variables:
        count = count_of(shape)
        parameters += count
        if name in centres:
            quantized += codebook_bytes(count, centres[name])
        else:
            quantized += tensor_bytes(count, bits.of(name))
    return ModelSize(parameters, 4 * parameters, quantized)


def information_density(top1_percent: float, size_bytes: int) -> Optional[float]:
    """``log10(top-1 in percent / size in MiB)``, the papers' figure of merit; None without hits."""
    if top1_percent <= 0 or size_bytes <= 0:
        return None
    return math.log10(top1_percent / (size_bytes / MIB))
