"""Errors that end a program with one line and exit status 2, and what that line says."""

import os
from typing import Optional

from sspq.compat import tf
from sspq.oplib import OpLibraryError
from sspq.slq import BackendError

# Too little memory, of the machine or a GPU. TensorFlow's is raised for a full disk as well.
_EXHAUSTED = (MemoryError, tf.errors.ResourceExhaustedError)

USER_ERRORS = (ValueError, OSError, OpLibraryError, BackendError, *_EXHAUSTED)


def told_whole() -> bool:
    """Whether programs shall raise them instead, with a traceback: ``SSPQ_TRACEBACK=1``."""
    return os.environ.get("SSPQ_TRACEBACK") == "1"


def line_of(error: Exception, batch: Optional[int] = None) -> str:
    """What to print of one of USER_ERRORS; where memory ran out, with the batch that took it."""
    if not isinstance(error, _EXHAUSTED):
        return str(error)
    first = str(error).split("\n")[0]  # the rest are hints for programmers, and where ops were made
    if batch is None or not (isinstance(error, MemoryError) or "OOM" in first):
        return first
    return f"out of memory with a `--batch` of {batch}, a smaller one takes less: {first}"
