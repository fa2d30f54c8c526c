"""The two plots of the papers: top-1 against size, and information density by model."""

from typing import Any, Dict, List, Tuple

from sspq.analysis.results import KINDS, MEASURED, OTHER_DATA, PUBLISHED, READ_OFF, Result
from sspq.figures.canvas import BLUE, GREEN, GREY, VERMILION, place_labels, pyplot, save

# Colour, marker, whether the marker is filled, hatch of the bar.
_STYLES: Dict[str, Tuple[str, str, bool, str]] = {
    PUBLISHED: (BLUE, "o", False, "//"),
    READ_OFF: (GREY, "^", False, ".."),
    MEASURED: (VERMILION, "D", True, ""),
    OTHER_DATA: (GREEN, "s", False, "xx"),
}


def _kinds(results: List[Result]) -> List[str]:
    """The kinds of the results, in the order of legends."""
    return [kind for kind in KINDS if any(r.kind == kind for r in results)]


def draw_accuracy(results: List[Result], path: str) -> str:
    """Draws top-1 in percent against MB on a logarithmic axis.

    Several runs are one point at their mean, with a bar from the least to the largest top-1.

    Args:
        results: results to draw.
        path: path of the PNG file to write, which is returned.
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8, 5.2))
    for kind in _kinds(results):
        color, marker, filled, _ = _STYLES[kind]
        own = [r for r in results if r.kind == kind]
        axes.errorbar(
            [r.mb for r in own],
            [r.top1 for r in own],
            [[r.top1 - r.top1_range[0] for r in own], [r.top1_range[1] - r.top1 for r in own]],
            linestyle="",
            color=color,
            marker=marker,
            markersize=7,
            markerfacecolor=color if filled else "white",
            markeredgewidth=1.5,
            label=kind,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(plt.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("size (MB, of 2$^{20}$ bytes)")
    axes.set_ylabel("top-1 (%)")
    axes.margins(0.18)
    axes.set_ylim(top=min(axes.get_ylim()[1], 102))
    axes.grid(alpha=0.3)
    figure.legend(loc="upper center", ncol=4, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    place_labels(figure, axes, [(r.name, (r.mb, r.top1)) for r in results])
    return save(figure, path)


def draw_density(results: List[Result], path: str) -> str:
    """Draws the information density of each result as a bar, the largest on top.

    Args:
        results: results to draw.
        path: path of the PNG file to write, which is returned.
    """
    plt = pyplot()
    rows = sorted(results, key=lambda r: r.density)
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.32 * len(rows)))
    for kind in _kinds(rows):
        color, _, _, hatch = _STYLES[kind]
        own = [(i, r.density) for i, r in enumerate(rows) if r.kind == kind]
        axes.barh(
            [i for i, _ in own],
            [density for _, density in own],
            color=color if kind == MEASURED else "white",
            edgecolor=color,
            hatch=hatch,
            label=kind,
        )
    for i, r in enumerate(rows):
        beside: Dict[str, Any] = {"xytext": (4, 0), "ha": "left"}
        if r.density < 0:
            beside = {"xytext": (-4, 0), "ha": "right"}
        axes.annotate(
            f"{r.density:.3g}" if r.kind == READ_OFF else f"{r.density:.3f}",
            (r.density, i),
            textcoords="offset points",
            va="center",
            fontsize=8,
            **beside,
        )
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([r.name for r in rows], fontsize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("information density, log$_{10}$(top-1 in % / MB)")
    axes.margins(x=0.12)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="upper center", ncol=4, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.3 / figure.get_figheight()))
    return save(figure, path)
