"""The limits of benchmarks/scaling_model.py, and small cases by hand."""

import pytest

from benchmarks.scaling_model import FRAME, Link, Process, Schedule, buffers, step

MEGABYTE = 1e6
# 1 MB is ready after 0.1 s, another 3 MB after 0.2 s.
SCHEDULE = Schedule([(0.1, MEGABYTE), (0.2, 3 * MEGABYTE)], 0.05)
AT_ONCE = Schedule([(0.0, MEGABYTE)] * 3, 0.0)
FREE = Process()
PERFECT = Link(float("inf"))
COUNTS = [2, 3, 4, 64, 256]


def link(seconds, latency=0.0):
    """One that takes so many seconds for a megabyte."""
    return Link(MEGABYTE * 8 * FRAME / seconds, latency)


def test_one_worker_takes_the_step_without_communication():
    costly = Process(copying=1.0, sending=1.0, message=1.0)
    for shared in (False, True):
        assert step(SCHEDULE, 1, link(1.0), costly, shared=shared) == pytest.approx(0.25)


@pytest.mark.parametrize("workers", COUNTS)
def test_nothing_is_lost_over_perfect_links(workers):
    assert step(SCHEDULE, workers, PERFECT, FREE) == pytest.approx(0.25)


@pytest.mark.parametrize("workers", COUNTS)
def test_a_faster_link_never_makes_a_step_longer(workers):
    process = Process(1e-10, 1e-9, 1e-5)
    took = [step(SCHEDULE, workers, Link(10**p, 1e-5), process) for p in range(6, 13)]
    assert took == sorted(took, reverse=True) and took[0] > 10 * took[-1]


@pytest.mark.parametrize(
    "workers, seconds, expected",
    [
        # Two messages of 1 ms to agree, two of the ring, 10 ms a megabyte: the first ring is
        # through at 0.114, ahead of the second gradient.
        (2, 0.01, 0.2 + 0.004 + 0.03),
        # Six messages each, and 3/2 of the bytes.
        (4, 0.01, 0.2 + 0.012 + 0.045),
        # The first ring ends at 0.204 and the second waits for it.
        (2, 0.1, 0.1 + 0.004 + 0.1 + 0.004 + 0.3),
    ],
)
def test_cases_by_hand(workers, seconds, expected):
    took = step(SCHEDULE, workers, link(seconds, latency=0.001), FREE)
    assert took == pytest.approx(expected + 0.05)


def test_what_the_process_takes():
    # Copied before and after; sent, 4 ms a megabyte, while the link takes 3 ms for it.
    process = Process(copying=0.002 / MEGABYTE, sending=0.004 / MEGABYTE, message=0.001)
    took = step(AT_ONCE, 2, link(0.003), process)
    assert took == pytest.approx(4 * 0.001 + 3 * 0.002 + 3 * 0.005)
    # With half of a processor, bytes take twice as long, and messages do not.
    took = step(AT_ONCE, 2, PERFECT, process.slowed(2))
    assert took == pytest.approx(4 * 0.001 + 2 * (3 * 0.002 + 3 * 0.004))


def test_cores_that_compute_do_what_the_process_takes_later():
    process = Process(copying=0.001 / MEGABYTE, sending=0.002 / MEGABYTE)
    assert step(SCHEDULE, 2, PERFECT, process) == pytest.approx(0.2 + 3 * 0.003 + 0.05)
    assert step(SCHEDULE, 2, PERFECT, process, shared=True) == pytest.approx(0.2 + 4 * 0.003 + 0.05)


@pytest.mark.parametrize(
    "fusion, sizes", [(0, [1, 1, 5, 1]), (2, [2, 5, 1]), (6, [2, 6]), (7, [7, 1]), (8, [8])]
)
def test_gradients_are_fused_up_to_the_limit(fusion, sizes):
    assert list(buffers([1, 1, 5, 1], fusion)) == sizes


def test_every_buffer_costs_its_messages():
    slow = Link(float("inf"), latency=0.01)
    # 2(n-1) = 6 messages to agree, and for each buffer.
    for fusion, rings in ((0, 3), (2 * MEGABYTE, 2), (3 * MEGABYTE, 1)):
        assert step(AT_ONCE, 4, slow, FREE, fusion) == pytest.approx(0.06 * (1 + rings))
