"""Whether graphs on CPUs compute with ops of this package where TensorFlow has slower ones."""

import os
from contextlib import contextmanager
from typing import Iterator

from sspq.compat import has_gpu

VARIABLE = "SSPQ_OPS"
SSPQ, TENSORFLOW = "sspq", "tensorflow"

_only_tensorflow = False


@contextmanager
def tensorflow_ops() -> Iterator[None]:
    """A context in which graphs and gradients are built of TensorFlow's own ops, but for the shift.

    The environment variable ``SSPQ_OPS=tensorflow`` does the same for a whole process.
    """
    global _only_tensorflow  # noqa: PLW0603
    before, _only_tensorflow = _only_tensorflow, True
    try:
        yield
    finally:
        _only_tensorflow = before


def own_ops() -> bool:
    """Whether this package's ops may stand for TensorFlow's: on CPUs, unless that is switched off.

    Raises:
        ValueError: ``SSPQ_OPS`` is neither "sspq", the default, nor "tensorflow".
    """
    wish = os.environ.get(VARIABLE) or SSPQ
    if wish not in (SSPQ, TENSORFLOW):
        raise ValueError(f"{VARIABLE} must be {SSPQ} or {TENSORFLOW}, got {wish!r}")
    return wish == SSPQ and not _only_tensorflow and not has_gpu()
