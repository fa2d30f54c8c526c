"""k-means of the weights of one layer."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from sspq.slq.binned import BinnedWeights, Groups, available_threads
from sspq.slq.integers import is_int
from sspq.slq.keys import first_key_above, first_key_from

PASSES = 10
MOST_CENTRES = 256  # an index is a byte
MOST_BITS = 8

# From here on a run on estimates takes less time than the passes over the weights that it saves: it
# finds nearly all bins that the exact run looks into, which are then fetched at once.
_MANY = 1 << 20


@dataclass(frozen=True, eq=False)
class Clusters:
    """What :func:`cluster` finds.

    Attributes:
        centres: values to which the last pass has moved the centres, float64 ``[K]``.
        index: centre, uint8 in the weights' shape, that each weight was nearest to when the
            last pass began. That pass took the means of these clusters.
        sizes: numbers of members by cluster, int64 ``[K]``.
        loss: quantization loss by cluster, float64 ``[K]``: the sum of ``(w - centre)**2``.
    """

    centres: np.ndarray
    index: np.ndarray
    sizes: np.ndarray
    loss: np.ndarray


def check_bits(bits: Any) -> int:
    """Returns ``bits`` if it is an int from 2 to 8, else raises ValueError."""
    if not is_int(bits):
        raise ValueError(f"`bits` must be an int, got {bits!r}")
    if not 2 <= bits <= MOST_BITS:
        raise ValueError(f"`bits` must be from 2 to {MOST_BITS}, got {bits}")
    return int(bits)


def number_of_centres(bits: int) -> int:
    """``2**(bits - 1) + 1``."""
    return 2 ** (check_bits(bits) - 1) + 1


def check_weights(weights: Any) -> np.ndarray:
    """Returns ``weights`` as a contiguous array, or raises ValueError."""
    if not isinstance(weights, np.ndarray) or weights.dtype != np.float32:
        kind = getattr(weights, "dtype", type(weights).__name__)
        raise ValueError(f"weights must be a numpy array of float32, got {kind}")
    if not weights.size:
        raise ValueError(f"weights must not be empty, got shape {weights.shape}")
    return np.ascontiguousarray(weights).reshape(weights.shape)  # which makes [1] of []


def initial_centres(weights: np.ndarray, bits: int) -> np.ndarray:
    r"""``0, m, -m, m/2, -m/2, m/4, ...`` with :math:`m = 2^{\lfloor\log_2 \max|w|\rfloor}`.

    Args:
        weights: float32, any shape.
        bits: 2 to 8, for ``2**(bits - 1) + 1`` centres.

    Returns:
        float64 ``[K]``, by descending magnitude behind the zero. All zero for all-zero weights.

    Raises:
        ValueError: weights are empty, not float32, NaN or infinite, or ``bits`` is out of range.
    """
    weights = check_weights(weights)
    most = max(float(weights.max()), -float(weights.min()))
    if not math.isfinite(most):
        raise ValueError(f"weights must be finite, but their largest magnitude is {most}")
    m = math.ldexp(0.5, math.frexp(most)[1]) if most else 0.0
    halves = m * 0.5 ** np.arange(number_of_centres(bits) // 2)
    return np.concatenate([[0.0], np.stack([halves, -halves], axis=1).ravel()])


def cluster(
    weights: np.ndarray,
    centres: Sequence[float],
    *,
    passes: int = PASSES,
    fixed: Sequence[int] = (),
    skip: Optional[np.ndarray] = None,
    threads: Optional[int] = None,
) -> Clusters:
    """Lloyd's k-means in one dimension, without rounding in what decides.

    Each pass gives every weight to the nearest centre, of several equally near ones to that with
    the lowest index, and moves each centre to the mean of its members. The comparison is exact, and
    so are the sums, which are rounded once; the result does not depend on the order of the weights,
    on threads or on the implementation (:func:`sspq.slq.backend_name`).

    Args:
        weights: values to cluster, float32, any shape.
        centres: initial centres by index; up to 256 numbers. A cluster without members keeps its
            centre. There may be more centres than distinct weights, and equal ones.
        passes: number of passes, at least 1 (default: 10).
        fixed: indices of centres that take members but do not move (default: none).
        skip: weights that take no part, bool in the weights' shape (default: none). Their index is
            0, and they count neither in ``sizes`` nor in ``loss``.
        threads: number of threads (default: as many as this process may use). The numpy
            implementation has one.

    Raises:
        ValueError: weights are empty, not float32, NaN or infinite; or another argument is out of
            its range.
    """
    weights = check_weights(weights)
    start = _check_centres(centres)
    moving = np.ones(len(start), bool)
    moving[_check_fixed(fixed, len(start))] = False
    if passes < 1:
        raise ValueError(f"`passes` must be at least 1, got {passes!r}")
    if threads is None:
        threads = available_threads()
    elif threads < 1:
        raise ValueError(f"`threads` must be at least 1, got {threads!r}")
    if skip is not None:
        skip = _check_mask(skip, weights.shape).ravel()

    binned = BinnedWeights(weights.ravel(), skip, threads)
    if weights.size > _MANY:
        _lloyd(binned, start, moving, passes, estimate=True)
    found, cells, groups = _lloyd(binned, start, moving, passes)
    label = cells.labels[groups.interval]
    return Clusters(
        centres=found,
        index=binned.assign(cells.cuts, cells.labels).reshape(weights.shape),
        sizes=_sums(label, groups.moments.count, len(found)).astype(np.int64),
        loss=_sums(label, groups.losses(found[label]), len(found)),
    )


class _Cells(NamedTuple):
    """Which numbers are nearest to which centre: ``labels[number of cuts <= key]``."""

    cuts: np.ndarray  # int64 keys, ascending
    labels: np.ndarray  # uint8


def _cells(centres: np.ndarray) -> _Cells:
    # Of equal centres only the first has numbers that are nearest to it.
    values, labels = np.unique(centres, return_index=True)
    pairs = zip(zip(values, labels), zip(values[1:], labels[1:]))
    cuts = [_cut(low, high, low_wins=i < j) for (low, i), (high, j) in pairs]
    return _Cells(np.array(cuts, np.int64), labels.astype(np.uint8))


def _cut(low: float, high: float, low_wins: bool) -> int:
    """The key of the first float32 that belongs to ``high`` and not to ``low``."""
    near = np.float32((low + high) / 2)
    # The sign of an exactly rounded sum is exact. No float32 lies between `near` and the midpoint.
    above = math.fsum((2 * float(near), -low, -high))
    belongs_to_high = above > 0 or (above == 0 and not low_wins)
    return first_key_from(near) if belongs_to_high else first_key_above(near)


def _lloyd(
    binned: BinnedWeights,
    centres: np.ndarray,
    moving: np.ndarray,
    passes: int,
    estimate: bool = False,
) -> Tuple[np.ndarray, _Cells, Groups]:
    """Centres after the passes, and the cells and groups of the last one."""
    for _ in range(passes):
        cells = _cells(centres)
        groups = binned.split(cells.cuts, estimate)
        label = cells.labels[groups.interval]
        sizes = _sums(label, groups.moments.count, len(centres))
        sums = _sums(label, groups.sums(), len(centres))
        update = moving & (sizes > 0)
        centres = np.where(update, sums / np.maximum(sizes, 1), centres)
    return centres, cells, groups


def _sums(label: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Sums by label, each rounded once."""
    order = np.argsort(label, kind="stable")
    ends = np.searchsorted(label[order], np.arange(1, n))
    return np.array([math.fsum(v.tolist()) for v in np.split(values[order], ends)])


def _check_centres(centres: Sequence[float]) -> np.ndarray:
    checked = np.array(centres, np.float64)
    if checked.ndim != 1 or not 1 <= len(checked) <= MOST_CENTRES:
        raise ValueError(
            f"`centres` must be 1 to {MOST_CENTRES} numbers, got shape {checked.shape}"
        )
    if not (np.isfinite(checked) & np.isfinite(checked.astype(np.float32))).all():
        raise ValueError(f"`centres` must be finite and within float32, got {checked}")
    return checked


def _check_fixed(fixed: Sequence[int], n: int) -> np.ndarray:
    indices = np.array(fixed, np.int64).ravel()
    if ((indices < 0) | (indices >= n)).any():
        raise ValueError(f"`fixed` must be indices from 0 to {n - 1}, got {indices}")
    return indices


def _check_mask(mask: np.ndarray, shape: Tuple[int, ...]) -> np.ndarray:
    if mask.dtype != bool or mask.shape != shape:
        raise ValueError(
            f"`skip` must be bool of the weights' shape {shape}, got {mask.dtype} {mask.shape}"
        )
    return np.ascontiguousarray(mask)
