"""One layer from stage to stage. Every function returns a new state and changes no argument."""

from dataclasses import dataclass, fields
from typing import Optional

import numpy as np

from sspq.slq.clustering import check_weights, cluster, initial_centres
from sspq.slq.schedule import Schedule

_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class LayerState:
    """A layer between two stages: arrays of fixed shapes and dtypes, to be kept in a checkpoint.

    Attributes:
        centres: values of the centres, float64 ``[K]``.
        frozen_centres: centres that do not move any more, bool ``[K]``.
        index: cluster of every weight at the last stage, uint8 in the weights' shape.
        frozen: weights that have their centres' values and are not trained, bool in their shape.
        loss: quantization loss by cluster, float64 ``[K]``: the sum of ``(w - centre)**2`` over the
            members that were not frozen before the last stage.
    """

    centres: np.ndarray
    frozen_centres: np.ndarray
    index: np.ndarray
    frozen: np.ndarray
    loss: np.ndarray

    @property
    def finished(self) -> bool:
        """Whether every weight is quantized."""
        return bool(self.frozen_centres.all())


def start(weights: np.ndarray, schedule: Schedule) -> LayerState:
    """The state before the first stage: initial centres, every index 0, and nothing frozen.

    Raises:
        ValueError: as :func:`sspq.slq.initial_centres`.
    """
    centres = initial_centres(weights, schedule.bits)
    return LayerState(
        centres=centres,
        frozen_centres=np.zeros(len(centres), bool),
        index=np.zeros(weights.shape, np.uint8),
        frozen=np.zeros(weights.shape, bool),
        loss=np.zeros(len(centres)),
    )


def next_stage(
    weights: np.ndarray, state: LayerState, schedule: Schedule, threads: Optional[int] = None
) -> LayerState:
    """Clusters the weights that are not frozen, and freezes the clusters whose turn it is.

    All centres but the frozen ones are estimated anew, starting from where they were. A weight
    that comes to a centre that is frozen already is frozen too. :func:`share` then gives the
    weights to train on with.

    Args:
        weights: current weights of the layer, float32; frozen ones as :func:`share` has left them.
        state: state of the layer, from :func:`start` or the stage before.
        schedule: schedule of the layer, the same at every stage.
        threads: number of threads (default: as many as this process may use).

    Raises:
        ValueError: weights or state are not those of this layer and schedule, frozen weights have
            changed, weights are NaN or infinite, or all are quantized already.
    """
    weights = check_weights(weights)
    turn = _stage_of(state, schedule)
    _check_shapes(weights, state)
    _check_frozen(weights, state)
    fixed = state.frozen_centres.copy()
    fixed[0] |= schedule.pin_zero
    found = cluster(
        weights,
        state.centres,
        passes=schedule.passes,
        fixed=np.flatnonzero(fixed),
        skip=state.frozen if state.frozen.any() else None,
        threads=threads,
    )
    index = found.index
    np.copyto(index, state.index, where=state.frozen)
    frozen_centres = state.frozen_centres.copy()
    frozen_centres[_order(found.loss, state, schedule)[: schedule.counts[turn]]] = True
    return LayerState(
        centres=found.centres,
        frozen_centres=frozen_centres,
        index=index,
        frozen=_look_up(frozen_centres, index),
        loss=found.loss,
    )


def share(weights: np.ndarray, state: LayerState) -> np.ndarray:
    """The weights, frozen ones replaced by their centres: a new array.

    Raises:
        ValueError: weights are not float32, or of another shape.
    """
    weights = check_weights(weights)
    _check_shapes(weights, state)
    shared = _look_up(state.centres.astype(np.float32), state.index)
    np.copyto(shared, weights, where=~state.frozen)
    return shared


def _stage_of(state: LayerState, schedule: Schedule) -> int:
    """The number of the stage, from 0, that comes next."""
    counts = (0,) + schedule.counts
    done = int(state.frozen_centres.sum())
    if len(state.centres) != counts[-1] or done not in counts:
        raise ValueError(
            f"the state has {done} of {len(state.centres)} centres frozen; the schedule's "
            f"stages leave {' or '.join(map(str, counts))} of {counts[-1]}"
        )
    if done == counts[-1]:
        raise ValueError(f"all {done} centres are frozen: there is no next stage")
    return counts.index(done)


def _order(loss: np.ndarray, state: LayerState, schedule: Schedule) -> np.ndarray:
    """All centres in the order in which they freeze; those that are frozen already come first."""
    by_index = np.arange(len(loss))
    if schedule.partition == "magnitude":
        turn = by_index
    elif schedule.partition == "boundary":
        turn = np.roll(by_index, -1)
    else:
        turn = np.argsort(-loss, kind="stable")
    return np.concatenate([np.flatnonzero(state.frozen_centres), turn[~state.frozen_centres[turn]]])


def _check_shapes(weights: np.ndarray, state: LayerState) -> None:
    for name, array, dtype in (("index", state.index, np.uint8), ("frozen", state.frozen, bool)):
        if array.shape != weights.shape or array.dtype != dtype:
            raise ValueError(
                f"the state's `{name}` must be {np.dtype(dtype).name} of the weights' shape "
                f"{weights.shape}, got {array.dtype} {array.shape}"
            )


def _check_frozen(weights: np.ndarray, state: LayerState) -> None:
    """Frozen weights that have moved would be lost without a word: training must hold them."""
    values = state.centres.astype(np.float32)
    flat, frozen, index = weights.ravel(), state.frozen.ravel(), state.index.ravel()
    moved = 0
    for begin in range(0, flat.size, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        held = frozen[part]
        moved += np.count_nonzero(flat[part][held] != values[index[part][held]])
    if moved:
        raise ValueError(
            f"{moved} of {frozen.sum()} frozen weights are not at their centres any more"
        )


def _look_up(table: np.ndarray, index: np.ndarray) -> np.ndarray:
    """``table[index]`` in pieces: numpy makes eight bytes of every byte of an index."""
    result = np.empty(index.shape, table.dtype)
    out, flat = result.ravel(), index.ravel()
    for begin in range(0, flat.size, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        out[part] = table[flat[part]]
    return result


# Ahead of the names of a layer's state: `conv1/W/slq/index` and so on.
STATE_SCOPE = "/slq/"
STATE_PARTS = tuple(field.name for field in fields(LayerState))
