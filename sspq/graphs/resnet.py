"""Residual networks in float32: tensorpack's blocks, and the inverted shift block ResIBShift.

Names of functions and variables are those of the released model files and of published
checkpoints. Convolutions have the layout, bias and initial values of the current argscope.

A block is called as ``block(x, features, stride)``, in pre-activated networks as
``block(x, features, stride, preact)``, where ``preact`` is ``"bnrelu"`` or ``"no_preact"``; a group
as ``group(name, x, block, features, count, stride)``. A basic block gives ``features`` channels, a
bottleneck four times as many.

Sources: He et al., 2015, arXiv:1512.03385, and 2016, arXiv:1603.05027; Hu et al., *SE*,
arXiv:1709.01507; Xie et al., *ResNeXt*, arXiv:1611.05431; ResIBShift: SSPQ, IEEE Access 2020,
document 9260175.
"""

from typing import Any, Callable, Tuple

from tensorpack.models import Conv2D, FullyConnected, GlobalAvgPooling

from sspq.compat import tf
from sspq.graphs.blocks import channels_of, layout, shortcut_of
from sspq.graphs.grouped import grouped_conv
from sspq.graphs.norm import Activation, add, batch_norm, bn_relu
from sspq.layers import Shift2D

Block = Callable[..., Any]

EXPANSION = 4  # of bottlenecks
CARDINALITY = 32  # groups of ResNeXt's 3x3 convolution


def get_bn(zero_init: bool = False) -> Activation:
    """Batch normalization as an activation; ``zero_init`` starts its gamma at 0, not 1."""
    initializer = tf.zeros_initializer() if zero_init else tf.ones_initializer()
    return lambda x: batch_norm("bn", x, gamma_initializer=initializer)


def _bn_relu(name: str, x: Any) -> Any:
    with tf.variable_scope(name):
        return bn_relu(x)


def apply_preactivation(x: Any, preact: str) -> Tuple[Any, Any]:
    """The block's (input, shortcut): the shortcut leaves ahead of the pre-activation."""
    return (_bn_relu("preact", x) if preact == "bnrelu" else x), x


def _basic(x: Any, features: int, stride: int, last: Activation) -> Any:
    x = Conv2D("conv1", x, features, 3, strides=stride, activation=bn_relu)
    return Conv2D("conv2", x, features, 3, activation=last)


def _bottleneck(
    x: Any, features: int, stride: int, last: Activation, width: int = 1, groups: int = 1
) -> Any:
    x = Conv2D("conv1", x, width * features, 1, activation=bn_relu)
    x = grouped_conv("conv2", x, width * features, 3, groups, strides=stride, activation=bn_relu)
    return Conv2D("conv3", x, EXPANSION * features, 1, activation=last)


def _join(x: Any, branch: Any, stride: int) -> Any:
    return add(branch, shortcut_of(x, channels_of(branch), stride, get_bn()), relu=True)


def resnet_basicblock(x: Any, features: int, stride: int) -> Any:
    """3x3 (stride), 3x3; ReLU after the sum. The branch starts at zero."""
    return _join(x, _basic(x, features, stride, get_bn(zero_init=True)), stride)


def resnet_bottleneck(x: Any, features: int, stride: int) -> Any:
    """1x1, 3x3 (stride), 1x1; ReLU after the sum. The branch starts at zero."""
    return _join(x, _bottleneck(x, features, stride, get_bn(zero_init=True)), stride)


def se_bottleneck(x: Any, features: int, stride: int) -> Any:
    """:func:`resnet_bottleneck` with squeeze and excitation: a gate in (0, 1) for each channel."""
    branch = _bottleneck(x, features, stride, get_bn(zero_init=True))
    gate = GlobalAvgPooling("gap", branch)
    gate = FullyConnected("fc1", gate, features // 4, activation=tf.nn.relu)
    gate = FullyConnected("fc2", gate, EXPANSION * features, activation=tf.nn.sigmoid)
    axes = [2, 3] if layout() == "NCHW" else [1, 2]
    for axis in axes:
        gate = tf.expand_dims(gate, axis)
    return _join(x, branch * gate, stride)


def resnext32x4d_bottleneck(x: Any, features: int, stride: int) -> Any:
    """:func:`resnet_bottleneck` twice as wide, its 3x3 convolution in 32 groups."""
    last = get_bn(zero_init=True)
    return _join(x, _bottleneck(x, features, stride, last, 2, CARDINALITY), stride)


def preact_basicblock(x: Any, features: int, stride: int, preact: str) -> Any:
    """3x3 (stride), 3x3; no activation after the sum."""
    x, shortcut = apply_preactivation(x, preact)
    return add(_basic(x, features, stride, tf.identity), shortcut_of(shortcut, features, stride))


def preact_bottleneck(x: Any, features: int, stride: int, preact: str) -> Any:
    """1x1, 3x3 (stride), 1x1; no activation after the sum."""
    x, shortcut = apply_preactivation(x, preact)
    branch = _bottleneck(x, features, stride, tf.identity)
    return add(branch, shortcut_of(shortcut, EXPANSION * features, stride))


def _inverted_shift(x: Any, features: int, out_features: int, stride: int, preact: str) -> Any:
    x, shortcut = apply_preactivation(x, preact)
    x = Conv2D("conv1", x, features, 1, activation=bn_relu)
    x = Shift2D("shift1", x, 2, features, stride=stride, data_format=layout())
    x = Conv2D("conv3", x, out_features, 1, activation=get_bn())
    return add(x, shortcut_of(shortcut, out_features, stride))


def resIBShift_basicblock(x: Any, features: int, stride: int, preact: str) -> Any:
    """1x1, shift (stride), 1x1, without expansion."""
    return _inverted_shift(x, features, features, stride, preact)


def resIBShift_bottleneck(x: Any, features: int, stride: int, preact: str) -> Any:
    """1x1, shift (stride), 1x1."""
    return _inverted_shift(x, features, EXPANSION * features, stride, preact)


def group(
    name: str,
    x: Any,
    block: Block,
    features: int,
    count: int,
    stride: int,
    preactivated: bool,
    last: Activation,
) -> Any:
    """``count`` blocks in scopes ``block{j}``, the first one with the stride, and then ``last``.

    All blocks but the first are told to pre-activate, if ``preactivated``.
    """
    with tf.variable_scope(name):
        for j in range(count):
            preact = ["no_preact" if j == 0 else "bnrelu"] if preactivated else []
            with tf.variable_scope(f"block{j}"):
                x = block(x, features, stride if j == 0 else 1, *preact)
        return last(x)


def resnet_group(name: str, x: Any, block: Block, features: int, count: int, stride: int) -> Any:
    """Blocks that end in an activation."""
    return group(name, x, block, features, count, stride, False, tf.identity)


def preact_group(name: str, x: Any, block: Block, features: int, count: int, stride: int) -> Any:
    """Pre-activated blocks; ``bnlast``, batch normalization and ReLU, closes the group."""
    return group(name, x, block, features, count, stride, True, lambda y: _bn_relu("bnlast", y))
