"""Learning rates by epoch."""

import math
from typing import Callable, Sequence

import numpy as np
from tensorpack.callbacks import Callback

from sspq.compat import tf

# (epoch from 1, current rate) -> rate of that epoch
Schedule = Callable[[int, float], float]

_LARGEST_LOG = math.log(np.finfo(np.float32).max)  # learning rates are variables of float32


def stepwise_cosine(warmup: int, step: int, last: int, eta: float) -> Schedule:
    r"""The step-wise cosine of L-SSPQ.

    At the start of epoch :math:`e`, with the current rate :math:`x`: if :math:`e > w`,
    :math:`x \ge \eta` and :math:`s` divides :math:`e`,

    .. math:: x \leftarrow x\,(\eta + (1 - \eta)(1 + \cos(\pi (e - w)/(E - w)))/2)

    else :math:`\eta` if :math:`x < \eta`, else :math:`x`. It multiplies the current rate, so it
    compounds.

    Args:
        warmup: number w of epochs without decay, at least 0.
        step: number s of epochs between changes, at least 1.
        last: epoch E at which the cosine reaches its low; not equal to w.
        eta: lower bound of the rate and of the factor, in (0, 1).

    Raises:
        ValueError: an argument is outside its range.
    """
    if warmup < 0:
        raise ValueError(f"`wup_length` must be at least 0, got {warmup!r}")
    if step < 1:
        raise ValueError(f"`step_size` must be at least 1, got {step!r}")
    if last == warmup or last < 1:
        raise ValueError(
            f"`max_epoch` must be at least 1 and differ from `wup_length`, got {last!r} and "
            f"{warmup!r}"
        )
    if not 0 < eta < 1:
        raise ValueError(f"`eta_min` must be in (0, 1), got {eta!r}")

    def rate(epoch: int, current: float) -> float:
        if epoch > warmup and current >= eta and epoch % step == 0:
            phase = math.pi * (epoch - warmup) / (last - warmup)
            return current * (eta + (1 - eta) * (1 + math.cos(phase)) / 2)
        return max(current, eta)

    return rate


def within(epochs: int, warmup: int, step: int, last: int, eta: float) -> Schedule:
    """:func:`stepwise_cosine` for a run of ``epochs``, which may end before the cosine begins."""
    if epochs <= warmup:
        return stepwise_cosine(epochs, step, epochs + 1, eta)
    return stepwise_cosine(warmup, step, last, eta)


def warmed_up(schedule: Schedule, start: float, target: float, epochs: int) -> Schedule:
    """From ``start`` to ``target`` by equal steps over the first ``epochs``, then ``schedule``.

    A ``target`` that is not above ``start`` needs no warm-up: ``schedule`` itself is given.
    """
    if target <= start:
        return schedule

    def rate(epoch: int, current: float) -> float:
        if epoch <= epochs:
            return start + (target - start) * (epoch - 1) / epochs
        return schedule(epoch, target if epoch == epochs + 1 else current)

    return rate


def staged(start: float, factor: float, step: int, stages: Sequence[int]) -> Schedule:
    r"""``start`` times ``factor`` for each ``step`` epochs that have passed of a stage.

    Args:
        start: rate of the first epoch of every stage, finite and above 0.
        factor: factor on the rate, finite and above 0. All rates must be numbers of float32.
        step: number of epochs between changes, at least 1.
        stages: number of epochs of each stage.

    Raises:
        ValueError: an argument is outside its range.
    """
    for name, value in (("base_lr", start), ("rate_factor", factor)):
        if not 0 < value < math.inf:
            raise ValueError(f"`{name}` must be finite and above 0, got {value!r}")
    if step < 1:
        raise ValueError(f"`rate_step` must be at least 1, got {step!r}")
    times = (max(stages) - 1) // step
    if math.log(start) + times * math.log(factor) > _LARGEST_LOG:
        raise ValueError(
            f"`rate_factor` {factor!r}, {times} times from {start!r} on, gives a rate that is "
            "no number of float32"
        )
    rates = [start * factor ** (place // step) for epochs in stages for place in range(epochs)]
    return lambda epoch, current: rates[epoch - 1]


def constant(epoch: int, current: float) -> float:
    """Keeps the rate."""
    return current


class LearningRate(Callback):
    """Sets the variable ``learning_rate`` at the start of every epoch by a :data:`Schedule`.

    The current rate is read from the variable, which is in the checkpoint: a resumed run goes on
    with the rates of the uninterrupted one.
    """

    _chief_only = False

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def _setup_graph(self) -> None:
        self._variable = next(v for v in tf.global_variables() if v.op.name == "learning_rate")

    def _before_epoch(self) -> None:
        current = float(self._variable.eval())
        rate = self._schedule(self.epoch_num, current)
        if rate != current:
            self._variable.load(rate)
        self.trainer.monitors.put_scalar("learning_rate", rate)
