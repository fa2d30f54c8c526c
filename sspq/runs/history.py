"""The measurements of a run, epoch by epoch, in files that survive a kill."""

import csv
import io
import os
from typing import Any, Dict, List

from sspq.files import read_json, write_atomically, write_json

JSON_NAME = "history.json"
CSV_NAME = "history.csv"
Row = Dict[str, Any]
COLUMNS = (
    "epoch",
    "learning_rate",
    "train_cost",
    "test_cross_entropy",
    "top1",
    "top5",
    "seconds",
)


def read(folder: str) -> List[Row]:
    """The rows of a run, one an epoch; empty without a history.

    Raises:
        ValueError: the file is not JSON, or holds no list.
    """
    path = os.path.join(folder, JSON_NAME)
    rows = read_json(path)
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise ValueError(f"{path} must be a list of epochs, got {rows!r}")
    return rows


def write(folder: str, rows: List[Row]) -> None:
    """Writes the rows into ``folder`` as JSON and as CSV."""
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(os.path.join(folder, CSV_NAME), table.getvalue())
    write_json(os.path.join(folder, JSON_NAME), rows)
