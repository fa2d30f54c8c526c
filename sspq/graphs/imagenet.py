"""SSPQ and L-SSPQ for ImageNet, by the released names, bound to bit widths.

Published as SSPQ, IEEE Access 2020, document 9260175, and L-SSPQ, IEEE Access 2021, document
9423989.
"""

from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

from tensorpack.models import Conv2D, FullyConnected, GlobalAvgPooling, MaxPooling

from sspq.compat import tf
from sspq.graphs import resnet
from sspq.graphs.argscope import argscope
from sspq.graphs.blocks import channels_of, layout, shift_block, shortcut_of
from sspq.graphs.norm import Activation, ClipAndQuantize, add, batch_norm, bn_relu, clip
from sspq.graphs.quantized import weight_quantizer
from sspq.graphs.resnet import EXPANSION, Block
from sspq.layers import Shift2D
from sspq.quantizers.dorefa import get_dorefa
from sspq.quantizers.scope import weight_bits

MODES = ("resnet", "preact", "se", "resnext32x4d", "asl", "resIBShift", "QresIBShift")
SHIFT_MODES = ("asl", "resIBShift", "QresIBShift")
QUANTIZED_WEIGHTS_MODES = ("QresIBShift",)
QUANTIZED_ACTIVATIONS_MODES = ("asl", "QresIBShift")

# Depth: blocks of each group.
BLOCKS: Dict[int, Tuple[int, ...]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class Released(NamedTuple):
    """What tells the graphs of one released model file from another.

    Attributes:
        bitw, bita, bitg: bits of kernels, activations and gradients.
        l_sspq: whether ``QresIBShift`` ends as in L-SSPQ, see :meth:`Blocks.resnet_backbone2`.
    """

    bitw: int
    bita: int
    bitg: int
    l_sspq: bool


#: The released graphs by name.
GRAPHS: Dict[str, Released] = {
    "resnet_model2": Released(1, 4, 32, l_sspq=False),  # SSPQ
    "resnet_model3": Released(4, 32, 32, l_sspq=True),  # L-SSPQ, step S1
    "resnet_model4": Released(4, 8, 32, l_sspq=True),  # L-SSPQ, step S2
}

BASIC_DEPTHS = (18, 34)  # of basic blocks; the others are of bottlenecks
L_SSPQ50 = (3, 4, 6, 2)

# Of the training set, RGB, in [0, 1].
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalize_image(image: Any) -> Any:
    """``(x - 255 mean) / (255 std)`` by channel of ``[N, H, W, BGR]``, of any type, in 0..255."""
    mean, std = [tf.constant(v[::-1], tf.float32) * 255.0 for v in (MEAN, STD)]
    return (tf.cast(image, tf.float32) - mean) / std


class Blocks:
    """The blocks, groups and backbones of every mode, with activations of ``bita`` bits.

    A mode has ``<mode>_group``, ``<mode>_bottleneck`` and, for depths 18 and 34 where they exist,
    ``<mode>_basicblock``: see :meth:`of`. How they are called is said in
    :mod:`sspq.graphs.resnet`. Weights are as the variables give them,
    see :func:`sspq.graphs.quantized.quantize_variables`.
    """

    nonlin = staticmethod(clip)
    get_bn = staticmethod(resnet.get_bn)
    resnet_shortcut = staticmethod(shortcut_of)
    apply_preactivation = staticmethod(resnet.apply_preactivation)
    resnet_basicblock = staticmethod(resnet.resnet_basicblock)
    resnet_bottleneck = staticmethod(resnet.resnet_bottleneck)
    se_bottleneck = staticmethod(resnet.se_bottleneck)
    resnext32x4d_bottleneck = staticmethod(resnet.resnext32x4d_bottleneck)
    preact_basicblock = staticmethod(resnet.preact_basicblock)
    preact_bottleneck = staticmethod(resnet.preact_bottleneck)
    resIBShift_basicblock = staticmethod(resnet.resIBShift_basicblock)
    resIBShift_bottleneck = staticmethod(resnet.resIBShift_bottleneck)
    resnet_group = se_group = resnext32x4d_group = staticmethod(resnet.resnet_group)
    preact_group = asl_group = resIBShift_group = staticmethod(resnet.preact_group)

    def __init__(self, bitw: int, bita: int, bitg: int = 32) -> None:
        self.fw, self.fa, self.fg = get_dorefa(bitw, bita, bitg)
        self.activate: Activation = ClipAndQuantize(bita)
        self.new_get_variable = weight_quantizer(weight_bits("imagenet", "paper", bitw))

    def of(self, mode: str, depth: int) -> Tuple[Block, Block]:
        """The group and the block of a mode at a depth.

        Raises:
            ValueError: the mode has no such depth.
        """
        modes: Dict[str, Tuple[Block, Optional[Block], Block]] = {
            "resnet": (self.resnet_group, self.resnet_basicblock, self.resnet_bottleneck),
            "preact": (self.preact_group, self.preact_basicblock, self.preact_bottleneck),
            "se": (self.se_group, None, self.se_bottleneck),
            "resnext32x4d": (self.resnext32x4d_group, None, self.resnext32x4d_bottleneck),
            "asl": (self.asl_group, self.asl_basicblock, self.asl_bottleneck),
            "resIBShift": (
                self.resIBShift_group,
                self.resIBShift_basicblock,
                self.resIBShift_bottleneck,
            ),
            "QresIBShift": (
                self.QresIBShift_group,
                self.QresIBShift_basicblock,
                self.QresIBShift_bottleneck,
            ),
        }
        group, basic, bottleneck = modes[mode]
        block = basic if depth in BASIC_DEPTHS else bottleneck
        if block is None:
            deep = tuple(d for d in BLOCKS if d not in BASIC_DEPTHS)
            raise ValueError(f"`depth` must be one of {deep} in mode {mode!r}, got {depth!r}")
        return group, block

    def _asl(self, x: Any, out_features: int, stride: int) -> Any:
        shortcut = x
        x = batch_norm("preact", x, self.activate)
        # As many channels as the input has. The released files give `features`, in most blocks a
        # half or a quarter of that, and their kernel reads beyond the variable.
        x = Shift2D("shift_asl", x, 2, channels_of(x), stride=stride, data_format=layout())
        x = Conv2D("conv1", x, out_features, 1, activation=resnet.get_bn())
        return add(x, shortcut_of(shortcut, out_features, stride))

    def asl_basicblock(self, x: Any, features: int, stride: int, preact: str) -> Any:
        """Shift (stride), 1x1, without expansion; always pre-activated."""
        return self._asl(x, features, stride)

    def asl_bottleneck(self, x: Any, features: int, stride: int, preact: str) -> Any:
        """Shift (stride), 1x1; always pre-activated."""
        return self._asl(x, EXPANSION * features, stride)

    def apply_preactivation2(self, x: Any, preact: str) -> Tuple[Any, Any]:
        """The block's (input, shortcut): the shortcut leaves ahead of the pre-activation."""
        return (batch_norm("preact", x, self.activate) if preact == "bnrelu" else x), x

    def QresIBShift_basicblock(self, x: Any, features: int, stride: int, preact: str) -> Any:
        """:func:`sspq.graphs.blocks.shift_block` without expansion."""
        return shift_block(x, features, features, stride, self.activate, preact == "bnrelu")

    def QresIBShift_bottleneck(self, x: Any, features: int, stride: int, preact: str) -> Any:
        """:func:`sspq.graphs.blocks.shift_block`."""
        expanded = EXPANSION * features
        return shift_block(x, features, expanded, stride, self.activate, preact == "bnrelu")

    def QresIBShift_group(
        self, name: str, x: Any, block: Block, features: int, count: int, stride: int
    ) -> Any:
        """Pre-activated blocks; ``bnlast``, batch normalization and activate, closes the group."""

        def last(y: Any) -> Any:
            return batch_norm("bnlast", y, self.activate)

        return resnet.group(name, x, block, features, count, stride, True, last)

    def beforeAP(
        self, name: str, x: Any, block: Block, features: int, count: int, stride: int
    ) -> Any:
        """1x1 convolution ahead of the average pooling; called like a group of one block."""
        with tf.variable_scope(name):
            x = Conv2D("conv1x1a", x, features, 1)
            return batch_norm("stembn", x, self.activate)

    def afterAP(
        self, name: str, x: Any, block: Block, features: int, count: int, stride: int
    ) -> Any:
        """Activation after the average pooling; called like a group of one block."""
        with tf.variable_scope(name):
            return self.activate(x)

    def resnet_backbone(
        self,
        image: Any,
        num_blocks: Sequence[int],
        group: Any,
        block: Block,
        num_classes: int = 1000,
    ) -> Any:
        """Logits of the normalized image, in the layout of the argscope."""
        with _initial_values():
            x = _stem_and_groups(image, num_blocks, group, block)
            return _linear(GlobalAvgPooling("gap", x), num_classes)

    def resnet_backbone2(
        self,
        image: Any,
        num_blocks: Sequence[int],
        group: Any,
        block: Block,
        num_classes: int = 1000,
    ) -> Any:
        """L-SSPQ's: a 1x1 convolution ahead of the average pooling, an activation after it."""
        with _initial_values():
            x = _stem_and_groups(image, num_blocks, group, block)
            x = self.beforeAP("bfAP", x, block, 512, 1, 1)
            x = GlobalAvgPooling("gap", x)
            x = self.afterAP("afAP", x, block, 512, 1, 1)
            return _linear(x, num_classes)


def _initial_values() -> Any:
    initializer = tf.variance_scaling_initializer(2.0, "fan_out")
    return argscope(Conv2D, use_bias=False, kernel_initializer=initializer)


def _stem_and_groups(image: Any, num_blocks: Sequence[int], group: Any, block: Block) -> Any:
    x = Conv2D("conv0", image, 64, 7, strides=2, activation=bn_relu)
    x = MaxPooling("pool0", x, 3, strides=2, padding="SAME")
    for i, count in enumerate(num_blocks):
        x = group(f"group{i}", x, block, 64 * 2**i, count, 1 if i == 0 else 2)
    return x


def _linear(x: Any, num_classes: int) -> Any:
    initializer = tf.random_normal_initializer(stddev=0.01)
    return FullyConnected("linear", x, num_classes, kernel_initializer=initializer)


# Names of the released model files that are attributes of Blocks; the others are bits and new_w.
_RELEASED_NAMES = (
    "fw fa fg new_get_variable nonlin activate get_bn resnet_shortcut apply_preactivation "
    "apply_preactivation2 resnet_basicblock resnet_bottleneck resnet_group preact_basicblock "
    "preact_bottleneck preact_group se_bottleneck se_group resnext32x4d_bottleneck "
    "resnext32x4d_group asl_basicblock asl_bottleneck asl_group resIBShift_basicblock "
    "resIBShift_bottleneck resIBShift_group QresIBShift_basicblock QresIBShift_bottleneck "
    "QresIBShift_group resnet_backbone"
).split()


def released_names(graph: str) -> Dict[str, Any]:
    """The public names of the released model file ``graph``, bound to its bits."""
    bitw, bita, bitg, l_sspq = GRAPHS[graph]
    blocks = Blocks(bitw, bita, bitg)
    names = [*_RELEASED_NAMES, *(["resnet_backbone2", "beforeAP", "afterAP"] if l_sspq else [])]
    bound = {name: getattr(blocks, name) for name in names}
    return dict(bound, BITW=bitw, BITA=bita, BITG=bitg, new_w=blocks.fw)
