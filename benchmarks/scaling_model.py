"""Seconds of a step of data-parallel training by Horovod over Gloo.

The backward pass gives the gradients one after the other. Horovod's thread works in cycles: the
processes agree on the gradients that all of them have, which are copied into buffers of at most the
fusion's size, and each buffer's mean is taken over a ring. What gets ready meanwhile waits for the
next cycle. The update follows when the backward pass and the last ring are through.

In a ring of n every process sends 2(n-1) messages of an n-th of the buffer. Link and processor work
on them at the same time, though neither waits for nothing: measured times lie between the longer of
the two and their sum, and the root of the sum of the squares is what is taken.
"""

import math
from typing import Iterator, List, NamedTuple, Tuple

FRAME = 1514 / 1448  # bytes on an Ethernet for one byte of data in TCP
CYCLE = 1e-3  # Horovod's default, in seconds
FUSION = 128 << 20  # and in bytes


class Link(NamedTuple):
    """What joins a process to the others: bit/s each way, and seconds of latency."""

    rate: float
    latency: float = 0.0


class Process(NamedTuple):
    """What a process itself takes, in seconds.

    Attributes:
        copying: for a byte of gradients: compression, into the buffer and back.
        sending: for a byte that is sent, and received and added up.
        message: for a message of any size.
    """

    copying: float = 0.0
    sending: float = 0.0
    message: float = 0.0

    def slowed(self, factor: float) -> "Process":
        """The same with a part of the processor."""
        return self._replace(copying=self.copying * factor, sending=self.sending * factor)


class Schedule(NamedTuple):
    """A step without communication.

    Attributes:
        tensors: the moment at which a gradient is ready, and its bytes; in this order.
        update: seconds from the last one to the end of the step.
    """

    tensors: List[Tuple[float, float]]
    update: float

    @property
    def backward(self) -> float:
        return self.tensors[-1][0]

    @property
    def seconds(self) -> float:
        return self.backward + self.update

    @property
    def bytes(self) -> float:
        return sum(size for _, size in self.tensors)

    def scaled(self, time: float = 1.0, size: float = 1.0) -> "Schedule":
        return Schedule([(r * time, b * size) for r, b in self.tensors], self.update * time)


def sent(size: float, workers: int) -> float:
    """Bytes that each process sends for a buffer of that size."""
    return 2 * (workers - 1) / workers * size


def messages(workers: int, link: Link, process: Process) -> float:
    """Seconds of a ring's messages, if they carry nothing."""
    return 2 * (workers - 1) * (link.latency + process.message)


def allreduce(size: float, workers: int, link: Link, process: Process) -> float:
    """Seconds of one buffer's mean over all processes."""
    on_link = sent(size, workers) * 8 * FRAME / link.rate
    own = sent(size, workers) * process.sending
    return messages(workers, link, process) + size * process.copying + math.hypot(on_link, own)


def buffers(sizes: List[float], fusion: float) -> Iterator[float]:
    """Bytes of the buffers that gradients of these sizes go into."""
    held = 0.0
    for size in sizes:
        if held and held + size > fusion:
            yield held
            held = 0.0
        held += size
    if held:
        yield held


def step(
    schedule: Schedule,
    workers: int,
    link: Link,
    process: Process,
    fusion: float = FUSION,
    shared: bool = False,
) -> float:
    """Seconds of a step.

    Args:
        schedule: the step without communication.
        workers: number of processes.
        link: what joins each to the others.
        process: what each takes itself.
        fusion: Horovod's HOROVOD_FUSION_THRESHOLD, in bytes.
        shared: whether that is taken from the cores that compute, which are never idle.
    """
    waiting = list(schedule.tensors)
    now, start = 0.0, -CYCLE
    while waiting and workers > 1:
        start = max(now, start + CYCLE, waiting[0][0])
        ready = [size for moment, size in waiting if moment <= start]
        waiting = waiting[len(ready) :]
        now = start + messages(workers, link, process)
        for size in buffers(ready, fusion):
            now += allreduce(size, workers, link, process)
    computed = schedule.backward
    if shared and workers > 1:
        computed += schedule.bytes * process.copying
        computed += sent(schedule.bytes, workers) * process.sending
    return max(computed, now) + schedule.update
