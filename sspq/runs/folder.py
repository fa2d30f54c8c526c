"""The log folder of a run: one writer at a time, and only runs of the same settings in it."""

import fcntl
import os
import re
import shutil
import time
from typing import Any, Dict, Optional

from sspq.files import is_temporary, read_json, write_json
from sspq.runs.history import CSV_NAME, JSON_NAME

SETTINGS = "run.json"
REPORT = "report.json"
LOCK = ".lock"

# Temporary names of TensorFlow: of a checkpoint, its state file and the graph.
_SAVING = re.compile(r"model-\d+_temp_[0-9a-f]+")  # a folder
_TEMPORARY = re.compile(
    r"model-\d+\.(index|data-\d+-of-\d+)\.tempstate\d+"
    r"|(checkpoint|graph-[\d-]+\.meta)\.tmp[0-9a-f]+"
)


class RunFolderError(ValueError):
    """The folder holds another run, or another process is writing to it."""


class RunFolder:
    """The folder of one run, created where it is missing, and locked.

    Args:
        path: path of the folder.
        settings: values for JSON that the result depends on, by name.
        resume: whether to go on with the run in the folder.
        wait: seconds to wait for another process to leave the folder (default: 60).

    Raises:
        RunFolderError: the folder is in use, holds a run with other settings, holds a run while
            ``resume`` is off, or holds results without settings. Nothing in it is touched.
    """

    def __init__(
        self, path: str, settings: Dict[str, Any], resume: bool, wait: float = 60.0
    ) -> None:
        self.path = path
        os.makedirs(path, exist_ok=True)
        self._lock = open(os.path.join(path, LOCK), "a+")
        self._acquire(wait)
        before = read_json(self.file(SETTINGS))
        if not self._holds_results():
            write_json(self.file(SETTINGS), settings)
        elif not isinstance(before, dict):
            raise RunFolderError(
                f"`--log`: {path} holds checkpoints, a history or a report, but no {SETTINGS} "
                "with the settings of their run; give another folder"
            )
        elif not resume:
            raise RunFolderError(
                f"`--log`: {path} already holds a run; give --resume to go on with it, or "
                "another folder"
            )
        elif before != settings:
            names = sorted(set(before) | set(settings))
            other = [
                f"{n} is {before.get(n)!r} there and {settings.get(n)!r} now"
                for n in names
                if before.get(n) != settings.get(n)
            ]
            raise RunFolderError(
                f"`--log`: {path} holds a run with other settings ({'; '.join(other)}); start "
                "over or give another folder"
            )

    def file(self, name: str) -> str:
        """The path of a file in the folder."""
        return os.path.join(self.path, name)

    def report(self) -> Optional[Dict[str, Any]]:
        """The report of the run, None while the run has not finished."""
        return read_json(self.file(REPORT))

    def clear_leftovers(self) -> None:
        """Removes the temporary files of an interrupted save, and no file of a user."""
        for name in os.listdir(self.path):
            path = self.file(name)
            if os.path.isdir(path):
                if _SAVING.fullmatch(name):
                    shutil.rmtree(path, ignore_errors=True)
            elif _TEMPORARY.fullmatch(name) or is_temporary(name):
                os.remove(path)

    def _holds_results(self) -> bool:
        """Whether the folder holds a checkpoint, history or report; a refused run leaves none."""
        return any(
            name in (REPORT, JSON_NAME, CSV_NAME) or name.endswith(".index")
            for name in os.listdir(self.path)
        )

    def _acquire(self, wait: float) -> None:
        deadline = time.time() + wait
        announced = False
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.time() >= deadline:
                    raise RunFolderError(
                        f"`--log`: another process is writing to {self.path} and did not end "
                        f"within {wait:.0f} s"
                    ) from None
                if not announced:
                    print(f"waiting for the process that is writing to {self.path}", flush=True)
                    announced = True
                time.sleep(0.2)
