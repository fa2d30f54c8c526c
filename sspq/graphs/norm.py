"""Batch normalization with the activation that follows it. Variables are those of tensorpack's."""

from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, Optional

from tensorpack.models import BatchNorm
from tensorpack.models.common import VariableHolder
from tensorpack.tfutils.argscope import get_arg_scope
from tensorpack.tfutils.tower import get_current_tower_context
from tensorpack.utils.argtools import get_data_format

from sspq.compat import has_gpu, tf
from sspq.graphs.quantized import quantizes_once
from sspq.ops import batch_norm as op
from sspq.quantizers.dorefa import check_bits, get_dorefa

Activation = Callable[[Any], Any]

# What the compiled op knows of tensorpack's arguments, and its values for them.
_DEFAULTS: Dict[str, Any] = {
    "data_format": "NHWC",
    "momentum": 0.9,
    "epsilon": 1e-5,
    "gamma_initializer": tf.ones_initializer(),
}

_only_tensorflow = False


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


@contextmanager
def tensorflow_ops() -> Iterator[None]:
    """A context in which :func:`batch_norm` builds graphs of TensorFlow's own ops alone."""
    global _only_tensorflow  # noqa: PLW0603
    before, _only_tensorflow = _only_tensorflow, True
    try:
        yield
    finally:
        _only_tensorflow = before


def batch_norm(name: str, x: Any, activation: Optional[Activation] = None, **arguments: Any) -> Any:
    """Tensorpack's layer ``BatchNorm``, and the activation on its result.

    Computes with :func:`sspq.ops.batch_norm.batch_norm` where that is faster: on CPUs, channels
    last, in towers that train, and ahead of a :class:`ClipAndQuantize` in towers that
    :func:`sspq.graphs.quantized.quantize_once` is for. All other graphs have TensorFlow's own
    fused op, as in training on a GPU; to infer, TensorFlow makes it part of a convolution that it
    follows. The values differ by rounding, and the variables not at all.

    Args:
        name: scope of the variables ``gamma``, ``beta``, ``mean/EMA`` and ``variance/EMA``.
        x: a tensor with a known number of channels.
        activation: of the result, or None.
        arguments: of tensorpack's layer; the current argscope's hold too.
    """
    bits = activation.bits if isinstance(activation, ClipAndQuantize) else op.NO_CLIP
    settings = {**_DEFAULTS, **get_arg_scope()["BatchNorm"], **arguments}
    if not _is_faster(x, bits, settings):
        y = BatchNorm(name, x, **arguments)
    else:
        with tf.variable_scope(name):
            y = _compiled(x, bits, **settings)
        if bits != op.NO_CLIP:
            return y
    return y if activation is None else activation(y)


def bn_relu(x: Any) -> Any:
    """Tensorpack's ``BNReLU``: batch normalization in scope ``bn``, then ReLU."""
    return batch_norm("bn", x, tf.nn.relu)


def _is_faster(x: Any, bits: int, settings: Dict[str, Any]) -> bool:
    if _only_tensorflow or set(settings) != set(_DEFAULTS) or has_gpu():
        return False
    if get_data_format(settings["data_format"], keras_mode=False) != "NHWC":
        return False
    if x.dtype.base_dtype != tf.float32 or x.shape.ndims != 4:
        return False
    return get_current_tower_context().is_training or (quantizes_once() and bits != op.NO_CLIP)


def _compiled(
    x: Any, bits: int, data_format: str, momentum: float, epsilon: float, gamma_initializer: Any
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
        y, batch_mean, batch_variance = op.batch_norm(x, gamma, beta, epsilon, bits)
        if context.is_main_training_tower:
            _update(mean, batch_mean, momentum)
            _update(variance, batch_variance * _unbiased(x), momentum)
    else:
        y = op.batch_norm_inference(x, gamma, beta, mean, variance, epsilon, bits)
    y = tf.identity(y, name="output")
    y.variables = VariableHolder(gamma=gamma, beta=beta, mean=mean, variance=variance)
    return y


def _unbiased(x: Any) -> Any:
    """The factor from a channel's mean square deviation to the unbiased variance."""
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
    return count / tf.maximum(count - 1, 1)


def _update(average: Any, value: Any, momentum: float) -> None:
    update = tf.assign_sub(average, (average - value) * (1 - momentum))
    tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update)
