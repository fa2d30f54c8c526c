"""Tensors and kernels as 8-bit integers with scales.

Kernels keep to -64..64, as 8-bit products of two neighbours are added up in 16 bits by CPUs without
VNNI: ``2 * 64 * 255`` fits, ``2 * 127 * 255`` does not.
"""

from typing import NamedTuple, Optional, Tuple

import numpy as np

from sspq.export.packed.encoding import Encoded

LARGEST = 64  # magnitude of the integers of a kernel
MOST = 255  # largest integer of an activation
SMALLEST_SCALE = 1e-12


class Grid(NamedTuple):
    """The values ``scale * (q - zero)`` of an integer tensor, ``0 <= q <= most``."""

    scale: float
    zero: int = 0
    most: int = MOST


def kernel_step(encoded: Optional[Encoded]) -> Optional[np.ndarray]:
    """The step whose multiples, up to LARGEST, are the values of a kernel; None without a step.

    Args:
        encoded: codes of the kernel; None for a float32 kernel.
    """
    if encoded is None:
        return None
    if encoded.scheme == "sign":
        return encoded.parts["scale"]
    n = 2**encoded.bits - 1
    if encoded.scheme in ("levels", "quotients") and n <= LARGEST:
        return np.float32(1) / np.float32(n)
    if encoded.scheme == "uniform" and n // 2 <= LARGEST:
        return encoded.parts["scale"]
    return None


def quantize_kernel(
    kernel: np.ndarray, factor: np.ndarray, step: Optional[np.ndarray], least: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """``kernel * factor`` as int8, and the scale of each output.

    Args:
        kernel: kernel, float32, its outputs along the first axis.
        factor: factor on each output.
        step: result of :func:`kernel_step`.
        least: smallest scale of each output.
    """
    folded = kernel.astype(np.float64) * factor.reshape([-1] + [1] * (kernel.ndim - 1))
    if step is None:
        scale = np.abs(folded).reshape(len(kernel), -1).max(1) / LARGEST
    else:
        scale = np.abs(factor) * step
    scale = np.maximum(scale, np.maximum(least, SMALLEST_SCALE)).astype(np.float32)
    integers = np.rint(folded / scale.reshape([-1] + [1] * (kernel.ndim - 1)))
    return integers.astype(np.int8), scale


def quantize_taps(taps: np.ndarray) -> np.ndarray:
    """Weights of pixels, which add up to at most 1, as uint8 multiples of 1/255.

    The running sum is rounded, so that a sum of 1 stays 1.
    """
    flat = taps.reshape(len(taps), -1).astype(np.float64)
    sums = np.rint(np.cumsum(flat, 1) * MOST)
    return np.diff(sums, axis=1, prepend=0).astype(np.uint8).reshape(taps.shape)
