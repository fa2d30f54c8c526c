"""The active shift as a TensorFlow op."""

from typing import Any, List, Sequence

from sspq import oplib
from sspq.compat import tf

DATA_FORMATS = ("NCHW", "NHWC")


def _four_ints(name: str, values: Sequence[int], data_format: str) -> List[int]:
    """Checks the type only: which values are allowed is the op's own business."""
    try:
        given = list(values)
        numbers = [int(v) for v in given]
        whole = all(n == v for n, v in zip(numbers, given)) and all(
            -(2**31) <= n < 2**31 for n in numbers
        )
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise ValueError(
            f"shift2d: `{name}` must be 4 ints in the order of {data_format}, got {values!r}"
        )
    return numbers


def shift2d(
    x: Any,
    shift: Any,
    strides: Sequence[int] = (1, 1, 1, 1),
    paddings: Sequence[int] = (0, 0, 0, 0),
    normalize: bool = False,
    data_format: str = "NCHW",
    name: str = None,
) -> Any:
    r"""Moves every channel of ``x`` by its own real-valued offset.

    .. math:: y_{ncij} = \sum_{ab} k(a - r)\,k(b - q)\,x_{ncab},\quad k(t) = \max(0, 1 - |t|)

    with row ``r = i*stride_h - pad_h + shift[1, c]`` and column
    ``q = j*stride_w - pad_w + shift[0, c]``; ``x`` is zero outside the image.

    Args:
        x: images, float32 or float64, on a GPU also float16; ``[N, C, H, W]`` or ``[N, H, W, C]``
            as ``data_format`` says.
        shift: offsets ``[2, C]``, same dtype: row 0 along W, row 1 along H, in input pixels. NaN or
            infinity makes the channel NaN; a shift beyond the image makes it zero.
        strides: steps in pixels, 4 ints in the order of ``data_format``; 1 for batch and channels
            (default: all 1).
        paddings: zeros around the image, 4 ints in the order of ``data_format``; 0 for batch and
            channels (default: all 0).
        normalize: whether each channel's (gx, gy) gradient to ``shift`` is divided by its L2 norm
            (default: False).
        data_format: layout, ``"NCHW"`` (default) or ``"NHWC"``. Both give the same bits, but for
            the gradient to ``shift``, whose sums they form in other orders.
        name: name of the op (default: None).

    Returns:
        A tensor of the same dtype and layout; height and width are
        ``(size + 2*pad - 1)//stride + 1``.

    Gradient:
        To ``x`` the exact adjoint. To ``shift`` the derivative of the formula, summed in a fixed
        order in float64 (on a GPU in pairs of float32, unless ``x`` is float64); at an integer
        shift the mean of the two one-sided derivatives.

    Raises:
        ValueError: an argument is refused while the graph is built; it is named with its value.
        tf.errors.InvalidArgumentError: the same for shapes that are only known at run time.
        OpLibraryError: the op library is missing or was built for another TensorFlow.

    Source: Jeon and Kim, Constructing Fast Network through Deconstruction of Convolution (active
    shift), NeurIPS 2018, arXiv:1806.07370, as used by L-SSPQ.
    """
    if data_format not in DATA_FORMATS:
        raise ValueError(
            f"shift2d: `data_format` must be one of {DATA_FORMATS}, got {data_format!r}"
        )
    strides = _four_ints("strides", strides, data_format)
    paddings = _four_ints("paddings", paddings, data_format)
    with tf.name_scope(name, "shift2d", [x, shift]) as scope:
        x = tf.convert_to_tensor(x, name="x")
        if x.dtype.base_dtype not in (tf.float16, tf.float32, tf.float64):
            raise ValueError(
                f"shift2d: `x` must be float32 or float64 (float16 on a GPU), got {x.dtype.name}"
            )
        if not isinstance(shift, (tf.Tensor, tf.Variable)):
            shift = tf.convert_to_tensor(shift, dtype=x.dtype.base_dtype, name="shift")
        shift = tf.convert_to_tensor(shift, name="shift")
        if shift.dtype.base_dtype != x.dtype.base_dtype:
            raise ValueError(
                f"shift2d: `shift` must have the dtype of `x`, {x.dtype.base_dtype.name}, got "
                f"{shift.dtype.base_dtype.name}"
            )
        return oplib.load().sspq_shift2d(
            x,
            shift,
            strides=strides,
            paddings=paddings,
            normalize=normalize,
            data_format=data_format,
            name=scope,
        )


@tf.RegisterGradient("SspqShift2D")
def _shift2d_grad(op: Any, gy: Any) -> List[Any]:
    attrs = {k: op.get_attr(k) for k in ("strides", "paddings", "normalize")}
    data_format = op.get_attr("data_format").decode()
    gx, gshift = oplib.load().sspq_shift2d_grad(
        op.inputs[0], op.inputs[1], gy, data_format=data_format, **attrs
    )
    return [gx, gshift]
