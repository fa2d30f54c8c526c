"""Callbacks that watch the cost and write the history of a run."""

import math
import time
from typing import Any, Dict, Optional

from tensorpack.callbacks import Callback

from sspq.compat import tf
from sspq.runs.history import read, write
from sspq.training.validation import Validation


class TrainingDivergedError(ValueError):
    """The cost became NaN or infinite."""


class MeanCost(Callback):
    """The mean over an epoch of the first training tower's cost, as the monitor ``train-cost``."""

    def _before_train(self) -> None:
        self._fetch = self.trainer.towers.training()[0].get_tensor("cost")

    def _before_epoch(self) -> None:
        self._sum, self._steps = 0.0, 0

    def _before_run(self, _: Any) -> Any:
        return tf.train.SessionRunArgs(self._fetch)

    def _after_run(self, _: Any, values: Any) -> None:
        cost = float(values.results)
        if not math.isfinite(cost):
            raise TrainingDivergedError(
                f"the cost became {cost!r} in epoch {self.epoch_num}: try a lower --base_lr"
            )
        self._sum += cost
        self._steps += 1

    def _trigger_epoch(self) -> None:
        self.trainer.monitors.put_scalar("train-cost", self._sum / max(1, self._steps))


class History(Callback):
    """Appends a row an epoch: epoch, learning rate, cost, top-1 and top-5 in percent, seconds.

    To be put after the callbacks that measure and before the one that saves: then every checkpoint
    has its rows. Rows of epochs that are trained again are replaced. Not validated is None.
    """

    def __init__(self, folder: str, validation: Optional[Validation]) -> None:
        self._folder = folder
        self._validation = validation

    def _before_epoch(self) -> None:
        self._start = time.time()

    def _trigger_epoch(self) -> None:
        latest = self.trainer.monitors.get_latest
        rows = [r for r in read(self._folder) if r["epoch"] < self.epoch_num]
        measured = self._measured()
        rows.append(
            {
                "epoch": self.epoch_num,
                "learning_rate": float(latest("learning_rate")),
                "train_cost": float(latest("train-cost")),
                "test_cross_entropy": measured.get("cross_entropy"),
                "top1": measured.get("top1"),
                "top5": measured.get("top5"),
                "seconds": time.time() - self._start,
            }
        )
        write(self._folder, rows)

    def _measured(self) -> Dict[str, float]:
        v = self._validation
        if v is None or v.latest is None or v.latest_epoch != self.epoch_num:
            return {}
        return v.latest
