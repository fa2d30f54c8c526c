"""Canvas of the pictures: colours and labels legible in print and to colour-blind readers."""

import math
from typing import Any, Iterable, Tuple

from matplotlib.transforms import Bbox

from sspq.files import replacing

# Colours of the Okabe-Ito palette, which colour-blind readers can tell apart. Marks of different
# colours have different shapes as well, for print.
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"
_LABEL = 8  # points


def pyplot() -> Any:
    """The module ``matplotlib.pyplot``, set to draw to files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def save(figure: Any, path: str, dpi: int = 150) -> str:
    """Writes a figure as a PNG file, whole or not at all, and closes it.

    Args:
        figure: figure of matplotlib.
        path: path of the file, which is returned.
        dpi: pixels an inch (default: 150).
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
    pyplot().close(figure)
    return path


def place_labels(figure: Any, axes: Any, labels: Iterable[Tuple[str, Tuple[float, float]]]) -> None:
    """Writes texts beside points so that none covers another, a point or the frame.

    Each text takes the nearest free place around its point; a thin line joins distant ones.

    Args:
        figure: figure of the axes.
        axes: axes to write into.
        labels: pairs (text, (x, y) in data coordinates).

    Raises:
        ValueError: the labels do not fit.
    """
    renderer = figure.canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    unit = figure.dpi / 72.0  # pixels a typographic point
    labels = sorted(labels, key=lambda label: -label[1][1])  # so that few lines cross
    points = [axes.transData.transform(xy) for _, xy in labels]
    taken = [Bbox.from_bounds(x - 5 * unit, y - 5 * unit, 10 * unit, 10 * unit) for x, y in points]
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent(renderer))
    places = [
        (radius * math.cos(math.radians(angle)), radius * math.sin(math.radians(angle)))
        for radius in range(10, 200, 6)
        for angle in (0, 180, 45, -45, 135, -135, 90, -90, 20, -20, 160, -160, 70, -70, 110, -110)
    ]
    for (text, xy), (x, y) in zip(labels, points):
        measured = axes.text(0, 0, text, fontsize=_LABEL)
        size = measured.get_window_extent(renderer)
        measured.remove()
        for dx, dy in places:
            side = "left" if dx > 1 else "right" if dx < -1 else "center"
            left = {"left": 0.0, "right": -size.width, "center": -size.width / 2}[side]
            box = Bbox.from_bounds(
                x + dx * unit + left, y + dy * unit - size.height / 2, size.width, size.height
            )
            inside = box.x0 > frame.x0 and box.x1 < frame.x1 and box.y0 > frame.y0
            if inside and box.y1 < frame.y1 and not any(box.overlaps(other) for other in taken):
                break
        else:
            raise ValueError(f"there is no room for the label {text!r} among {len(labels)}")
        line = {
            "arrowstyle": "-",
            "color": GREY,
            "linewidth": 0.6,
            "shrinkA": 0,
            "shrinkB": 3,
            "relpos": ({"left": 0, "center": 0.5, "right": 1}[side], 0.5),
        }
        axes.annotate(
            text,
            xy,
            (dx, dy),
            textcoords="offset points",
            horizontalalignment=side,
            verticalalignment="center",
            fontsize=_LABEL,
            arrowprops=line if math.hypot(dx, dy) > 14 else None,
        )
        taken.append(box)
