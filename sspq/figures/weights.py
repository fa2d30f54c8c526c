"""Pictures of a checkpoint: shifts by layer, and levels of quantized weights."""

from typing import Dict

import numpy as np

from sspq.figures.canvas import BLUE, pyplot, save

LEVEL_BITS = 8  # most bits whose levels a picture can tell apart
_PERCENTILE = 99.0  # of the shifts, which lies within the axes
_COLUMNS = 4


def draw_shifts(shifts: Dict[str, np.ndarray], path: str) -> str:
    """Draws a plot for each layer, with a point for the shift of each channel.

    All plots have the same axes. Their titles give the number of shifts beyond the axes.

    Args:
        shifts: shifts of each layer by name, ``[2, C]`` in input pixels: row 0 along the width,
            row 1 along the height.
        path: path of the PNG file to write, which is returned.
    """
    plt = pyplot()
    every = np.concatenate([np.abs(s).max(0) for s in shifts.values()])
    limit = max(1.0, np.ceil(2 * np.percentile(every, _PERCENTILE)) / 2) * 1.05
    rows = -(-len(shifts) // _COLUMNS)
    figure, grid = plt.subplots(
        rows, _COLUMNS, figsize=(8.5, 2.3 * rows + 0.4), sharex=True, sharey=True, squeeze=False
    )
    for axes in grid.ravel()[len(shifts) :]:
        axes.remove()
    for axes, (name, shift) in zip(grid.ravel(), shifts.items()):
        axes.axhline(0, color="black", linewidth=0.5)
        axes.axvline(0, color="black", linewidth=0.5)
        beyond = np.abs(shift).max(0) > limit
        axes.scatter(
            *shift[:, ~beyond], s=8, marker="o", facecolors="none", edgecolors=BLUE, clip_on=False
        )
        axes.set_xlim(-limit, limit)
        axes.set_ylim(limit, -limit)  # as in an image: downwards
        axes.set_aspect("equal")
        axes.grid(alpha=0.3)
        more = f", {beyond.sum()} beyond" if beyond.any() else ""
        axes.set_title(f"{name}\n{shift.shape[1]} channels{more}", fontsize=7)
        axes.tick_params(labelsize=7)
    figure.supxlabel("shift along the width (pixels)", fontsize=9)
    figure.supylabel("shift along the height (pixels, downwards)", fontsize=9)
    figure.tight_layout()
    return save(figure, path)


def draw_levels(kernels: Dict[str, np.ndarray], bits: int, path: str) -> str:
    """Draws the shares of the levels of a quantizer, in all kernels together and in each kernel.

    Args:
        kernels: quantized values of the kernels by name, all of ``bits`` bits.
        bits: bits of the quantizer, 1 to 8. The levels run from -1 to 1 in even steps; at 1 bit
            they are -E and E, where E is the scale of the kernel.
        path: path of the PNG file to write, which is returned.
    """
    plt = pyplot()
    levels = np.linspace(-1, 1, 2**bits)
    shares = np.stack([_shares(values, bits) for values in kernels.values()])
    counts = np.array([values.size for values in kernels.values()])
    height = 2.4 + 0.15 * len(kernels)
    figure, (above, below) = plt.subplots(
        2,
        1,
        figsize=(8, height),
        sharex=True,
        gridspec_kw={"height_ratios": (1.8, 0.15 * len(kernels))},
    )
    step = levels[1] - levels[0]
    # Between many bars, a gap would be narrower than a pixel.
    width = step * (0.9 if bits <= 5 else 1)
    above.bar(levels, 100 * (counts @ shares) / counts.sum(), width, color=BLUE)
    above.set_ylabel("weights (%)", fontsize=8)
    unit = "bit" if bits == 1 else "bits"
    above.set_title(
        f"{counts.sum():,} weights of {len(kernels)} kernels at {bits} {unit}",
        fontsize=9,
    )
    edges = np.append(levels - step / 2, levels[-1] + step / 2)
    image = below.pcolormesh(edges, np.arange(len(kernels) + 1), 100 * shares, cmap="Greys", vmin=0)
    below.set_xlim(edges[0], edges[-1])
    below.invert_yaxis()
    below.set_yticks(np.arange(len(kernels)) + 0.5)
    below.set_yticklabels(list(kernels), fontsize=6)
    below.set_xlabel("level (of 1 bit, in units of the kernel's scale)" if bits == 1 else "level")
    figure.tight_layout()
    figure.colorbar(image, ax=[above, below], label="weights of the kernel (%)", pad=0.02)
    return save(figure, path)


def _shares(values: np.ndarray, bits: int) -> np.ndarray:
    """The share of each level in the values, from the lowest level."""
    if bits == 1:
        index = (values > 0).astype(int)
    else:
        index = np.rint((values + 1) / 2 * (2**bits - 1)).astype(int)
    return np.bincount(index.ravel(), minlength=2**bits) / values.size
