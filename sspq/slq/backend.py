"""Which implementation passes over the weights. Both give the same bits."""

import functools
import os
import warnings
from typing import Any

from sspq.slq import native, plain

NAMES = ("native", "numpy")

_BUILD = "In the source folder run\n    python setup.py build_ext --inplace"


class BackendError(ImportError):
    """``SSPQ_SLQ`` asks for an implementation that is not there."""


def backend() -> Any:
    """The module with ``histogram``, ``gather`` and ``assign`` to use.

    The environment variable ``SSPQ_SLQ`` names it: ``native`` or ``numpy``. By default it is the
    compiled one if it loads, else numpy with a warning.

    Raises:
        BackendError: ``SSPQ_SLQ`` is another name, or ``native`` and the library does not load.
    """
    wish = os.environ.get("SSPQ_SLQ", "")
    if wish not in ("",) + NAMES:
        raise BackendError(f"SSPQ_SLQ={wish}: must be one of {', '.join(NAMES)}, or not set")
    if wish == "numpy":
        return plain
    try:
        native.load()
    except OSError as e:
        if wish == "native":
            raise BackendError(f"SSPQ_SLQ=native, but {e}. {_BUILD}") from e
        _warn(str(e))
        return plain
    return native


def backend_name() -> str:
    """``"native"`` or ``"numpy"``: what :func:`backend` chooses."""
    return "native" if backend() is native else "numpy"


@functools.lru_cache(maxsize=None)  # once
def _warn(reason: str) -> None:
    warnings.warn(
        f"SLQ clusters in numpy, with the same results at a tenth of the speed: {reason}. {_BUILD}",
        RuntimeWarning,
        stacklevel=4,
    )
