"""One report, one table and one picture of a chain of runs."""

import os
from typing import Any, Dict, List, Optional

from sspq.analysis.size import MIB
from sspq.figures.canvas import BLUE, GREY, VERMILION, pyplot, save
from sspq.files import read_json, write_json
from sspq.runs import history
from sspq.runs.folder import REPORT
from sspq.runs.schema import NUMBER, NUMBER_OR_NULL, OBJECT, TEXT, check_fields

# Folder of a step within that of the chain, and title of the step.
STEPS = (("float32", "float32"), ("s1", "S1"), ("s2", "S2"))
CURVES = "curves.png"

_FIELDS = {
    "model": TEXT,
    "variant": TEXT,
    "dataset": OBJECT,
    "seed": NUMBER,
    "versions": OBJECT,
    "bits.weights": NUMBER,
    "bits.activations": NUMBER,
    "top1": NUMBER_OR_NULL,
    "top5": NUMBER_OR_NULL,
    "trainable_parameters": NUMBER,
    "float32_bytes": NUMBER,
    "quantized_bytes": NUMBER,
    "information_density": NUMBER_OR_NULL,
    "epochs": NUMBER,
    "seconds": NUMBER,
}
_COLUMNS = {"epoch": NUMBER, "train_cost": NUMBER_OR_NULL, "top1": NUMBER_OR_NULL}


class ChainError(ValueError):
    """The folder holds no finished chain."""


def read_steps(folder: str) -> Dict[str, Dict[str, Any]]:
    """The reports of the steps by title: S1, S2, and the float32 run where there is one.

    Raises:
        ChainError: S1 or S2 has not finished.
        ResultsError: a report is damaged.
    """
    reports = {}
    if os.path.isfile(os.path.join(folder, REPORT)) and not any(
        os.path.isdir(os.path.join(folder, name)) for name, _ in STEPS
    ):
        raise ChainError(f"{folder} is one run, expected the folder that holds s1/ and s2/")
    if not os.path.isdir(folder):
        raise ChainError(f"there is no folder {folder}")
    for name, title in STEPS:
        path = os.path.join(folder, name, REPORT)
        report = read_json(path)
        if report is None and name != "float32":
            raise ChainError(f"{os.path.join(folder, name)}: step {title} has not finished")
        if report is not None:
            check_fields(path, report, _FIELDS)
            reports[title] = report
    return reports


def combine(steps: Dict[str, Dict[str, Any]]) -> Dict[str, Any]:
    """The report of the chain: the fields that the steps share, then the report of each step."""
    last = steps["S2"]
    shared = ("model", "variant", "dataset", "seed", "trainable_parameters", "versions")
    result = {name: last[name] for name in shared}
    result["top1"], result["top5"] = last["top1"], last["top5"]
    result["seconds"] = sum(s["seconds"] for s in steps.values())
    result["steps"] = steps
    return result


def _or_dash(value: Optional[float], digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def table(steps: Dict[str, Dict[str, Any]]) -> str:
    """The steps as rows of text. Without a float32 run its row gives the size alone."""
    header = (
        "step",
        "W",
        "A",
        "top-1 %",
        "top-5 %",
        "bytes",
        "MiB",
        "density",
        "epochs",
        "seconds",
    )
    rows: List[tuple] = [header]
    if "float32" not in steps:
        size = steps["S1"]["float32_bytes"]
        rows.append(("float32", 32, 32, "not run", "", size, f"{size / MIB:.3f}", "", "", ""))
    for title, r in steps.items():
        rows.append(
            (
                title,
                r["bits"]["weights"],
                r["bits"]["activations"],
                _or_dash(r["top1"], 2),
                _or_dash(r["top5"], 2),
                r["quantized_bytes"],
                f"{r['quantized_bytes'] / MIB:.3f}",
                _or_dash(r["information_density"], 3),
                r["epochs"],
                f"{r['seconds']:.0f}",
            )
        )
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(header))]
    return "\n".join("  ".join(str(v).rjust(w) for v, w in zip(row, widths)) for row in rows)


def _history(folder: str) -> List[history.Row]:
    path, rows = os.path.join(folder, history.JSON_NAME), history.read(folder)
    for place, row in enumerate(rows, 1):
        check_fields(f"{path}, entry {place}", row, _COLUMNS)
    return rows


def draw_curves(folder: str, path: str) -> None:
    """Draws cost and top-1 by epoch, S1 then S2, and the float32 run where there is one.

    Args:
        folder: folder of the chain.
        path: path of the PNG file to write.

    Raises:
        ValueError: the history of a step is damaged.
    """
    from matplotlib.ticker import MaxNLocator

    styles = {"float32": (GREY, ":"), "S1": (BLUE, "-"), "S2": (VERMILION, "--")}
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(10, 4))
    start = 0.0
    for name, title in STEPS:
        rows = _history(os.path.join(folder, name))
        if not rows:
            continue
        first = start if title == "S2" else 0
        start = first + rows[-1]["epoch"]
        color, line = styles[title]
        marker = "o" if len(rows) < 40 else None
        options = {"color": color, "linestyle": line, "marker": marker, "markersize": 3}
        for axes, column, label in (
            (left, "train_cost", title + " training cost"),
            (right, "top1", title),
        ):
            there = [r for r in rows if r[column] is not None]  # not every epoch is validated
            if not there:
                continue
            axes.plot(
                [first + r["epoch"] for r in there],
                [r[column] for r in there],
                label=label,
                **options,
            )
    left.set_ylabel("training cost")
    right.set_ylabel("top-1 on the test images (%)")
    for axes in (left, right):
        axes.set_xlabel("epoch (S2 follows S1)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        else:  # made-up images have no top-1
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
    figure.tight_layout()
    save(figure, path, dpi=120)


def report_chain(folder: str) -> str:
    """Writes ``report.json`` and ``curves.png`` into ``folder`` and returns the table."""
    steps = read_steps(folder)
    draw_curves(folder, os.path.join(folder, CURVES))
    write_json(os.path.join(folder, REPORT), combine(steps))
    return table(steps)
