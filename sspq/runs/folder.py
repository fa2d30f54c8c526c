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

# What TensorFlow writes ahead of a checkpoint, of its state file and of the graph.
_SAVING = re.compile(r"model-\d+_temp_[0-9a-f]+")  # a folder
_UNFINISHED = re.compile(
    r"model-\d+\.(index|data-\d+-of-\d+)\.tempstate\d+"
    r"|(checkpoint|graph-[\d-]+\.meta)\.tmp[0-9a-f]+"
)


class RunFolderError(ValueError):
    """The folder holds another run, or somebody is writing to it."""


class RunFolder:
    """Opens, and creates where needed, the folder of one run.

    Args:
        path: of the folder.
        settings: everything that the result depends on; JSON values.
        resume: go on with what the folder holds.
        wait: seconds to wait for another process to leave the folder.

    Raises:
        RunFolderError: the folder is in use, holds a run with other settings, holds a run while
            ``resume`` is off, or results of nobody knows which run. Nothing in it was touched.
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
                "that says which run they are of; give another folder"
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
        return os.path.join(self.path, name)

    def report(self) -> Optional[Dict[str, Any]]:
        """The report of a finished run, None while it is not finished."""
        return read_json(self.file(REPORT))

    def clear_leftovers(self) -> None:
        """Removes what an interrupted save left behind, and nothing that a user put there."""
        for name in os.listdir(self.path):
            path = self.file(name)
            if os.path.isdir(path):
                if _SAVING.fullmatch(name):
                    shutil.rmtree(path, ignore_errors=True)
            elif _UNFINISHED.fullmatch(name) or is_temporary(name):
                os.remove(path)

    def _holds_results(self) -> bool:
        """Whether there is anything to lose: a run that was refused at its start leaves nothing."""
        return any(
            name in (REPORT, JSON_NAME, CSV_NAME) or name.endswith(".index")
            for name in os.listdir(self.path)
        )

    def _acquire(self, wait: float) -> None:
        deadline = time.time() + wait
        told = False
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
                if not told:
                    print(f"waiting for the process that is writing to {self.path}", flush=True)
                    told = True
                time.sleep(0.2)
