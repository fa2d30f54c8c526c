"""Convolutions as products of matrices, for CPUs: their gradients, and what follows them to infer.

TensorFlow's own gradient of a 1x1 convolution to its input takes 8 times as long as the convolution
on a CPU, though it is the same product, and the one to the kernel three times.
"""

from contextlib import contextmanager
from typing import Any, Iterator, List, Optional

from tensorflow.python.framework import ops as framework_ops

from sspq import oplib
from sspq.compat import tf
from sspq.ops.choice import own_ops

_CONV2D, _MAX_POOL = "SspqConv2D", "SspqMaxPool"


@contextmanager
def fast_pointwise() -> Iterator[None]:
    r"""A context whose ``Conv2D`` ops, and ``MaxPool``, get faster gradients on CPUs.

    With the rows of the matrices :math:`X`, :math:`Y` the pixels that a 1x1 kernel :math:`W` reads
    and writes, :math:`Y = X W`:

    .. math:: \partial X = \partial Y\, W^T, \quad \partial W = X^T\, \partial Y

    The graph keeps its ``Conv2D`` ops, their names and variables; only the gradients that
    ``tf.gradients`` and optimizers build for them are others. It works for every tensorpack model
    whose layers are built within the context, under every trainer::

        with sspq.fast_pointwise():
            logits = self.network(image)

    It concerns float32 in NHWC without dilations: of 1x1 kernels, at any stride, both gradients, of
    others the one to the kernel; and ``MaxPool``. All else, and all on a machine with a GPU, where
    cuDNN computes, or with ``SSPQ_OPS=tensorflow``, has TensorFlow's gradients. The values equal
    those to 1e-5 of the largest; the bits are the same in every run and for any number of threads.

    Raises:
        OpLibraryError: when a gradient is built, the op library is missing or was built for another
            TensorFlow.
    """
    with tf.get_default_graph().gradient_override_map({"Conv2D": _CONV2D, "MaxPool": _MAX_POOL}):
        yield


def is_plain(op: Any) -> bool:
    """Whether a ``Conv2D`` is one that the ops of this module know."""
    return _is_known(op) and list(op.get_attr("dilations")) == [1, 1, 1, 1]


def _is_known(op: Any) -> bool:
    return (
        op.inputs[0].dtype == tf.float32
        and op.get_attr("data_format") == b"NHWC"
        and op.get_attr("padding") in (b"SAME", b"VALID")
    )


def _tensorflow_s(op: Any, *incoming: Any) -> Any:
    return framework_ops._gradient_registry.lookup(op.type)(op, *incoming)


@tf.RegisterGradient(_MAX_POOL)
def _max_pool_grad(op: Any, gy: Any) -> Any:
    x, attrs = op.inputs[0], {k: op.get_attr(k) for k in ("ksize", "strides", "padding")}
    is_spatial = attrs["ksize"][3] == attrs["strides"][3] == 1
    if not own_ops() or not _is_known(op) or not is_spatial:
        return _tensorflow_s(op, gy)
    return oplib.load().sspq_max_pool_grad(x, gy, **attrs)


@tf.RegisterGradient("SspqMaxPoolGrad")
def _max_pool_grad_grad(op: Any, g: Any) -> List[Any]:
    x, attrs = op.inputs[0], {k: op.get_attr(k) for k in ("ksize", "strides")}
    padding = op.get_attr("padding").decode()
    y = tf.nn.max_pool(x, padding=padding, **attrs)
    return [
        tf.zeros_like(x),
        tf.raw_ops.MaxPoolGradGrad(orig_input=x, orig_output=y, grad=g, padding=padding, **attrs),
    ]


@tf.RegisterGradient(_CONV2D)
def _conv2d_grad(op: Any, gy: Any) -> List[Any]:
    if not own_ops() or not is_plain(op):
        return _tensorflow_s(op, gy)
    x, w = op.inputs
    x_sizes, w_sizes = tf.shape_n([x, w])
    strides, padding = op.get_attr("strides"), op.get_attr("padding").decode()
    gw = oplib.load().sspq_conv_backprop_filter(x, w_sizes, gy, strides=strides, padding=padding)
    if w.shape.as_list()[:2] == [1, 1]:
        gx = oplib.load().sspq_conv_backprop_input(x_sizes, w, gy, strides=strides)
    else:
        gx = tf.nn.conv2d_backprop_input(x_sizes, w, gy, strides, padding)
    return [gx, gw]


@tf.RegisterGradient("SspqConvBackpropFilter")
def _backprop_filter_grad(op: Any, g: Any) -> List[Any]:
    x, _, gy = op.inputs
    strides, padding = op.get_attr("strides"), op.get_attr("padding").decode()
    gx = tf.nn.conv2d_backprop_input(tf.shape(x), g, gy, strides, padding)
    return [gx, None, tf.nn.conv2d(x, g, strides, padding)]


@tf.RegisterGradient("SspqConvBackpropInput")
def _backprop_input_grad(op: Any, g: Any) -> List[Any]:
    _, w, gy = op.inputs
    strides = op.get_attr("strides")
    gw = tf.nn.conv2d_backprop_filter(g, tf.shape(w), gy, strides, "SAME")
    return [None, gw, tf.nn.conv2d(g, w, strides, "SAME")]


def conv_norm(
    conv: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    variance: Any,
    epsilon: float,
    bits: int,
    relu: bool = False,
    plus: Optional[Any] = None,
) -> Any:
    r"""What a ``Conv2D`` gives, normalized by a given mean and variance, in one op. To infer.

    .. math:: v = (\mathrm{conv} - \mu) \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} + \beta + p

    Args:
        conv: ``Conv2D`` op, one that :func:`is_plain`; it needs not run.
        gamma, beta, mean, variance: parameters of the normalization, float32 ``[features]``.
        epsilon: number added to the variance.
        bits, relu: activation of :math:`v`, see :func:`sspq.ops.batch_norm.batch_norm` (default
            ``relu``: False).
        plus: summand, float32 like the result, the :math:`p` above (default: None, 0).

    Gradient: none.
    """
    return oplib.load().sspq_conv_norm(
        conv.inputs[0],
        conv.inputs[1],
        gamma,
        beta,
        mean,
        variance,
        [] if plus is None else [plus],
        strides=conv.get_attr("strides"),
        padding=conv.get_attr("padding"),
        epsilon=epsilon,
        bits=bits,
        relu=relu,
    )
