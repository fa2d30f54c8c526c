"""The base of Caffe's networks as tensorpack model descriptions."""

from typing import Any, Dict

from sspq.data.preprocessing import Preprocessing
from sspq.models.classifier import DECAY_KERNELS, Classifier
from sspq.quantizers.scope import WeightBits


class CaffeClassifier(Classifier):
    """A network in float32, trained as Caffe's examples are.

    The momentum is 0.9, the weight decay 5e-4 on the weights, ``.*/W``, and none on the biases,
    ``.*/b``, whose learning rate is twice that of the weights. A subclass defines ``NAME`` and
    ``logits``.
    """

    NAME = ""

    def __init__(
        self, num_classes: int, data_format: str, preprocessing: Preprocessing, base_lr: float
    ) -> None:
        super(CaffeClassifier, self).__init__(
            WeightBits(()),
            num_classes,
            data_format,
            preprocessing,
            DECAY_KERNELS,
            nesterov=False,
            base_lr=base_lr,
        )
        self.weight_decay = 5e-4
        self.gradient_factors = [(".*/b", 2.0)]

    def describe(self) -> Dict[str, Any]:
        return {
            "model": self.NAME,
            "bits": {"weights": 32, "activations": 32},
            "num_classes": self.num_classes,
            "base_lr": self.base_lr,
            "weight_decay": self.weight_decay,
            "weight_decay_pattern": self.weight_decay_pattern,
        }
