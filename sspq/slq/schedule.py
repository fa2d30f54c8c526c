"""Stages of quantization, as data."""

from dataclasses import dataclass
from typing import Mapping, Tuple

from sspq.slq.clustering import PASSES, number_of_centres
from sspq.slq.integers import is_int

PARTITIONS = ("magnitude", "loss", "boundary")


@dataclass(frozen=True)
class Schedule:
    """The stages by which one layer is quantized.

    Attributes:
        bits: bits of a weight, 2 to 8, for ``2**(bits - 1) + 1`` centres.
        counts: number of centres that are frozen, with their members, at the end of each stage. The
            last stage freezes all.
        partition: order in which centres are frozen. ``magnitude``: zero, then by descending
            magnitude, which is the order of their indices. ``loss``: those whose clusters lose most
            by it. ``boundary``: by descending magnitude, zero last.
        pin_zero: whether centre 0 takes members but stays exactly 0.
        passes: number of passes of k-means in every stage.

    Raises:
        ValueError: an attribute is out of its range; it is named.
    """

    bits: int
    counts: Tuple[int, ...]
    partition: str = "magnitude"
    pin_zero: bool = True
    passes: int = PASSES

    def __post_init__(self) -> None:
        centres, counts = number_of_centres(self.bits), tuple(self.counts)
        object.__setattr__(self, "counts", counts)  # a list will do
        rising = all(a < b for a, b in zip((0,) + counts, counts))
        whole = all(is_int(n) for n in counts)
        if not (counts and whole and rising and counts[-1] == centres):
            raise ValueError(
                f"`counts` must rise from at least 1 to {centres}, the number of centres at "
                f"{self.bits} bits, got {counts!r}"
            )
        if self.partition not in PARTITIONS:
            raise ValueError(f"`partition` must be one of {PARTITIONS}, got {self.partition!r}")
        if not is_int(self.passes) or self.passes < 1:
            raise ValueError(f"`passes` must be at least 1, got {self.passes!r}")


#: SLQ by bits. The five stages at 5 bits are the released ones; the others are this package's own,
#: in the same manner: zero and the largest pairs first, at the end one pair a stage.
SLQ: Mapping[int, Schedule] = {
    5: Schedule(5, (5, 9, 13, 15, 17)),
    4: Schedule(4, (3, 5, 7, 9)),
    3: Schedule(3, (3, 5)),
    2: Schedule(2, (1, 3)),
}

#: MLQ's ternary weights: both outer clusters, then the middle one, whose centre moves too.
TERNARY = Schedule(2, (2, 3), partition="boundary", pin_zero=False)
