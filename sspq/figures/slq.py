"""Table and pictures of a run of SLQ or MLQ: accuracy by stage, and weights before and after."""

import os
from typing import Any, Dict, List, Tuple

import numpy as np

from sspq.analysis.size import MIB
from sspq.figures import canvas
from sspq.files import read_json, write_json
from sspq.runs.folder import REPORT
from sspq.runs.schema import NUMBER, OBJECT, Kind, check_fields
from sspq.runs.stages import read_stages, stage_file

STAGES = "stages.png"
LAYERS = "layers"  # folder of the pictures of layers

# Folders of a chain: of its float32 run and of its run of SLQ.
FLOAT32, QUANTIZED = "float32", "slq"

_BEFORE, _AFTER, _BETWEEN = canvas.GREY, canvas.BLUE, canvas.VERMILION
_MOMENTS = ("before_freezing", "after_freezing", "after_training")

# Fields that tables and pictures need: of the report of a run, of a stage, and of its layers.
_LIST: Kind = ("a list", (list,))
_REPORT_FIELDS = {"float32.top1": NUMBER, "float32.top5": NUMBER, "float32_bytes": NUMBER}
_STAGE_FIELDS = {
    "stage": NUMBER,
    "epochs": _LIST,
    "frozen_share": NUMBER,
    "bytes": NUMBER,
    "layers": OBJECT,
    **{f"accuracy.{moment}.top1": NUMBER for moment in _MOMENTS},
    "accuracy.after_training.top5": NUMBER,
}
_LAYER_FIELDS = {"weights": NUMBER, "codebook": _LIST, "members": _LIST}


class StagesError(ValueError):
    """The folder holds no finished run of SLQ or MLQ."""


def is_slq(folder: str) -> bool:
    """Whether ``folder`` holds a run of SLQ or MLQ, or a chain with such a run."""
    return bool(read_stages(folder) or read_stages(os.path.join(folder, QUANTIZED)))


def _read(folder: str) -> Tuple[Dict[str, Any], List[Dict[str, Any]]]:
    path = os.path.join(folder, REPORT)
    report, stages = read_json(path), read_stages(folder)
    if report is None or not stages:
        raise StagesError(f"{folder}: the run has not finished")
    check_fields(path, report, _REPORT_FIELDS)
    for number, stage in enumerate(stages, 1):
        path = stage_file(folder, number)
        check_fields(path, stage, _STAGE_FIELDS)
    for name, layer in stages[-1]["layers"].items():
        check_fields(f"{path}, layer {name}", layer, _LAYER_FIELDS)
    return report, stages


def table(report: Dict[str, Any], stages: List[Dict[str, Any]]) -> str:
    """The stages as rows of text: frozen share, top-1 at three moments, and bytes.

    Args:
        report: report of the run.
        stages: reports of its stages, in order.
    """
    header = (
        "stage",
        "epochs",
        "frozen %",
        "before",
        "frozen",
        "trained",
        "top-5 %",
        "bytes",
        "MiB",
    )
    before = report["float32"]
    size = report["float32_bytes"]
    rows: List[Tuple[Any, ...]] = [header]
    top1, top5 = f"{before['top1']:.2f}", f"{before['top5']:.2f}"
    rows.append(("float32", "", "0.0", "", "", top1, top5, size, f"{size / MIB:.3f}"))
    for stage in stages:
        accuracy = stage["accuracy"]
        rows.append(
            (
                stage["stage"],
                "-".join(str(epoch) for epoch in stage["epochs"]),
                f"{100 * stage['frozen_share']:.1f}",
                *(f"{accuracy[moment]['top1']:.2f}" for moment in _MOMENTS),
                f"{accuracy['after_training']['top5']:.2f}",
                stage["bytes"],
                f"{stage['bytes'] / MIB:.3f}",
            )
        )
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(header))]
    lines = ["  ".join(str(v).rjust(w) for v, w in zip(row, widths)) for row in rows]
    return "\n".join(["top-1 % before and after a stage freezes, and when it has trained:"] + lines)


def _figure(path: str, width: float, draw: Any) -> None:
    figure, axes = canvas.pyplot().subplots(figsize=(width, 4))
    draw(axes)
    # Below the axes: within them any place may have a curve.
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncol=3, frameon=False)
    figure.tight_layout()
    canvas.save(figure, path, dpi=100)


def draw_stages(stages: List[Dict[str, Any]], path: str) -> None:
    """Draws top-1 at the three moments of each stage, and the share of frozen weights."""

    def draw(axes: Any) -> None:
        places, values = [], []
        for stage in stages:
            places += [stage["stage"] - 1, stage["stage"] - 1, stage["stage"]]
            values += [stage["accuracy"][moment]["top1"] for moment in _MOMENTS]
        axes.plot(places, values, color="#bbbbbb", linewidth=1)
        markers = (
            # Each marker is smaller than the one before it, since they may lie on each other.
            dict(color=_BEFORE, marker="o", markersize=12, fillstyle="none", label="before"),
            dict(color=_BETWEEN, marker="v", markersize=8, label="right after freezing"),
            dict(color=_AFTER, marker="s", markersize=3.5, label="after training"),
        )
        for k, marker in enumerate(markers):
            axes.plot(places[k::3], values[k::3], linestyle="none", **marker)
        axes.set_xlabel("stages passed")
        axes.set_ylabel("top-1 on the test images (%)")
        axes.set_xticks(range(len(stages) + 1))
        axes.grid(alpha=0.3)
        share = axes.twinx()
        shares = [0.0] + [100 * stage["frozen_share"] for stage in stages]
        share.step(range(len(shares)), shares, where="pre", color="black", linestyle=":")
        share.set_ylabel("frozen weights (%, dotted)")
        share.set_ylim(0, 105)

    _figure(path, 7, draw)


def draw_layer(name: str, stages: List[Dict[str, Any]], path: str) -> None:
    """Draws a layer: the histogram of its float32 weights, its centres and their members."""
    before = next(s["layers"][name] for s in stages if "histogram" in s["layers"][name])[
        "histogram"
    ]
    last = stages[-1]["layers"][name]

    def draw(axes: Any) -> None:
        counts = np.array(before["counts"]) / last["weights"]
        edges = np.linspace(before["low"], before["high"], len(counts) + 1)
        axes.fill_between(edges[:-1], 100 * counts, step="post", color=_BEFORE, label="float32")
        axes.set_xlabel("weight")
        axes.set_ylabel("float32 weights in an interval (%)")
        axes.set_ylim(bottom=0)
        members = axes.twinx()
        used = [k for k, n in enumerate(last["members"]) if n]
        centres = [last["codebook"][k] for k in used]
        shares = [100 * last["members"][k] / last["weights"] for k in used]
        members.vlines(centres, 0, shares, color=_AFTER, linewidth=2)
        members.plot(centres, shares, "o", color=_AFTER, markersize=4)
        axes.plot([], [], "o-", color=_AFTER, label="quantized, by centre")
        members.set_ylabel("quantized weights at a centre (%)")
        members.set_ylim(bottom=0)
        axes.set_title(f"{name}: {last['weights']} weights, {len(used)} centres", fontsize=10)

    _figure(path, 7, draw)


def report_slq(folder: str) -> str:
    """Writes ``stages.png`` and ``layers/*.png`` into ``folder`` and returns the table.

    Args:
        folder: folder of a run of SLQ or MLQ, or of a chain, which gets ``report.json`` as well.

    Raises:
        StagesError: the run has not finished.
        ResultsError: a report is damaged.
    """
    run = folder if read_stages(folder) else os.path.join(folder, QUANTIZED)
    report, stages = _read(run)
    os.makedirs(os.path.join(folder, LAYERS), exist_ok=True)
    draw_stages(stages, os.path.join(folder, STAGES))
    for name in stages[-1]["layers"]:
        picture = name.replace("/", "-") + ".png"
        draw_layer(name, stages, os.path.join(folder, LAYERS, picture))
    if run != folder:
        write_json(os.path.join(folder, REPORT), report)
    return table(report, stages)
