"""Errors that end a program with one line and exit status 2, and what that line says."""

import os
import sys
from typing import Optional


def is_user_error(error: BaseException) -> bool:
    """Whether an error is told in one line.

    Such are ``ValueError``, ``OSError`` and ``MemoryError``, a missing compiled library, and
    TensorFlow's error for exhausted memory, which it raises for a full disk as well.
    """
    if isinstance(error, (ValueError, OSError, MemoryError)):
        return True
    if isinstance(error, ImportError):
        from sspq.slq import BackendError

        if isinstance(error, BackendError):
            return True
    if "tensorflow" not in sys.modules:  # what nobody has imported has raised nothing
        return False
    from sspq.oplib import OpLibraryError

    return isinstance(error, OpLibraryError) or _is_exhausted(error)


def wants_traceback() -> bool:
    """Whether user errors are raised with a traceback instead: ``SSPQ_TRACEBACK=1``."""
    return os.environ.get("SSPQ_TRACEBACK") == "1"


def one_line_message(error: BaseException, batch: Optional[int] = None) -> str:
    """The line to print for a user error; where memory ran out, with the batch that took it."""
    if not _is_exhausted(error):
        return str(error)
    first = str(error).split("\n")[0]  # the rest are hints for programmers, and where ops were made
    if batch is None or not (isinstance(error, MemoryError) or "OOM" in first):
        return first
    return f"out of memory with a `--batch` of {batch}, a smaller one takes less: {first}"


def _is_exhausted(error: BaseException) -> bool:
    """Whether too little memory is left, of the machine or a GPU."""
    if isinstance(error, MemoryError):
        return True
    if "tensorflow" not in sys.modules:
        return False
    from sspq.compat import tf

    return isinstance(error, tf.errors.ResourceExhaustedError)
