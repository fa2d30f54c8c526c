"""Tensorpack's argscope, which also ends where an error leaves it."""

from contextlib import contextmanager
from typing import Any, Iterator

from tensorpack.tfutils.argscope import _ArgScopeStack
from tensorpack.tfutils.argscope import argscope as _argscope


@contextmanager
def argscope(layers: Any, **arguments: Any) -> Iterator[None]:
    """A context in which ``layers``, one or a list, have these arguments by default.

    Tensorpack's own has no try/finally: after a graph that could not be built, its arguments would
    hold for all later graphs of the process.
    """
    depth = len(_ArgScopeStack)
    try:
        with _argscope(layers, **arguments):
            yield
    finally:
        del _ArgScopeStack[depth:]
