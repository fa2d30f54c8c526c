"""The shift as a depthwise convolution, for runtimes that have no shift."""

from typing import NamedTuple, Sequence, Tuple

import numpy as np


class ShiftKernel(NamedTuple):
    """A depthwise convolution that equals the shift of images of a given size.

    Attributes:
        weights: weights of the window, float32 ``[channels, height, width]``.
        pads: numbers of zeros around the image: (top, left, bottom, right).
    """

    weights: np.ndarray
    pads: Tuple[int, int, int, int]


def shift_kernel(
    shift: np.ndarray,
    size: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0),
) -> ShiftKernel:
    """The convolution that equals :func:`sspq.shift2d` on images of ``size``.

    Row ``i*stride - pad + s`` lies between two pixels that get the weights ``1 - f`` and ``f``,
    where f is the fraction of s. The window is as large as the shifts need: pixels that no output
    can see, as those of a shift beyond the image, take no room in it.

    Args:
        shift: shift of each channel in input pixels, ``[2, C]``, row 0 along W, row 1 along H.
        size: height and width of the images.
        strides: strides along height and width (default: 1, 1).
        pads: zeros on either side along height and width (default: 0, 0).

    Raises:
        ValueError: a shift is not finite.
    """
    shift = np.asarray(shift)
    if not np.isfinite(shift).all():
        raise ValueError(
            f"the shift {shift[~np.isfinite(shift)][0]} is not finite, expected finite"
        )
    rows, top, bottom = _taps(shift[1], size[0], strides[0], pads[0])
    columns, left, right = _taps(shift[0], size[1], strides[1], pads[1])
    weights = rows[:, :, None] * columns[:, None, :]
    return ShiftKernel(weights.astype(np.float32), (top, left, bottom, right))


def _taps(shift: np.ndarray, size: int, stride: int, pad: int) -> Tuple[np.ndarray, int, int]:
    """The weights ``[C, window]`` along one axis, and the zeros before and after the image."""
    outputs = (size + 2 * pad - 1) // stride + 1
    # Offsets from i*stride - pad at which some output sees a pixel.
    lowest, highest = pad - (outputs - 1) * stride, size - 1 + pad
    # A shift further out sees no pixel; held just beyond, its floor fits into an integer.
    held = np.clip(shift, lowest - 2, highest + 1)
    floor = np.floor(held)
    # The fraction in the type of the shifts, as the op has it.
    fraction = (held - floor).astype(shift.dtype)
    pairs = [(floor.astype(int), 1 - fraction), (floor.astype(int) + 1, fraction)]
    used = [o[(w != 0) & (o >= lowest) & (o <= highest)] for o, w in pairs]
    seen = np.concatenate(used + [np.array([pad])])  # a window that starts at or before the image
    low, high = int(seen.min()), max(int(seen.max()), -pad)
    weights = np.zeros((len(shift), high - low + 1), shift.dtype)
    for offsets, values in pairs:
        inside = (offsets >= low) & (offsets <= high) & (values != 0)
        channels = np.nonzero(inside)[0]
        weights[channels, offsets[inside] - low] = values[inside]
    before = pad - low
    after = max(0, (outputs - 1) * stride + high - low + 1 - size - before)
    return weights, before, after
