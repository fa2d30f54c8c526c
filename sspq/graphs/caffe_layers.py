"""Layers as Caffe computes them, in the layout of the current argscope."""

from typing import Any

from tensorpack.models import FullyConnected, MaxPooling

from sspq.compat import tf
from sspq.graphs.blocks import layout

_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


def max_pool(name: str, x: Any, size: int) -> Any:
    """The largest value of each ``size x size`` window, ``size`` 2 or 3, in steps of 2.

    The number of windows along an edge is ``ceil((edge - size) / 2) + 1``: Caffe rounds up and lets
    the last window reach beyond the image, by one pixel. TensorFlow's "SAME" does that then, where
    "VALID" rounds down.

    Args:
        x: 4-D tensor, as high as wide.
    """
    edge = x.shape.as_list()[2]
    padding = "VALID" if (edge - size) % 2 == 0 else "SAME"
    return MaxPooling(name, x, size, strides=2, padding=padding, data_format=layout())


def lrn(name: str, x: Any, size: int = 5, alpha: float = 1e-4, beta: float = 0.75) -> Any:
    """Local response normalization across channels.

    .. math:: y_c = x_c (1 + \\alpha / n \\sum_{|d - c| \\le (n - 1) / 2} x_d^2)^{-\\beta}

    with n = ``size``, which is odd. TensorFlow's own alpha is Caffe's divided by n.

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks,
    2012, section 3.3.
    """
    nchw = layout() == "NCHW"
    if nchw:
        x = tf.transpose(x, _TO_NHWC)  # the op normalizes along the last axis
    x = tf.nn.local_response_normalization(x, size // 2, 1.0, alpha / size, beta, name=name)
    return tf.transpose(x, _TO_NCHW) if nchw else x


def fully_connected(
    name: str,
    x: Any,
    units: int,
    kernel_initializer: Any,
    bias: float = 0.0,
    activation: Any = None,
) -> Any:
    """Tensorpack's ``FullyConnected``, which reads images in Caffe's order.

    Variable Names:

    * ``W``: ``[inputs, units]``; of an image, the inputs are by channel, row and column, whatever
      the layout.
    * ``b``: ``[units]``, with the initial value ``bias``.
    """
    if x.shape.ndims == 4 and layout() == "NHWC":
        x = tf.transpose(x, _TO_NCHW)
    return FullyConnected(
        name,
        x,
        units,
        activation=activation,
        kernel_initializer=kernel_initializer,
        bias_initializer=tf.constant_initializer(bias),
    )
