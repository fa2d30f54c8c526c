"""Pictures of what a checkpoint has learned: shifts by layer, and levels of quantized weights."""

from typing import Dict

import numpy as np

from sspq.figures.canvas import BLUE, pyplot, save

LEVEL_BITS = 8  # with more, levels are too many to tell apart
_LIMIT = 99.0  # percent of the shifts that a picture has room for, at least
_COLUMNS = 4


def draw_shifts(shifts: Dict[str, np.ndarray], path: str) -> str:
    """A point for each channel's shift, a plot for each layer; returns ``path``.

    All have the same axes. A title tells how many shifts lie beyond them.

    Args:
        shifts: ``[2, C]`` in input pixels by name of the layer: row 0 along the width, row 1 along
            the height.
    """
    plt = pyplot()
    every = np.concatenate([np.abs(s).max(0) for s in shifts.values()])
    limit = max(1.0, np.ceil(2 * np.percentile(every, _LIMIT)) / 2) * 1.05
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
    """How often each level of a quantizer occurs, in all kernels and in each; returns ``path``.

    Args:
        kernels: quantized values by name, all of ``bits`` bits.
        bits: 1 to 8. The levels run from -1 to 1 in even steps; of 1 bit they are -E and E, of
            each kernel's own E.
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
    # A gap between bars would be narrower than a pixel where they are many.
    width = step * (0.9 if bits <= 5 else 1)
    above.bar(levels, 100 * (counts @ shares) / counts.sum(), width, color=BLUE)
    above.set_ylabel("weights (%)", fontsize=8)
    above.set_title(
        "{:,} weights of {:d} kernels at {:d} bit{}".format(
            counts.sum(), len(kernels), bits, "" if bits == 1 else "s"
        ),
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
    """Of each level, from the lowest."""
    if bits == 1:
        index = (values > 0).astype(int)
    else:
        index = np.rint((values + 1) / 2 * (2**bits - 1)).astype(int)
    return np.bincount(index.ravel(), minlength=2**bits) / values.size
