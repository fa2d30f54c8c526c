"""Top-1 and top-5 on held-out images. Every image counts once, whatever the batches are."""

from typing import Any, Dict, Iterable, Optional

import numpy as np
from tensorpack.callbacks import Inferencer
from tensorpack.predict import PredictConfig
from tqdm import tqdm

from sspq.checkpoints.restore import ExactRestore
from sspq.compat import tf
from sspq.training.distributed import Processes
from sspq.training.inference import OfflinePredictor
from sspq.training.session import session_creator

TENSORS = ["wrong-top1", "wrong-top5", "cross_entropy"]


class Tally:
    """Adds up what a classifier gives for batches, as ``TENSORS`` of the model names it."""

    def __init__(self) -> None:
        self.sums = np.zeros(4)  # wrong top-1, wrong top-5, cross-entropy, images

    def add(self, wrong_top1: np.ndarray, wrong_top5: np.ndarray, cross_entropy: float) -> None:
        count = len(wrong_top1)
        self.sums += [wrong_top1.sum(), wrong_top5.sum(), cross_entropy * count, count]

    def result(self) -> Dict[str, float]:
        """Top-1 and top-5 in percent and the mean cross-entropy.

        Raises:
            ValueError: no image was added, or the network gives NaN or infinities.
        """
        wrong_top1, wrong_top5, cross_entropy, count = self.sums
        if not count:
            raise ValueError("there is no image to evaluate on")
        if not np.isfinite(cross_entropy):
            raise ValueError(
                f"the cross-entropy of the images is {cross_entropy!r}: the network has diverged"
            )
        return {
            "top1": float(100 * (1 - wrong_top1 / count)),
            "top5": float(100 * (1 - wrong_top5 / count)),
            "cross_entropy": float(cross_entropy / count),
        }


class Validation(Inferencer):
    """Measures over all processes of a run; each of them runs its share of the images.

    Attributes:
        latest: last measurement, as :meth:`Tally.result` gives it; None before the first.
        latest_epoch: epoch of the last measurement.
        runner: the InferenceRunner that runs this.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._beside = False
        self.latest: Optional[Dict[str, float]] = None
        self.latest_epoch = 0
        self.runner: Any = None

    def measure(self) -> Dict[str, float]:
        """Measures now, beside the validation of epochs, in all processes.

        Neither ``latest`` nor the monitors hear of it.
        """
        before = self.latest, self.latest_epoch
        self._beside = True
        try:
            self.runner.trigger()
            return dict(self.latest or {})
        finally:
            self._beside = False
            self.latest, self.latest_epoch = before

    def _setup_graph(self) -> None:
        self._own = tf.placeholder(tf.float64, [4])
        self._total = self._processes.total(self._own)

    def _before_inference(self) -> None:
        self._tally = Tally()

    def _get_fetches(self) -> Any:
        return TENSORS

    def _on_fetches(self, results: Any) -> None:
        self._tally.add(*results)

    def _after_inference(self) -> Dict[str, float]:
        self._tally.sums = self.trainer.sess.run(self._total, {self._own: self._tally.sums})
        self.latest, self.latest_epoch = self._tally.result(), self.epoch_num
        if self._beside:
            return {}
        return {"validation-" + name: value for name, value in self.latest.items()}


def evaluate(model: Any, batches: Iterable[Any], prefix: str, total: int) -> Dict[str, float]:
    """Measures a checkpoint.

    Args:
        model: a :class:`sspq.models.classifier.Classifier`.
        batches: batches of ``[images, labels]``.
        prefix: prefix of the checkpoint.
        total: number of batches, for the progress bar.

    Returns:
        As :meth:`Tally.result`.
    """
    predictor = OfflinePredictor(
        PredictConfig(
            model=model,
            session_init=ExactRestore(prefix, parameters_only=True),
            input_names=["input", "label"],
            output_names=TENSORS,
            session_creator=session_creator(),
        )
    )
    tally = Tally()
    for images, labels in tqdm(batches, total=total, unit="batch", desc="Evaluating", disable=None):
        tally.add(*predictor(images, labels))
    return tally.result()
