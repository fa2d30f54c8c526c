"""Tensorpack's predictors and inference callbacks, with weights quantized once and not per batch.

On CPUs each convolution is computed together with its batch normalization, too.
Variables, and so checkpoints, are the same. See :func:`sspq.graphs.quantized.quantize_once`.
"""

from typing import Any

from tensorpack import callbacks, predict

from sspq.graphs.quantized import quantize_once


class OfflinePredictor(predict.OfflinePredictor):
    """Quantizes the weights when it has loaded them."""

    def __init__(self, config: Any) -> None:
        with quantize_once() as weights:
            super(OfflinePredictor, self).__init__(config)
        weights.refresh(self.sess)


class FeedfreePredictor(predict.FeedfreePredictor):
    """Quantizes the weights when it has loaded them."""

    def __init__(self, config: Any, input_source: Any) -> None:
        with quantize_once() as weights:
            super(FeedfreePredictor, self).__init__(config, input_source)
        weights.refresh(self._sess)


class _QuantizesEachTime:
    """Quantizes the weights each time that inference begins, for they were trained meanwhile."""

    trainer: Any

    def _setup_graph(self) -> None:
        with quantize_once() as self._weights:
            super(_QuantizesEachTime, self)._setup_graph()  # type: ignore[misc]

    def _trigger(self) -> None:
        self._weights.refresh(self.trainer.sess)
        super(_QuantizesEachTime, self)._trigger()  # type: ignore[misc]


class InferenceRunner(_QuantizesEachTime, callbacks.InferenceRunner):
    """Quantizes the weights each time that inference begins."""


class DataParallelInferenceRunner(_QuantizesEachTime, callbacks.DataParallelInferenceRunner):
    """Quantizes the weights each time that inference begins, on every GPU."""
