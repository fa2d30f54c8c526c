"""Convolution in groups of channels, on GPU and CPU."""

from typing import Any, Optional

from tensorpack.models import Conv2D
from tensorpack.tfutils.argscope import get_arg_scope

from sspq.compat import has_gpu, tf
from sspq.graphs.blocks import channels_of, layout
from sspq.graphs.norm import Activation


def grouped_conv(
    name: str,
    x: Any,
    features: int,
    kernel: int,
    groups: int,
    strides: int = 1,
    padding: str = "SAME",
    activation: Optional[Activation] = None,
    kernel_initializer: Any = None,
    bias_initializer: Any = None,
) -> Any:
    """Tensorpack's ``Conv2D`` with ``split=groups``, which TensorFlow's CPU kernels do not know.

    Group g of the outputs reads group g of the inputs alone; a group is consecutive channels.

    Variable Names:

    * ``W``: ``[kernel, kernel, channels / groups, features]``, one tensor for all groups.
    * ``b``: ``[features]``, only with a ``bias_initializer``.

    Args:
        name: name of the variable scope.
        x: 4-D tensor in the layout of the current argscope.
        features: number of channels of the result, a multiple of ``groups``.
        kernel, strides: size and stride of the window, ints for both axes (default stride: 1).
        groups: number of groups; 1 is an ordinary convolution.
        padding: "SAME" (default) or "VALID".
        activation: function of the result (default: None).
        kernel_initializer: initial values of ``W`` (default: None, those of the current argscope,
            which must have one).
        bias_initializer: initial values of ``b`` (default: None, no bias).
    """
    use_bias = bias_initializer is not None
    if kernel_initializer is None:
        kernel_initializer = get_arg_scope()["Conv2D"]["kernel_initializer"]
    if groups == 1 or has_gpu():
        return Conv2D(
            name,
            x,
            features,
            kernel,
            strides=strides,
            padding=padding,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            split=groups,
        )
    nchw = layout() == "NCHW"
    axis, steps = (1, [1, 1, strides, strides]) if nchw else (3, [1, strides, strides, 1])
    shape = [kernel, kernel, channels_of(x) // groups, features]
    with tf.variable_scope(name):
        kernels = tf.get_variable("W", shape, initializer=kernel_initializer)
        outputs = [
            tf.nn.conv2d(part, w, steps, padding, data_format=layout())
            for part, w in zip(tf.split(x, groups, axis), tf.split(kernels, groups, 3))
        ]
        y = tf.concat(outputs, axis)
        if use_bias:
            bias = tf.get_variable("b", [features], initializer=bias_initializer)
            y = tf.nn.bias_add(y, bias, data_format=layout())
        return activation(y) if activation else y
