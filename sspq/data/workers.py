"""Work shared out to processes, with the results in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Callable

from sspq.data.checks import DataError


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


class Workers:
    """Processes that apply one function, forked at once.

    Forked, because the function's data (a million file names) is shared that way at no cost. The
    processes leave Ctrl-C to the parent, and end when it does, even by a kill. As a context manager
    it closes itself.

    Args:
        function: function of one picklable task, with a picklable result.
        processes: number of processes, int >= 0; with 0 the function runs in this process.
    """

    def __init__(self, function: Callable[[Any], Any], processes: int) -> None:
        self._function = function
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None
        if processes:
            self._pool = ProcessPoolExecutor(
                processes,
                mp_context=multiprocessing.get_context("fork"),
                initializer=_start,
                initargs=(function, os.getpid()),
            )
            self._pool.submit(_ready).result()  # the first task starts all of them

    def map(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """The results in the order of the tasks, a few tasks ahead of what is asked for.

        Raises:
            DataError: a process died. What the function raises is raised here as well.
        """
        if self._pool is None:
            yield from map(self._function, tasks)
            return
        pending: deque[Future[Any]] = deque()
        try:
            for task in tasks:
                pending.append(self._pool.submit(_apply, task))
                if len(pending) > 2 * self._processes:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process that reads images died: was it killed, or is there too little memory?"
            ) from error
        finally:  # also when nobody wants the rest
            for future in pending:
                future.cancel()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes, after the tasks they are at."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)


_function: Callable[[Any], Any]


def _start(function: Callable[[Any], Any], parent: int) -> None:
    global _function  # noqa: PLW0603: a process of a pool has nothing else to keep it in
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    # Not prctl's death signal: it comes when the thread ends that forked, not the process.
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _ready() -> None:
    pass


def _apply(task: Any) -> Any:
    return _function(task)
