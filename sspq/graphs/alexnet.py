"""AlexNet as Caffe's bvlc_alexnet: its layers, names and initial values."""

from typing import Any, NamedTuple

from tensorpack.models import Conv2D, Dropout

from sspq.compat import tf
from sspq.graphs.argscope import argscope
from sspq.graphs.caffe_layers import fully_connected, lrn, max_pool
from sspq.graphs.grouped import grouped_conv

IMAGE_SIZE = 227
LEAST_IMAGE_SIZE = 39  # of which one pixel is left ahead of fc6
DROPOUT = 0.5
# Of the training set, BGR, in 0..255.
MEAN = (104.007, 116.669, 122.679)


class Convolution(NamedTuple):
    """A convolution, its ReLU and what follows; ``bias`` is the initial value."""

    name: str
    features: int
    kernel: int
    stride: int
    padding: str
    groups: int
    bias: float
    normalized: bool
    pooled: bool


CONVOLUTIONS = (
    Convolution("conv1", 96, 11, 4, "VALID", 1, 0.0, True, True),
    Convolution("conv2", 256, 5, 1, "SAME", 2, 0.1, True, True),
    Convolution("conv3", 384, 3, 1, "SAME", 1, 0.0, False, False),
    Convolution("conv4", 384, 3, 1, "SAME", 2, 0.1, False, False),
    Convolution("conv5", 256, 3, 1, "SAME", 2, 0.1, False, True),
)
HIDDEN = 4096  # of fc6 and fc7


def normalize_image(image: Any) -> Any:
    """Minus the mean pixel, float32, of ``[N, H, W, BGR]`` in 0..255 of any type.

    The mean pixel is the mean of the mean image that bvlc_alexnet was trained with.
    """
    return tf.cast(image, tf.float32) - tf.constant(MEAN)


def scaled(features: int, width: float) -> int:
    """``width * features``, rounded to an even number that is at least 2, for two groups."""
    return max(2, 2 * round(width * features / 2))


def alexnet(image: Any, num_classes: int, data_format: str, width: float = 1.0) -> Any:
    """The bvlc_alexnet graph.

    ``conv1`` to ``conv5``, ``fc6``, ``fc7`` and ``fc8``, with ``W`` and ``b`` each; ReLU after all
    but the last, local response normalization after the first two, 3x3 pooling in steps of 2 after
    the first, second and fifth, dropout after ``fc6`` and ``fc7`` in training.

    Weights begin as gaussian noise of deviation 0.01, of ``fc6`` and ``fc7`` 0.005; biases as 0 or
    0.1.

    Args:
        image: images, uint8 or float32 ``[N, H, H, 3]`` in 0..255, BGR, any ``data_format``; H is
            at least 39. At 227 pixels the pooling windows come out even: Caffe's rounding up,
            kept for other sizes, makes no difference.
        data_format: layout of the computation, "NCHW" or "NHWC"; variables are the same in both.
        width: factor on the numbers of channels and of hidden units, see :func:`scaled` (default:
            1).

    Returns:
        Logits ``[N, num_classes]``.

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks,
    2012; Shelhamer, bvlc_alexnet in Caffe's model zoo, 2014.
    """
    x = normalize_image(image)
    if data_format == "NCHW":
        x = tf.transpose(x, [0, 3, 1, 2])
    gaussian = tf.random_normal_initializer(stddev=0.01)
    narrow = tf.random_normal_initializer(stddev=0.005)
    with argscope(Conv2D, data_format=data_format, kernel_initializer=gaussian):
        for c in CONVOLUTIONS:
            x = grouped_conv(
                c.name,
                x,
                scaled(c.features, width),
                c.kernel,
                c.groups,
                strides=c.stride,
                padding=c.padding,
                activation=tf.nn.relu,
                bias_initializer=tf.constant_initializer(c.bias),
            )
            if c.normalized:
                x = lrn(c.name.replace("conv", "norm"), x)
            if c.pooled:
                x = max_pool(c.name.replace("conv", "pool"), x, 3)
        for number in (6, 7):
            units = scaled(HIDDEN, width)
            x = fully_connected(f"fc{number}", x, units, narrow, 0.1, tf.nn.relu)
            x = Dropout(f"drop{number}", x, rate=DROPOUT)
        return fully_connected("fc8", x, num_classes, gaussian)
