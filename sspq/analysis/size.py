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
    """The number of values in a tensor of the shape."""
    return int(np.prod(shape, dtype=np.int64))


def tensor_bytes(count: int, bits: int) -> int:
    """Bytes of ``count`` values of ``bits`` bits each, rounded up to whole bytes.

    At 1 bit the float32 scale of the quantizer is counted too; at more bits the levels are fixed
    and there is no scale.
    """
    return -(-count * bits // 8) + (4 if bits == 1 else 0)


def codebook_bytes(count: int, centres: int) -> int:
    """Bytes of ``count`` values with a codebook: an index each, and ``centres`` float32 centres."""
    index_bits = max(1, (centres - 1).bit_length())
    return -(-count * index_bits // 8) + 4 * centres


def model_size(
    variables: Iterable[Tuple[str, Tuple[int, ...]]],
    bits: WeightBits,
    centres: Mapping[str, int] = MappingProxyType({}),
) -> ModelSize:
    """The parameters and bytes of a model.

    Args:
        variables: trainable variables, each as (name, shape); see :func:`tensor_bytes`.
        bits: bits of each variable.
        centres: number of centres of each variable with a codebook, by name; see
            :func:`codebook_bytes` (default: no codebooks).
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
    """``log10(top-1 in percent / size in MiB)``, the papers' figure of merit; None at top-1 0."""
    if top1_percent <= 0 or size_bytes <= 0:
        return None
    return math.log10(top1_percent / (size_bytes / MIB))
