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


def model_size(variables: Iterable[Tuple[str, Tuple[int, ...]]], bits: WeightBits) -> ModelSize:
    """Sizes of the trainable ``variables`` (name, shape).

    A tensor of less than 32 bits takes them for each value, rounded up to whole bytes, plus the
    scale that its quantizer needs to be undone: a float32 with 1 bit, none with more, whose levels
    are fixed.
    """
    parameters = quantized = 0
    for name, shape in variables:
        count = int(np.prod(shape, dtype=np.int64))
        parameters += count
        bits_each = bits.of(name)
        quantized += -(-count * bits_each // 8) + (4 if bits_each == 1 else 0)
    return ModelSize(parameters, 4 * parameters, quantized)


def information_density(top1_percent: float, size_bytes: int) -> Optional[float]:
    """``log10(top-1 in percent / size in MiB)``, the papers' figure of merit; None without hits."""
    if top1_percent <= 0 or size_bytes <= 0:
        return None
    return math.log10(top1_percent / (size_bytes / MIB))
