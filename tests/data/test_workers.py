"""Processes give their results in order, and none outlives its parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from sspq.data import DataError
from sspq.data.workers import Workers


def slow_for_even(task):
    time.sleep(0.02 if task % 2 == 0 else 0)
    return task, os.getpid()


@pytest.mark.parametrize("processes", [0, 1, 3])
def test_results_come_in_the_order_of_the_tasks(processes):
    workers = Workers(slow_for_even, processes)
    results = list(workers.map(range(20)))
    workers.close()
    assert [task for task, _ in results] == list(range(20))
    # A busy machine may leave a process without a task.
    pids = {pid for _, pid in results}
    assert 1 <= len(pids) <= max(1, processes)
    assert (os.getpid() in pids) == (processes == 0)


def test_tasks_are_taken_only_a_little_ahead():
    taken = []

    def tasks():
        for i in range(1000):
            taken.append(i)
            yield i

    workers = Workers(slow_for_even, 2)
    results = workers.map(tasks())
    next(results)
    assert len(taken) <= 6
    results.close()
    assert [task for task, _ in workers.map([7, 8])] == [7, 8]
    workers.close()


def fail_for_three(task):
    if task == 3:
        raise DataError("three")
    return task


@pytest.mark.parametrize("processes", [0, 2])
def test_an_error_in_a_process_is_raised_here(processes):
    workers = Workers(fail_for_three, processes)
    with pytest.raises(DataError, match="^three$"):
        list(workers.map(range(10)))
    assert list(workers.map([1, 2])) == [1, 2]
    workers.close()


def test_a_process_that_dies_is_an_error_and_no_endless_wait():
    workers = Workers(lambda task: os.kill(os.getpid(), signal.SIGKILL), 2)
    with pytest.raises(DataError, match="died"):
        list(workers.map([1]))


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_processes_end_when_their_parent_is_killed():
    script = (
        "import os, time; from sspq.data.workers import Workers\n"
        "w = Workers(lambda t: (time.sleep(0.05), os.getpid())[1], 2)\n"
        "print(*set(w.map(range(8))), flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    deadline = time.time() + 30
    while time.time() < deadline and any(map(alive, pids)):
        time.sleep(0.1)
    assert pids and not any(map(alive, pids))
