"""LeNet as in Caffe's example for handwritten digits."""

from typing import Any

from tensorpack.models import Conv2D

from sspq.compat import tf
from sspq.graphs.argscope import argscope
from sspq.graphs.caffe_layers import fully_connected, max_pool

HIDDEN = 500


def lenet(image: Any, num_classes: int, data_format: str) -> Any:
    """5x5 convolutions ``conv1`` and ``conv2``, pooled, and fully-connected ``ip1`` and ``ip2``.

    The only activation is a ReLU after ``ip1``, as in Caffe. Weights begin uniformly distributed
    with a variance of 1 / fan-in, biases as 0.

    Args:
        image: images, float32 ``[N, H, H, 3]`` in 0..255, in any ``data_format``, H at least 13.
        data_format: layout of the computation, "NCHW" or "NHWC"; variables are the same in both.
    Returns:
        Logits ``[N, num_classes]``.

    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998; Caffe's
    examples/mnist, which has more channels and no Gaussian connections.
    """
    x = image / 256.0
    if data_format == "NCHW":
        x = tf.transpose(x, [0, 3, 1, 2])
    xavier = tf.variance_scaling_initializer(1.0, "fan_in", "uniform")
    with argscope(Conv2D, data_format=data_format, kernel_initializer=xavier, padding="VALID"):
        for name, features in (("1", 20), ("2", 50)):
            x = Conv2D("conv" + name, x, features, 5)
            x = max_pool("pool" + name, x, 2)
        x = fully_connected("ip1", x, HIDDEN, xavier, activation=tf.nn.relu)
        return fully_connected("ip2", x, num_classes, xavier)
