"""Blocks that the shift networks are made of. Variable names are those of published checkpoints."""

from typing import Any, Optional

from tensorpack.models import Conv2D
from tensorpack.tfutils.argscope import get_arg_scope
from tensorpack.utils.argtools import get_data_format

from sspq.compat import has_gpu
from sspq.graphs.norm import Activation, add, batch_norm
from sspq.layers import Shift2D

DATA_FORMATS = ("auto", "NCHW", "NHWC")


def resolve_data_format(data_format: str) -> str:
    """Turns "auto" into NCHW with a GPU, else NHWC: TensorFlow's CPU kernels know no other."""
    if data_format not in DATA_FORMATS:
        raise ValueError(f"`data_format` must be one of {DATA_FORMATS}, got {data_format!r}")
    if data_format == "auto":
        return "NCHW" if has_gpu() else "NHWC"
    return data_format


def layout() -> str:
    """NCHW or NHWC: the layout of the convolutions in the current argscope."""
    return get_data_format(get_arg_scope()["Conv2D"].get("data_format", "NHWC"), keras_mode=False)


def channels_of(x: Any) -> int:
    """The number of channels of a 4-D tensor in the current layout."""
    return x.shape.as_list()[1 if layout() == "NCHW" else 3]


def shortcut_of(
    x: Any, out_features: int, stride: int, activation: Optional[Activation] = None
) -> Any:
    """``x`` itself, or the 1x1 convolution ``convshortcut`` if the number of channels changes."""
    if channels_of(x) == out_features:
        return x
    return Conv2D("convshortcut", x, out_features, 1, strides=stride, activation=activation)


def shift_block(
    x: Any, features: int, out_features: int, stride: int, activate: Activation, preactivate: bool
) -> Any:
    """Inverted shift block: 1x1 convolution, shift, 1x1 convolution, plus a shortcut.

    ``conv1x1a`` (features) - BN - activate - shift (stride) - ``conv1x1b`` (out_features) - BN.
    The shortcut leaves ahead of the pre-activation: taken after it, gradients double from block to
    block towards the input and nothing is learned.

    ``conv1x1a`` has no bias; whether ``conv1x1b`` and ``convshortcut`` have one, and the layout, is
    the current argscope's choice.
    """
    shortcut = x
    if preactivate:
        x = batch_norm("preact", x, activate)
    x = Conv2D("conv1x1a", x, features, 1, use_bias=False)
    x = batch_norm("stembn", x, activate)
    x = Shift2D("shift_q", x, 2, features, stride=stride, data_format=layout())
    x = Conv2D("conv1x1b", x, out_features, 1)
    x = batch_norm("stembn2", x)
    return add(x, shortcut_of(shortcut, out_features, stride))
