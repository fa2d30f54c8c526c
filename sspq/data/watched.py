"""What went wrong in a data flow that another thread reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tensorpack.dataflow import DataFlow, ProxyDataFlow


class Watched:
    """Remembers the error that ends a flow.

    Tensorpack's ``QueueInput`` reads in a thread of its own; an error there is logged, and training
    ends as if the data had come to an end.

    Attributes:
        error: error that a flow has raised; None while none has.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None

    def fail(self, error: Exception) -> None:
        """Notes the error of what is no flow."""
        self.error = error

    def __call__(self, flow: DataFlow) -> DataFlow:
        """The same flow, watched."""
        return _WatchedFlow(flow, self)


class WatchedInput:
    """The base of what training reads from, through flows that ``_watched`` watches.

    Attributes:
        num_classes: number of classes of the images.
    """

    num_classes: int

    def __init__(self) -> None:
        self._watched = Watched()

    @property
    def failure(self) -> Exception | None:
        """The error that ended a training input; None while there is none."""
        return self._watched.error


class _WatchedFlow(ProxyDataFlow):
    def __init__(self, flow: DataFlow, watcher: Watched) -> None:
        super().__init__(flow)
        self._watcher = watcher

    def __iter__(self) -> Iterator[Any]:
        # Not a generator itself: the flow settles which epoch it is when a pass is asked for.
        return self._pass(iter(self.ds))

    def _pass(self, batches: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from batches
        except Exception as error:
            self._watcher.error = error
            raise
