"""SSPQ34 for 32x32 images."""

from typing import Any

from tensorpack.models import BatchNorm, Conv2D, FullyConnected, GlobalAvgPooling

from sspq.compat import tf
from sspq.graphs.argscope import argscope
from sspq.graphs.blocks import shift_block
from sspq.graphs.norm import Activation, batch_norm
from sspq.layers import Shift2D

# (scope, channels, blocks, stride of the first block, pre-activation)
GROUPS = (
    ("conv2", 16, 3, 1, False),
    ("conv3", 32, 4, 2, True),
    ("conv4", 64, 6, 2, True),
    ("conv5", 128, 2, 2, True),
)

# Of the training set, RGB, in [0, 1].
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2023, 0.1994, 0.2010)


def normalize_image(image: Any) -> Any:
    """``(x / 255 - mean) / std`` by channel of ``[N, H, W, RGB]``.

    The released input pipeline subtracts the per-pixel mean of the training set before this; both
    are kept, which only moves the input.
    """
    return (image / 255.0 - tf.constant(MEAN)) / tf.constant(STD)


def sspq34(
    image: Any,
    num_classes: int,
    activate: Activation,
    data_format: str,
    shift_normalize: bool = False,
    shift_lr_mult: float = 1.0,
) -> Any:
    """The SSPQ34 graph.

    Args:
        image: images, float32 ``[N, H, W, 3]`` in 0..255, RGB, whatever the ``data_format``.
        activate: clip and quantizer of the activations.
        data_format: layout of the computation, "NCHW" or "NHWC"; variables are the same in both.
        shift_normalize, shift_lr_mult: arguments of :func:`sspq.Shift2D` (default: False and 1).

    Returns:
        Logits ``[N, num_classes]``.
    """
    x = normalize_image(image)
    if data_format == "NCHW":
        x = tf.transpose(x, [0, 3, 1, 2])
    conv_init = tf.variance_scaling_initializer(1.0 / 3, "fan_in", "uniform")
    with argscope([Conv2D, BatchNorm, GlobalAvgPooling], data_format=data_format), argscope(
        Conv2D, kernel_initializer=conv_init
    ), argscope(BatchNorm, momentum=0.9, epsilon=1e-4), argscope(
        Shift2D, normalize=shift_normalize, lr_mult=shift_lr_mult
    ):
        x = Conv2D("conv1", x, 16, 3, use_bias=False)
        for scope, channels, blocks, stride, preactivate in GROUPS:
            for j in range(blocks):
                with tf.variable_scope(f"{scope}blk{j + 1}"):
                    first = stride if j == 0 else 1
                    x = shift_block(x, channels, channels, first, activate, preactivate)
            with tf.variable_scope(scope):
                x = batch_norm("bnlast", x, activate)
        with tf.variable_scope("conv6blk1"):
            x = Conv2D("conv1x1a", x, 128, 1)
            x = batch_norm("stembn", x, activate)
        x = GlobalAvgPooling("gap", x)
        x = activate(x)
        return FullyConnected(
            "fct", x, num_classes, kernel_initializer=tf.random_normal_initializer(stddev=1e-3)
        )
