"""SSPQ, L-SSPQ and the networks they are compared with as a tensorpack model description."""

from typing import Any, Dict, Optional

from tensorpack.models import BatchNorm, Conv2D, GlobalAvgPooling, MaxPooling

from sspq.compat import tf
from sspq.data.preprocessing import Preprocessing
from sspq.graphs.argscope import argscope
from sspq.graphs.imagenet import (
    BLOCKS,
    GRAPHS,
    L_SSPQ50,
    MODES,
    QUANTIZED_ACTIVATIONS_MODES,
    QUANTIZED_WEIGHTS_MODES,
    Blocks,
    normalize_image,
)
from sspq.layers import Shift2D
from sspq.models.classifier import DECAY_KERNELS, Classifier
from sspq.quantizers.dorefa import check_bits
from sspq.quantizers.scope import weight_bits
from sspq.slq.integers import is_int

DECAY_KERNELS_AND_NORMS = ".*/W|.*/gamma|.*/beta"


class ImageNetSSPQ(Classifier):
    """SSPQ (``resnet_model2``) and L-SSPQ in its steps S1 (``resnet_model3``) and S2 (``..4``).

    L-SSPQ50 has 11,668,520 parameters, SSPQ50 14,262,312. In the mode ``QresIBShift``, L-SSPQ has
    a 1x1 convolution ahead of the average pooling and at depth 50 one block less. All other modes
    are the same in the three graphs, but for the bits of ``asl``.

    Inputs: ``input`` uint8 ``[N, image_size, image_size, 3]``, BGR; ``label`` int32 ``[N]``.
    Outputs and cost: see :class:`sspq.models.classifier.Classifier`. Weight decay is on the
    kernels.

    Args:
        graph: released graph with its blocks and bits, a key of
            :data:`sspq.graphs.imagenet.GRAPHS` (default: "resnet_model3").
        depth: 18, 34 (basic blocks; not in the modes se and resnext32x4d), 50 (default), 101 or
            152.
        mode: kind of the blocks: ``QresIBShift`` (default), quantized; ``asl``, with quantized
            activations and float32 kernels; or in float32 ``resnet``, ``preact``, ``se``,
            ``resnext32x4d`` and ``resIBShift``.
        bitw, bita: bits of kernels and activations, 1 to 32 (default: None, the graph's W1 A4,
            W4 A32 or W4 A8, or 32 where the mode does not quantize them).
        variant: method as in the "paper" (default) or as "released" (float32 kernels whatever
            ``bitw`` is), see :mod:`sspq.quantizers.scope`.
        num_classes: number of classes, at least 2 (default: 1000).
        image_size: height and width of the images in pixels, at least 1 (default: 224).
        data_format: layout of the computation, "auto", "NCHW" or "NHWC" (default: "auto"). The
            variables are the same.
        linear_bits: bits of the kernel of ``linear``, 1 to 32 (default: 32).
        base_lr: initial value of the variable ``learning_rate`` (default: 0.1).
        weight_decay_pattern: regular expression for the names of the variables that decay
            (default: ``.*/W``; ``DECAY_KERNELS_AND_NORMS`` takes in batch normalization).
        shift_lr_mult: factor on the learning rate of the shifts (default: 1).
        shift_normalize: whether each channel's gradient to its shift is normalized (default:
            False).

    Attributes:
        num_blocks: number of blocks of each group.

    Raises:
        ValueError: an argument is outside its range, or the mode has nothing that it applies to.

    Source: SSPQ, IEEE Access 2020, doc 9260175; L-SSPQ, IEEE Access 2021, doc 9423989.
    """

    def __init__(
        self,
        graph: str = "resnet_model3",
        depth: int = 50,
        mode: str = "QresIBShift",
        bitw: Optional[int] = None,
        bita: Optional[int] = None,
        variant: str = "paper",
        num_classes: int = 1000,
        image_size: int = 224,
        data_format: str = "auto",
        linear_bits: int = 32,
        base_lr: float = 0.1,
        weight_decay_pattern: str = DECAY_KERNELS,
        shift_lr_mult: float = 1.0,
        shift_normalize: bool = False,
    ) -> None:
        for name, value, known in (
            ("graph", graph, tuple(GRAPHS)),
            ("mode", mode, MODES),
            ("depth", depth, tuple(BLOCKS)),
        ):
            if value not in known:
                raise ValueError(f"`{name}` must be one of {known}, got {value!r}")
        if not is_int(image_size) or image_size < 1:
            raise ValueError(f"`image_size` must be an int of at least 1, got {image_size!r}")
        released = GRAPHS[graph]
        self.bitw = _bits("bitw", bitw, released.bitw, mode, QUANTIZED_WEIGHTS_MODES)
        self.bita = _bits("bita", bita, released.bita, mode, QUANTIZED_ACTIVATIONS_MODES)
        self.linear_bits = check_bits("linear_bits", linear_bits)
        blocks = Blocks(self.bitw, self.bita, released.bitg)
        self._group, self._block = blocks.of(mode, depth)
        super(ImageNetSSPQ, self).__init__(
            weight_bits("imagenet", variant, self.bitw, self.linear_bits),
            num_classes,
            data_format,
            Preprocessing(int(image_size), "BGR", "uint8", "crop"),
            weight_decay_pattern=weight_decay_pattern,
            nesterov=True,
            base_lr=base_lr,
            shift_lr_mult=shift_lr_mult,
            shift_normalize=shift_normalize,
        )
        self.graph, self.depth, self.mode, self.variant = graph, depth, mode, variant
        self.image_size = int(image_size)
        is_l_sspq = mode == "QresIBShift" and released.l_sspq
        self.num_blocks = L_SSPQ50 if is_l_sspq and depth == 50 else BLOCKS[depth]
        self._backbone = blocks.resnet_backbone2 if is_l_sspq else blocks.resnet_backbone

    def logits(self, image: Any) -> Any:
        x = normalize_image(image)
        if self.data_format == "NCHW":
            x = tf.transpose(x, [0, 3, 1, 2])
        layers = [Conv2D, BatchNorm, MaxPooling, GlobalAvgPooling]
        with argscope(layers, data_format=self.data_format), argscope(
            Shift2D, normalize=self.shift_normalize, lr_mult=self.shift_lr_mult
        ):
            return self._backbone(x, self.num_blocks, self._group, self._block, self.num_classes)

    def describe(self) -> Dict[str, Any]:
        return {
            "model": f"{self.graph} {self.mode}{self.depth}",
            "variant": self.variant,
            "bits": {
                "weights": self.bitw,
                "activations": self.bita,
                "linear": self.linear_bits,
            },
            "num_classes": self.num_classes,
            "image_size": self.image_size,
            "base_lr": self.base_lr,
            "weight_decay_pattern": self.weight_decay_pattern,
            "shift_lr_mult": self.shift_lr_mult,
            "shift_normalize": self.shift_normalize,
        }


def _bits(name: str, bits: Optional[int], own: int, mode: str, quantized: Any) -> int:
    if mode in quantized:
        return check_bits(name, own if bits is None else bits)
    if bits not in (None, 32):
        raise ValueError(
            f"`{name}` must be 32 or None in mode {mode!r}, which does not quantize them, got "
            f"{bits!r}"
        )
    return 32
