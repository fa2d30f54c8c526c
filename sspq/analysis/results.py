"""Results to compare: those that the authors published, and those that runs measured."""

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
# Fields of a report that differ between runs of the same settings.
_FIELDS_OF_A_RUN = {"seed", "top1", "top5", "seconds", "information_density", "versions"}
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
        name: text of the label.
        kind: one of :data:`KINDS`.
        top1: top-1 in percent; for several runs their mean.
        mb: size in MiB, which the papers call MB.
        density: information density, as published or computed from ``top1`` and ``mb``.
        top1_range: least and largest top-1 of the runs, in percent.
    """

    name: str
    kind: str
    top1: float
    mb: float
    density: float
    top1_range: Tuple[float, float]


def published(path: str = PUBLISHED_CSV) -> List[Result]:
    """The results in a CSV file.

    Args:
        path: CSV file with :data:`COLUMNS` (default: the file of this package).

    Raises:
        ResultsError: the file is missing, has other columns, or a row has values of other kinds.
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
    """The results of runs; runs that differ in no more than their seed are one result.

    Args:
        reports: reports of the runs, as :func:`find_reports` gives them.
    """
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
        settings = {k: v for k, v in r.items() if k not in _FIELDS_OF_A_RUN}
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
            where ``**`` stands for any folders. The report of a chain stands for its steps. Other
            reports in folders, as those of SLQ or of an evaluation, are passed over.

    Raises:
        ResultsError: a pattern finds no report of a run, a named file is no report of a run, or a
            report is damaged.
    """
    found: Dict[str, Dict[str, Any]] = {}
    for pattern in patterns:
        is_file = os.path.isfile(pattern)
        places = [pattern] if is_file else glob.glob(pattern, recursive=True)
        paths = [p for place in places for p in _files(place)]
        runs = {path: steps for path in sorted(paths) for steps in [_steps(path)] if steps}
        if not paths:
            raise ResultsError(f"`--reports`: no file is found by {pattern}")
        if not runs:
            raise ResultsError(f"`--reports`: {pattern} holds no report of a run")
        for step in itertools.chain.from_iterable(runs.values()):
            if step["top1"] is not None:
                found[json.dumps(step, sort_keys=True)] = step
    return list(found.values())


def _steps(path: str) -> List[Dict[str, Any]]:
    """The reports in a file, an empty list if the file holds anything else."""
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
