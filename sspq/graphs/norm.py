"""Batch normalization with the activation that follows it. Variables are those of tensorpack's."""

from typing import Any, Callable, Dict, Optional, Tuple

from tensorpack.models import BatchNorm
from tensorpack.models.common import VariableHolder
from tensorpack.tfutils.argscope import get_arg_scope
from tensorpack.tfutils.tower import get_current_tower_context
from tensorpack.utils.argtools import get_data_format

from sspq.compat import tf
from sspq.graphs.quantized import quantizes_once
from sspq.ops import batch_norm as op
from sspq.ops.choice import own_ops
from sspq.ops.conv import conv_norm, is_plain
from sspq.quantizers.dorefa import check_bits, get_dorefa

Activation = Callable[[Any], Any]

# What the compiled op knows of tensorpack's arguments, and its values for them.
_DEFAULTS: Dict[str, Any] = {
    "data_format": "NHWC",
    "momentum": 0.9,
    "epsilon": 1e-5,
    "gamma_initializer": tf.ones_initializer(),
}


def clip(x: Any) -> Any:
    """To [0, 1], the range that activations are quantized in."""
    return tf.clip_by_value(x, 0.0, 1.0)


class ClipAndQuantize:
    """The papers' "activate": clip to [0, 1], then quantize to ``bits`` of 1 to 32 (not at all)."""

    def __init__(self, bits: int) -> None:
        self.bits = check_bits("bits", bits)
        _, self._quantize, _ = get_dorefa(32, bits, 32)

    def __call__(self, x: Any) -> Any:
        return self._quantize(clip(x))


def batch_norm(name: str, x: Any, activation: Optional[Activation] = None, **arguments: Any) -> Any:
    """Tensorpack's layer ``BatchNorm``, and the activation on its result.

    Computes with :mod:`sspq.ops` where that is faster, on CPUs, channels last: in towers that train
    with :func:`sspq.ops.batch_norm.batch_norm`, in towers that
    :func:`sspq.graphs.quantized.quantize_once` is for together with the convolution that gave ``x``
    (:func:`sspq.ops.conv.conv_norm`), or ahead of a :class:`ClipAndQuantize`. All other graphs have
    TensorFlow's own ops. The values differ by rounding, and the variables not at all.

    Args:
        name: scope of the variables ``gamma``, ``beta``, ``mean/EMA`` and ``variance/EMA``.
        x: tensor with a known number of channels.
        activation: function of the result (default: None).
        arguments: arguments of tensorpack's layer; the current argscope's hold too.
    """
    bits = activation.bits if isinstance(activation, ClipAndQuantize) else op.NO_CLIP
    relu = activation is tf.nn.relu
    settings = {**_DEFAULTS, **get_arg_scope()["BatchNorm"], **arguments}
    if _is_faster(x, bits, settings):
        with tf.variable_scope(name):
            y = _compiled(x, bits, relu, **settings)
        if relu or bits != op.NO_CLIP:
            return y
    else:
        y = BatchNorm(name, x, **arguments)
    return y if activation is None else activation(y)


def bn_relu(x: Any) -> Any:
    """Tensorpack's ``BNReLU``: batch normalization in scope ``bn``, then ReLU."""
    return batch_norm("bn", x, tf.nn.relu)


def add(x: Any, shortcut: Any, relu: bool = False) -> Any:
    """``x + shortcut``, with ``relu`` no less than 0.

    Where ``x`` is the result of one op for a convolution and its :func:`batch_norm`, that op adds.
    """
    fused = _behind_identity(x)
    if fused.type == "SspqConvNorm" and not any(
        fused.get_attr(name) for name in ("num_plus", "bits", "relu")
    ):
        gamma, beta, mean, variance = fused.inputs[2:]
        epsilon = fused.get_attr("epsilon")
        return conv_norm(
            fused, gamma, beta, mean, variance, epsilon, op.NO_CLIP, relu, plus=shortcut
        )
    return tf.nn.relu(x + shortcut) if relu else x + shortcut


def _is_faster(x: Any, bits: int, settings: Dict[str, Any]) -> bool:
    if set(settings) != set(_DEFAULTS) or not own_ops():
        return False
    if get_data_format(settings["data_format"], keras_mode=False) != "NHWC":
        return False
    if x.dtype.base_dtype != tf.float32 or x.shape.ndims != 4:
        return False
    if get_current_tower_context().is_training:
        return True
    return quantizes_once() and (bits != op.NO_CLIP or _convolution(x) is not None)


def _compiled(
    x: Any,
    bits: int,
    relu: bool,
    data_format: str,
    momentum: float,
    epsilon: float,
    gamma_initializer: Any,
) -> Any:
    def variable(name: str, initializer: Any, trainable: bool) -> Any:
        return tf.get_variable(
            name, [x.shape.as_list()[-1]], initializer=initializer, trainable=trainable
        )

    context = get_current_tower_context()
    gamma = variable("gamma", gamma_initializer, True)
    beta = variable("beta", tf.zeros_initializer(), True)
    mean = variable("mean/EMA", tf.zeros_initializer(), False)
    variance = variable("variance/EMA", tf.ones_initializer(), False)
    if context.is_main_training_tower:
        for v in (mean, variance):
            tf.add_to_collection(tf.GraphKeys.MODEL_VARIABLES, v)
    if context.is_training:
        y, batch_mean, batch_variance = op.batch_norm(x, gamma, beta, epsilon, bits, relu)
        if context.is_main_training_tower:
            _update(mean, batch_mean, momentum)
            _update(variance, batch_variance * _unbiased(x), momentum)
    else:
        y = _inferred(x, gamma, beta, mean, variance, epsilon, bits, relu)
    y = tf.identity(y, name="output")
    y.variables = VariableHolder(gamma=gamma, beta=beta, mean=mean, variance=variance)
    return y


def _inferred(
    x: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    variance: Any,
    epsilon: float,
    bits: int,
    relu: bool,
) -> Any:
    convolution = _convolution(x)
    if convolution is None:
        return op.batch_norm_inference(x, gamma, beta, mean, variance, epsilon, bits, relu)
    conv, bias = convolution
    mean = mean if bias is None else mean - bias
    return conv_norm(conv, gamma, beta, mean, variance, epsilon, bits, relu)


def _behind_identity(x: Any) -> Any:
    while x.op.type == "Identity":
        x = x.op.inputs[0]
    return x.op


def _convolution(x: Any) -> Optional[Tuple[Any, Any]]:
    """The ``Conv2D`` that gives ``x``, and the bias on it or None; None where there is no such."""
    source, bias = _behind_identity(x), None
    if source.type == "BiasAdd":
        source, bias = source.inputs[0].op, source.inputs[1]
    return (source, bias) if source.type == "Conv2D" and is_plain(source) else None


def _unbiased(x: Any) -> Any:
    """The factor from a channel's mean square deviation to the unbiased variance."""
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
    return count / tf.maximum(count - 1, 1)


def _update(average: Any, value: Any, momentum: float) -> None:
    update = tf.assign_sub(average, (average - value) * (1 - momentum))
    tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update)
