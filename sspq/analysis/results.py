"""Results to compare: what the authors published, and what one's own runs measured."""

import csv
import glob
import itertools
import json
import os
from typing import Any, Dict, Iterable, List, NamedTuple, Tuple

from sspq.analysis.size import MIB, information_density
from sspq.files import read_json
from sspq.runs.folder import REPORT
from sspq.runs.schema import NUMBER, NUMBER_OR_NULL, TEXT, ResultsError, check_fields

# Kinds of results, as legends call them.
PUBLISHED = "published"
READ_OFF = "published, read off a plot"
MEASURED = "measured, on ImageNet"
OTHER_DATA = "measured, on other data"
KINDS = (PUBLISHED, READ_OFF, MEASURED, OTHER_DATA)

PUBLISHED_CSV = os.path.join(os.path.dirname(os.path.abspath(__file__)), "published.csv")
COLUMNS = ("model", "top1", "mb", "density", "read_off_plot", "source")
# What of a report differs between runs of the same settings.
_OF_A_RUN = {"seed", "top1", "top5", "seconds", "information_density", "versions"}
_IMAGENET = {"name": "ILSVRC folder", "classes": 1000, "test_images": 50000}


_FIELDS = {
    "model": TEXT,
    "step": TEXT,
    "bits.weights": NUMBER,
    "bits.activations": NUMBER,
    "dataset.name": TEXT,
    "top1": NUMBER_OR_NULL,
    "quantized_bytes": NUMBER,
}


class Result(NamedTuple):
    """A network as a figure shows it.

    Attributes:
        name: what the label says.
        kind: of :data:`KINDS`.
        top1: in percent; of several runs the mean.
        mb: size in MiB, which the papers call MB.
        density: as published, or computed from ``top1`` and ``mb``.
        top1_range: least and largest of the runs.
    """

    name: str
    kind: str
    top1: float
    mb: float
    density: float
    top1_range: Tuple[float, float]


def published(path: str = PUBLISHED_CSV) -> List[Result]:
    """The rows of a CSV file with :data:`COLUMNS`, by default the one of this package.

    Raises:
        ResultsError: there is no such file, or a row is not so.
    """
    if not os.path.isfile(path):
        raise ResultsError(f"`--published`: there is no file {path}")
    with open(path, newline="") as f:
        reader = csv.DictReader(f)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ResultsError(
                f"{path} has the columns {reader.fieldnames}, expected {list(COLUMNS)}"
            )
        return [_published(path, reader.line_num, row) for row in reader]


def _published(path: str, line: int, row: Dict[str, str]) -> Result:
    try:
        top1, mb, density = [float(row[key]) for key in ("top1", "mb", "density")]
        kind = {"yes": READ_OFF, "no": PUBLISHED}[row["read_off_plot"]]
    except (TypeError, ValueError, KeyError) as e:
        raise ResultsError(
            f"{path}, line {line}: top1, mb and density must be numbers and read_off_plot yes "
            f"or no, got {dict(row)}"
        ) from e
    return Result(row["model"], kind, top1, mb, density, (top1, top1))


def measured(reports: Iterable[Dict[str, Any]]) -> List[Result]:
    """One result for all runs that differ in no more than their seed, by their reports."""
    groups: Dict[Tuple[Any, ...], List[float]] = {}
    for r in reports:
        data, bits = r["dataset"], r["bits"]
        is_imagenet = all(data.get(key) == value for key, value in _IMAGENET.items())
        name = f"{r['model']} {r['step']}, W{bits['weights']} A{bits['activations']}"
        if r.get("variant") == "released":
            name += ", released"
        if not is_imagenet:
            name += f", {data['name']}"
        kind = MEASURED if is_imagenet else OTHER_DATA
        settings = {k: v for k, v in r.items() if k not in _OF_A_RUN}
        key = (name, kind, r["quantized_bytes"], json.dumps(settings, sort_keys=True))
        groups.setdefault(key, []).append(r["top1"])
    results = []
    for (name, kind, size, _), values in groups.items():
        top1 = sum(values) / len(values)
        density = information_density(top1, size)
        if density is not None:
            text = name + (f", mean of {len(values)}" if len(values) > 1 else "")
            results.append(
                Result(text, kind, top1, size / MIB, density, (min(values), max(values)))
            )
    return results


def find_reports(patterns: Iterable[str]) -> List[Dict[str, Any]]:
    """The reports of finished runs that measured a top-1, each once.

    Args:
        patterns: files, folders that hold ``report.json`` at any depth, or patterns of either,
            where ``**`` stands for any folders. The report of a chain stands for its steps. What
            folders and patterns find beside such reports, as those of SLQ or of an evaluation, is
            passed over.

    Raises:
        ResultsError: a pattern finds no such report, a file that is named is none, or a report is
            damaged.
    """
    found: Dict[str, Dict[str, Any]] = {}
    for pattern in patterns:
        named = os.path.isfile(pattern)
        places = [pattern] if named else glob.glob(pattern, recursive=True)
        paths = [p for place in places for p in _files(place)]
        runs = {path: steps for path in sorted(paths) for steps in [_steps(path)] if steps}
        if not paths:
            raise ResultsError(f"`--reports`: nothing found by {pattern}")
        if not runs:
            what = pattern if named else f"`--reports`: what is found by {pattern}"
            raise ResultsError(f"{what} is not the report of a run")
        for step in itertools.chain.from_iterable(runs.values()):
            if step["top1"] is not None:
                found[json.dumps(step, sort_keys=True)] = step
    return list(found.values())


def _steps(path: str) -> List[Dict[str, Any]]:
    """The reports in a file, none if it holds anything else."""
    report = read_json(path)
    steps = report.get("steps", {"": report}) if isinstance(report, dict) else None
    if not isinstance(steps, dict) or not all(_is_report(step) for step in steps.values()):
        return []
    for name, step in steps.items():
        check_fields(f"{path}, step {name}" if name else path, step, _FIELDS)
    return list(steps.values())


def _files(place: str) -> List[str]:
    if os.path.isfile(place):
        return [place]
    return glob.glob(os.path.join(glob.escape(place), "**", REPORT), recursive=True)


def _is_report(value: Any) -> bool:
    return isinstance(value, dict) and {name.split(".")[0] for name in _FIELDS} <= set(value)
