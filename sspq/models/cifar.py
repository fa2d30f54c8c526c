"""SSPQ34 as a tensorpack model description."""

from typing import Any, Dict

from sspq.data.preprocessing import Preprocessing
from sspq.graphs.cifar import sspq34
from sspq.graphs.norm import ClipAndQuantize
from sspq.models.classifier import Classifier
from sspq.quantizers.dorefa import get_dorefa
from sspq.quantizers.scope import weight_bits

# How 32x32 images are prepared for the networks that were made for them.
SMALL_IMAGES = Preprocessing(32, "RGB", "float32", "resize", mean_image=True)


class CifarSSPQ34(Classifier):
    """SSPQ34 for 32x32 images, with DoReFa quantizers; 162,244 parameters for 100 classes.

    Step S1 is ``bitw=8, bita=32``, step S2 ``bitw=8, bita=8``, float32 ``bitw=32, bita=32``.

    Inputs: ``input`` float32 ``[N, 32, 32, 3]``, RGB in 0..255; ``label`` int32 ``[N]``.
    Outputs and cost: see :class:`sspq.models.classifier.Classifier`. Weight decay is on every
    trainable variable.

    Args:
        bitw, bita, bitg: bits of weights, activations and gradients, 1 to 32 (default: 8, 32, 32).
        variant: method as in the "paper" (default) or as "released", see
            :mod:`sspq.quantizers.scope`.
        num_classes: number of classes, at least 2 (default: 100).
        data_format: layout of the computation, "auto", "NCHW" or "NHWC" (default: "auto"). The
            variables are the same.
        base_lr: initial value of the variable ``learning_rate`` (default: 0.1).
        shift_lr_mult: factor on the learning rate of the shifts (default: 1).
        shift_normalize: whether each channel's gradient to its shift is normalized (default:
            False).
        shift_decay: whether weight decay takes in the shifts (default: True, as released).

    Raises:
        ValueError: an argument is outside its range.

    Source: SSPQ, IEEE Access 2020, doc 9260175; L-SSPQ, IEEE Access 2021, doc 9423989.
    """

    def __init__(
        self,
        bitw: int = 8,
        bita: int = 32,
        bitg: int = 32,
        variant: str = "paper",
        num_classes: int = 100,
        data_format: str = "auto",
        base_lr: float = 0.1,
        shift_lr_mult: float = 1.0,
        shift_normalize: bool = False,
        shift_decay: bool = True,
    ) -> None:
        _, _, self.fg = get_dorefa(bitw, bita, bitg)
        super(CifarSSPQ34, self).__init__(
            weight_bits("cifar", variant, bitw),
            num_classes,
            data_format,
            SMALL_IMAGES,
            weight_decay_pattern=".*" if shift_decay else "^(?!.*/SP$)",
            nesterov=False,
            base_lr=base_lr,
            shift_lr_mult=shift_lr_mult,
            shift_normalize=shift_normalize,
        )
        self.bitw, self.bita, self.bitg = bitw, bita, bitg
        self.variant = variant
        self.shift_decay = shift_decay

    def logits(self, image: Any) -> Any:
        activate = ClipAndQuantize(self.bita)
        if self.bitg < 32:
            activate = _then(activate, self.fg)
        return sspq34(
            image,
            self.num_classes,
            activate,
            self.data_format,
            self.shift_normalize,
            self.shift_lr_mult,
        )

    def describe(self) -> Dict[str, Any]:
        return {
            "model": "SSPQ34",
            "variant": self.variant,
            "bits": {"weights": self.bitw, "activations": self.bita, "gradients": self.bitg},
            "num_classes": self.num_classes,
            "base_lr": self.base_lr,
            "shift_lr_mult": self.shift_lr_mult,
            "shift_normalize": self.shift_normalize,
            "shift_decay": self.shift_decay,
        }


def _then(first: Any, second: Any) -> Any:
    return lambda x: second(first(x))
