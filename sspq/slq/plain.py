"""The three passes over all weights in numpy: the same integers as :mod:`sspq.slq.native`.

Arguments are those of ``custom_ops/slq/slq.h``; ``threads`` is ignored.
"""

from typing import Iterator, Optional, Tuple

import numpy as np

from sspq.slq.keys import BINS, PLACE_BITS, keys_of

# Weights of one part. A sum of squares of places over one is below 2^53, so float64 is exact.
PART = 1 << 21

# Label of a bin that has weights of several clusters.
MIXED = 0xFFFF

BIN_TYPE = np.dtype([("count_and_sum", np.uint64), ("square", np.uint64)])
COUNT_SHIFT = np.uint64(40)


def parts_of(n: int) -> int:
    return -(-n // PART)


def histogram(
    weights: np.ndarray, skip: Optional[np.ndarray], threads: int, bins: np.ndarray
) -> None:
    for part, (keys, _) in enumerate(_keys_by_part(weights, skip)):
        number = keys >> np.uint32(PLACE_BITS)
        place = (keys & np.uint32(0xFFFF)).astype(np.float64)
        count, total, square = [
            np.bincount(number, w, BINS).astype(np.uint64) for w in (None, place, place * place)
        ]
        bins[part]["count_and_sum"] = (count << COUNT_SHIFT) + total
        bins[part]["square"] = square


def gather(
    weights: np.ndarray,
    skip: Optional[np.ndarray],
    threads: int,
    slot: np.ndarray,
    cursor: np.ndarray,
    places: np.ndarray,
) -> None:
    for part, (keys, _) in enumerate(_keys_by_part(weights, skip)):
        slots_of_all = slot[keys >> np.uint32(PLACE_BITS)]
        taken = slots_of_all >= 0
        slots = slots_of_all[taken]
        order = np.argsort(slots, kind="stable")
        count = np.bincount(slots, minlength=cursor.shape[1])
        shift = np.repeat(cursor[part] - (np.cumsum(count) - count), count)
        places[np.arange(len(order)) + shift] = keys[taken][order] & np.uint32(0xFFFF)
        cursor[part] += count


def assign(
    weights: np.ndarray,
    skip: Optional[np.ndarray],
    threads: int,
    table: np.ndarray,
    cuts: np.ndarray,
    labels: np.ndarray,
    index: np.ndarray,
) -> None:
    for keys, where in _keys_by_part(weights, skip):
        label = table[keys >> np.uint32(PLACE_BITS)]
        mixed = label == MIXED
        label[mixed] = labels[np.searchsorted(cuts, keys[mixed], side="right")]
        index[where[0]][where[1]] = label


_Where = Tuple[slice, np.ndarray]


def _keys_by_part(
    weights: np.ndarray, skip: Optional[np.ndarray]
) -> Iterator[Tuple[np.ndarray, _Where]]:
    """Keys of the weights that are not skipped, and where these are: a slice, and what of it."""
    for begin in range(0, len(weights), PART):
        part = slice(begin, begin + PART)
        keys = keys_of(weights[part])
        kept = np.ones(len(keys), bool) if skip is None else ~skip[part]
        yield keys[kept], (part, kept)
