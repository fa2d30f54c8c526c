"""Bytes of a model as its graph defines them."""

import math
from typing import Iterable, NamedTuple, Optional, Tuple

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


def model_size(variables: Iterable[Tuple[str, Tuple[int, ...]]], bits: WeightBits) -> ModelSize:
    """Sizes of the trainable ``variables`` (name, shape), see :func:`tensor_bytes`."""
    parameters = quantized = 0
    for name, shape in variables:
        parameters += count_of(shape)
        quantized += tensor_bytes(count_of(shape), bits.of(name))
    return ModelSize(parameters, 4 * parameters, quantized)


def information_density(top1_percent: float, size_bytes: int) -> Optional[float]:
    """``log10(top-1 in percent / size in MiB)``, the papers' figure of merit; None without hits."""
    if top1_percent <= 0 or size_bytes <= 0:
        return None
    return math.log10(top1_percent / (size_bytes / MIB))
