"""Processes that take turns at being measured, each with a library and an interpreter of its own.

A process is asked by name for one step at a time and waits meanwhile. There is nothing here but the
standard library: interpreters without this package import it, too.
"""

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, NamedTuple

# The threads of OpenMP look out for more work for 10 ms after a step. Not to let them
# (OMP_WAIT_POLICY=PASSIVE) makes PyTorch's training step take a fifth longer.
REST = 0.03


class Took(NamedTuple):
    """Seconds of a step."""

    wall: float
    cpu: float


def cpu_seconds() -> float:
    """CPU time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(step: Callable[[], Any]) -> Took:
    start, cpu = time.perf_counter(), cpu_seconds()
    step()
    return Took(time.perf_counter() - start, cpu_seconds() - cpu)


def positive(text: str) -> int:
    """The type of options that count something, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def megabytes(name: str, process: Any = "self") -> float:
    """Resident memory of a process: what it holds, VmRSS, or has held at most, VmHWM."""
    with open(f"/proc/{process}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(name + ":")) * 1024 / 1e6


def forget_peak(process: Any = "self") -> None:
    """Lets VmHWM start over."""
    with open(f"/proc/{process}/clear_refs", "w") as f:
        f.write("5")


def serve(steps: Dict[str, Callable[[], Any]], facts: Dict[str, Any]) -> None:
    """Prints the facts; then takes steps that lines of the input name, and prints its times."""
    ctypes.CDLL(None).malloc_trim(0)  # what building the steps has left is no part of them
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        print(json.dumps(timed(steps[line.strip()])), flush=True)


class Worker:
    """A process that runs :func:`serve`.

    Args:
        interpreter: path of the Python to run it with.
        script: its name in this folder.
        arguments: those of the script.

    Attributes:
        facts: what the process tells of itself.
        process: its id.
    """

    def __init__(self, interpreter: str, script: str, arguments: List[Any]) -> None:
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), script)
        self._command = [interpreter, script] + [str(a) for a in arguments]
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"TF_CPP_MIN_LOG_LEVEL": "1", **os.environ},
            text=True,
        )
        self.process = self._process.pid
        self.facts: Dict[str, Any] = self._answer()

    def run(self, name: str) -> Took:
        time.sleep(REST)  # of the process whose turn it was
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return Took(*self._answer())

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self._command)} ended: its own error is above")
        return json.loads(line)
