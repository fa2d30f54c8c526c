"""Exact sums over intervals of weights, mostly without looking at the weights.

One pass counts the weights of every bin (:mod:`sspq.slq.keys`) and adds up their places. An
interval is then a run of bins and a piece of the bin at either end; the places of the weights in
such bins are fetched by another pass, once for each bin. All sums are of integers, so they depend
neither on the order of the weights nor on who adds.
"""

import os
from typing import Dict, List, NamedTuple, Optional

import numpy as np

from sspq.slq import plain
from sspq.slq.backend import backend
from sspq.slq.keys import BINS, PLACE_BITS, PLACES, finite_bins, lines_of

_CHUNK = 1 << 20


class Moments(NamedTuple):
    """Weights of one or more bins, or pieces of bins: sums over their places, exact."""

    count: np.ndarray  # int64
    total: np.ndarray  # uint64
    square: np.ndarray  # uint64

    def take(self, chosen: np.ndarray) -> "Moments":
        return Moments(*(a[chosen] for a in self))

    @staticmethod
    def join(several: List["Moments"]) -> "Moments":
        return Moments(*(np.concatenate(arrays) for arrays in zip(*several)))


class Groups(NamedTuple):
    """Weights in groups that lie within one bin and one interval each."""

    interval: np.ndarray
    base: np.ndarray
    unit: np.ndarray
    moments: Moments

    def sums(self) -> np.ndarray:
        """The sum of each group's weights; exact below 2**29 weights."""
        return self.base * self.moments.count + self.unit * self.moments.total

    def losses(self, centres: np.ndarray) -> np.ndarray:
        """Sums of squared distances to a centre for each group, with relative error about 1e-15."""
        count, total, square = self.moments
        n = count.astype(np.uint64)
        # Around the mean place, rounded down; this is exact, since unsigned integers wrap around.
        mean = total // n
        rest = total - mean * n
        spread = square - mean * (total + rest)
        d = self.base + self.unit * mean - centres
        return self.unit * (self.unit * spread + 2 * d * rest) + count * d * d


class BinnedWeights:
    """Weights by bin.

    Args:
        weights: values, float32, flat and contiguous.
        skip: weights that do not count, bool of the same length, or None.
        threads: largest number of threads.

    Raises:
        ValueError: a weight that counts is NaN or infinite.
    """

    def __init__(self, weights: np.ndarray, skip: Optional[np.ndarray], threads: int) -> None:
        self._weights, self._skip, self._threads = weights, skip, threads
        parts = plain.parts_of(len(weights))
        table = np.zeros((parts, BINS), plain.BIN_TYPE)
        backend().histogram(weights, skip, threads, table)
        # Every part's own counts tell where its weights go when they are gathered.
        self._counts = (table["count_and_sum"] >> plain.COUNT_SHIFT).astype(np.int64)
        mask = (np.uint64(1) << plain.COUNT_SHIFT) - np.uint64(1)
        count = self._counts.sum(axis=0)
        total = (table["count_and_sum"] & mask).sum(axis=0, dtype=np.uint64)
        square = table["square"].sum(axis=0, dtype=np.uint64)

        lost = int(count.sum() - count[finite_bins()].sum())
        if lost:
            raise ValueError(
                f"weights must be finite, but {lost} of {count.sum()} are NaN or infinite"
            )
        self._bins = np.flatnonzero(count)
        self._moments = Moments(count, total, square).take(self._bins)
        self._base, self._unit = lines_of(self._bins)
        self._places: Dict[int, np.ndarray] = {}
        self._wanted = np.zeros(0, np.int64)

    def split(self, cuts: np.ndarray, estimate: bool = False) -> Groups:
        """The weights in groups, each within one of the intervals between ``cuts``.

        Args:
            cuts: keys in ascending order, int64; a weight is in the interval of the number of cuts
                that are not above its key.
            estimate: whether weights count as evenly spread over their bin where an interval ends
                in it (default: False). The bin is remembered, so that the next exact call fetches
                all such bins in one pass.
        """
        inner = np.unique(cuts[cuts % PLACES != 0])
        where = inner >> PLACE_BITS
        cut_bins = np.intersect1d(where, self._bins)
        if estimate:
            self._wanted = np.union1d(self._wanted, cut_bins)
        else:
            self._fetch(cut_bins)

        at = np.searchsorted(self._bins, cut_bins)
        whole = np.ones(len(self._bins), bool)
        whole[at] = False
        whole_at = np.flatnonzero(whole)
        owners, starts, moments = [whole_at], [self._bins[whole_at] << PLACE_BITS], []
        moments.append(self._moments.take(whole_at))
        for i, number in zip(at, cut_bins):
            edges = np.concatenate([[0], inner[where == number] % PLACES])
            if estimate:
                pieces = _spread_evenly(self._moments.count[i], edges)
            else:
                pieces = _pieces(self._places[number], edges)
            some = np.flatnonzero(pieces.count)
            owners.append(np.full(len(some), i))
            starts.append((number << PLACE_BITS) + edges[some])
            moments.append(pieces.take(some))
        owner = np.concatenate(owners)
        interval = np.searchsorted(cuts, np.concatenate(starts), side="right")
        return Groups(interval, self._base[owner], self._unit[owner], Moments.join(moments))

    def assign(self, cuts: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The label, uint8, of every weight's interval; 0 for weights that do not count."""
        first = np.arange(BINS, dtype=np.int64) << PLACE_BITS
        table = labels[np.searchsorted(cuts, first, side="right")].astype(np.uint16)
        table[cuts[cuts % PLACES != 0] >> PLACE_BITS] = plain.MIXED
        index = np.zeros(len(self._weights), np.uint8)
        backend().assign(
            self._weights, self._skip, self._threads, table, cuts.astype(np.uint32), labels, index
        )
        return index

    def _fetch(self, bins: np.ndarray) -> None:
        """Sees to it that the places of all weights in these bins are at hand."""
        missing = [b for b in bins if b not in self._places]
        if not missing:
            return
        missing = [b for b in np.union1d(missing, self._wanted) if b not in self._places]
        slot = np.full(BINS, -1, np.int32)
        slot[missing] = np.arange(len(missing))
        counts = self._counts.take(missing, axis=1)  # contiguous, as indexing would not be
        ends = np.cumsum(counts.sum(axis=0))
        # A slot's weights come together, part by part.
        cursor = np.cumsum(counts, axis=0) - counts + (ends - counts.sum(axis=0))
        places = np.empty(ends[-1], np.uint16)
        backend().gather(self._weights, self._skip, self._threads, slot, cursor, places)
        self._places.update(zip(missing, np.split(places, ends[:-1])))


def _pieces(places: np.ndarray, edges: np.ndarray) -> Moments:
    """Moments of the places from each edge to the next."""
    result = _no_moments(len(edges))
    for begin in range(0, len(places), _CHUNK):
        chunk = places[begin : begin + _CHUNK]
        piece = np.searchsorted(edges[1:].astype(np.uint16), chunk, side="right")
        # In float64, and exact: the squares of a chunk add up to less than 2**53.
        value = chunk.astype(np.float64)
        for moment, weights in zip(result, (None, value, value * value)):
            moment[:] += np.bincount(piece, weights, len(edges)).astype(moment.dtype)
    return result


def _spread_evenly(count: int, edges: np.ndarray) -> Moments:
    """What :func:`_pieces` gives for so many evenly spread places, but for the squares."""
    ends = np.append(edges, PLACES)
    counts = np.diff(count * ends // PLACES)
    total = counts * (ends[:-1] + ends[1:]) // 2
    return _no_moments(len(edges))._replace(count=counts, total=total.astype(np.uint64))


def _no_moments(n: int) -> Moments:
    return Moments(np.zeros(n, np.int64), np.zeros(n, np.uint64), np.zeros(n, np.uint64))


def available_threads() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0))
