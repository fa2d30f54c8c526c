"""Blocks that the shift networks are made of. Variable names are those of published checkpoints."""

from typing import Any, Callable

from tensorpack.models import BatchNorm, Conv2D
from tensorpack.utils.argtools import get_data_format

from sspq.compat import has_gpu, tf
from sspq.layers import Shift2D
from sspq.quantizers.dorefa import Quantizer

Activation = Callable[[Any], Any]

DATA_FORMATS = ("auto", "NCHW", "NHWC")


def resolve_data_format(data_format: str) -> str:
    """Turns "auto" into NCHW with a GPU, else NHWC: TensorFlow's CPU kernels know no other."""
    if data_format not in DATA_FORMATS:
        raise ValueError("`data_format` must be one of %s, got %r" % (DATA_FORMATS, data_format))
    if data_format == "auto":
        return "NCHW" if has_gpu() else "NHWC"
    return data_format


def clip_and_quantize(fa: Quantizer) -> Activation:
    """The papers' "activate": clip to [0, 1], then quantize."""
    return lambda x: fa(tf.clip_by_value(x, 0.0, 1.0))


def channels_of(x: Any, data_format: str) -> int:
    nchw = get_data_format(data_format, keras_mode=False) == "NCHW"
    return x.shape.as_list()[1 if nchw else 3]


def shift_block(
    x: Any,
    features: int,
    out_features: int,
    stride: int,
    activate: Activation,
    preactivate: bool,
    bias: bool,
    data_format: str,
) -> Any:
    """Inverted shift block: 1x1 convolution, shift, 1x1 convolution, plus a shortcut.

    ``conv1x1a`` (features) - BN - activate - shift (stride) - ``conv1x1b`` (out_features) - BN.
    The shortcut leaves ahead of the pre-activation: taken after it, gradients double from block to
    block towards the input and nothing is learned. It is the identity unless the number of
    channels changes, then a 1x1 convolution with the block's stride.

    Args:
        x: 4-D tensor in the layout of the current argscope, which ``data_format`` names.
        bias: of ``conv1x1b`` and ``convshortcut``; ``conv1x1a`` has none.
    """
    shortcut = x
    if preactivate:
        x = activate(BatchNorm("preact", x))
    x = Conv2D("conv1x1a", x, features, 1, use_bias=False)
    x = activate(BatchNorm("stembn", x))
    x = Shift2D("shift_q", x, 2, features, stride=stride)
    x = Conv2D("conv1x1b", x, out_features, 1, use_bias=bias)
    x = BatchNorm("stembn2", x)
    if channels_of(shortcut, data_format) != out_features:
        shortcut = Conv2D("convshortcut", shortcut, out_features, 1, strides=stride, use_bias=bias)
    return x + shortcut
