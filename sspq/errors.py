"""User errors: they end a program with one line and exit status 2."""

import os
import sys
from typing import Optional


def is_user_error(error: BaseException) -> bool:
    """Whether an error is the user's to mend, so that one line tells it.

    User errors are ``ValueError``, ``OSError`` and ``MemoryError``, a missing compiled library, and
    TensorFlow's error for exhausted memory, which it raises for a full disk as well.
    """
    if isinstance(error, (ValueError, OSError, MemoryError)):
        return True
    if isinstance(error, ImportError):
        from sspq.slq import BackendError

        if isinstance(error, BackendError):
            return True
    if "tensorflow" not in sys.modules:  # not imported, it has raised nothing
        return False
    from sspq.oplib import OpLibraryError

    return isinstance(error, OpLibraryError) or _is_exhausted(error)


def end_program(error: Exception, program: str, batch: Optional[int] = None) -> int:
    """Prints the line of a user error, and gives the exit status 2; raises every other error.

    Args:
        error: error that ends the program, while it is handled.
        program: name that the line begins with.
        batch: number of images of a step, for :func:`one_line_message` (default: None).
    """
    if not is_user_error(error) or wants_traceback():
        raise error
    print(f"{program}: {one_line_message(error, batch)}", file=sys.stderr)
    return 2


def wants_traceback() -> bool:
    """Whether user errors are raised with a traceback instead: ``SSPQ_TRACEBACK=1``."""
    return os.environ.get("SSPQ_TRACEBACK") == "1"


def one_line_message(error: BaseException, batch: Optional[int] = None) -> str:
    """The line to print for a user error.

    Args:
        error: an error for which :func:`is_user_error` holds.
        batch: number of images a step, which the line names where memory ran out (default: not
            named).
    """
    if not _is_exhausted(error):
        return str(error)
    first = str(error).split("\n")[0]  # hints for programmers and tracebacks of ops follow
    if batch is None or not (isinstance(error, MemoryError) or "OOM" in first):
        return first
    return f"out of memory with a `--batch` of {batch}, a smaller batch takes less: {first}"


def _is_exhausted(error: BaseException) -> bool:
    """Whether the memory of the machine or of a GPU is exhausted."""
    if isinstance(error, MemoryError):
        return True
    if "tensorflow" not in sys.modules:
        return False
    from sspq.compat import tf

    return isinstance(error, tf.errors.ResourceExhaustedError)
