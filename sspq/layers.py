"""The shift as a tensorpack layer, registered under the name ``Shift2D``."""

import functools
import math
import numbers
from typing import Any, Tuple, Union

from tensorpack.models import registry
from tensorpack.models.common import VariableHolder, layer_register
from tensorpack.utils import logger
from tensorpack.utils.argtools import get_data_format

from sspq.compat import tf
from sspq.ops.shift2d import shift2d
from sspq.slq.integers import is_int

PADDINGS = ("SAME", "AUTO")


def _pair(name: str, value: Any) -> Tuple[int, int]:
    pair = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
    if len(pair) != 2 or not all(is_int(v) and v >= 1 for v in pair):
        raise ValueError(
            f"Shift2D: `{name}` must be an int of at least 1 or a pair of them, got {value!r}"
        )
    return int(pair[0]), int(pair[1])


def _one_of_two_spellings(layer_args: Any, name: str, other: str) -> None:
    if other in layer_args:
        if name in layer_args:
            raise ValueError(f"Shift2D: give `{name}` or `{other}`, not both")
        layer_args[name] = layer_args.pop(other)


def _scale_gradient(x: Any, factor: float) -> Any:
    @tf.custom_gradient
    def identity(v: Any) -> Any:
        return tf.identity(v), lambda dy: dy * tf.cast(factor, dy.dtype)

    return x if factor == 1.0 else identity(x)


def _other_spellings(layer: Any) -> Any:
    @functools.wraps(layer)
    def with_spellings(*args: Any, **kwargs: Any) -> Any:
        _one_of_two_spellings(kwargs, "stride", "strides")
        _one_of_two_spellings(kwargs, "padding", "paddings")
        return layer(*args, **kwargs)

    return with_spellings


@_other_spellings
def _shift2d_layer(
    inputs: Any,
    n_shift: int = 2,
    shift_size: int = None,
    stride: Union[int, Tuple[int, int]] = 1,
    padding: str = "SAME",
    data_format: str = "NCHW",
    normalize: bool = False,
    lr_mult: float = 1.0,
) -> Any:
    """A learned shift per channel (:func:`sspq.shift2d`), without bias or activation.

    Called as ``Shift2D(name, inputs, ...)``.

    Args:
        inputs: 4-D tensor with a known number C of channels.
        n_shift: number of shifts of a channel: 2, along width and height.
        shift_size: number C of channels (default: None, taken from the input).
        stride: step in pixels, an int or (height, width) (default: 1). ``strides`` is another
            spelling.
        padding: ``"SAME"`` (default), no padding, output ``ceil(size / stride)``; or ``"AUTO"``,
            the same at stride 1 and padding 1 otherwise (an effective 3x3 window). ``paddings``
            is another spelling.
        data_format: ``"NCHW"`` (default) or ``"NHWC"``, or as Keras spells them.
        normalize: whether each channel's gradient (gx, gy) to the shift is divided by its L2 norm
            (default: False).
        lr_mult: factor on the gradient to the shift, that is on its learning rate under SGD;
            finite and at least 0 (default: 1).

    Variable Names:

    * ``SP/SP``: ``[2, C]`` pixels, along width and height, from U(-0.707, 0.707). Published
      checkpoints use this doubled name.

    Raises:
        ValueError: ``(n_shift, shift_size)`` is not ``(2, C)``, or another argument is refused.
    """
    data_format = get_data_format(data_format, keras_mode=False)
    channels = inputs.shape.as_list()[1 if data_format == "NCHW" else 3]
    if channels is None:
        raise ValueError(
            f"Shift2D: the number of channels of the input must be known, got {inputs}"
        )
    if shift_size is None:
        shift_size = channels
    if (n_shift, shift_size) != (2, channels):
        raise ValueError(
            f"Shift2D: (n_shift, shift_size) must be (2, {channels}), 2 and the input's channels, "
            f"got ({n_shift!r}, {shift_size!r})"
        )
    padding = padding.upper() if isinstance(padding, str) else padding
    if padding not in PADDINGS:
        raise ValueError(f"Shift2D: `padding` must be one of {PADDINGS}, got {padding!r}")
    if not isinstance(lr_mult, numbers.Real) or not 0 <= lr_mult < math.inf:
        raise ValueError(
            f"Shift2D: `lr_mult` must be a finite number of at least 0, got {lr_mult!r}"
        )
    stride_h, stride_w = _pair("stride", stride)
    pads = [1 if padding == "AUTO" and s > 1 else 0 for s in (stride_h, stride_w)]

    def in_order(outer: int, h: int, w: int) -> Tuple[int, int, int, int]:
        return (outer, outer, h, w) if data_format == "NCHW" else (outer, h, w, outer)

    with tf.variable_scope("SP"):
        # Of shape [2, C] the fan-in is 2, which makes this U(-0.707, 0.707).
        initializer = tf.variance_scaling_initializer(1.0 / 3, "fan_in", "uniform")
        SP = tf.get_variable("SP", [2, channels], inputs.dtype.base_dtype, initializer)
        out = shift2d(
            inputs,
            _scale_gradient(SP, lr_mult),
            strides=in_order(1, stride_h, stride_w),
            paddings=in_order(0, pads[0], pads[1]),
            normalize=normalize,
            data_format=data_format,
        )
    out = tf.identity(out, name="output")
    out.variables = VariableHolder(SP=SP)
    return out


def register() -> Any:
    """Registers ``Shift2D`` with tensorpack and returns the layer. May be called again.

    Tensorpack marks a name that is registered twice as unusable, so the name is set here, not
    added: importing sspq again changes nothing, and where another package had registered a
    ``Shift2D`` the name means ours from now on, with a warning. A package that registers its own
    afterwards makes tensorpack refuse the name in LinearWrap; ``sspq.layers.register()`` mends it.
    """
    names = registry._LAYER_REGISTRY
    before = names.pop("Shift2D", None)
    _shift2d_layer.__name__ = "Shift2D"  # argscope finds layers by this name
    layer = layer_register(log_shape=True)(_shift2d_layer)
    layer.is_sspq = True
    if before is not None and not getattr(before, "is_sspq", False):
        logger.warning("sspq takes the layer name Shift2D, which another package had registered.")
    return layer


Shift2D = register()
