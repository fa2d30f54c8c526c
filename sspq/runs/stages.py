"""The reports of the stages of a run of SLQ or MLQ."""

import os
from typing import Any, Dict, List

from sspq.files import read_json
from sspq.runs.folder import REPORT

StageReport = Dict[str, Any]


def stage_file(folder: str, stage: int) -> str:
    """The path of the report of a stage; stages count from 1."""
    return os.path.join(folder, f"stage{stage}", REPORT)


def read_stages(folder: str) -> List[StageReport]:
    """The reports of the stages that have begun, in order."""
    found: List[StageReport] = []
    while True:
        report = read_json(stage_file(folder, len(found) + 1))
        if report is None:
            return found
        found.append(report)
