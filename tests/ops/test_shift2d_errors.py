"""Everything that shift2d refuses: the error names the argument, its value and what is expected."""

import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from sspq import oplib
from sspq.compat import tf
from sspq.ops import shift2d

X = np.zeros((2, 3, 4, 5), np.float32)
SHIFT = np.zeros((2, 3), np.float32)
SHIFTS = {"NCHW": SHIFT, "NHWC": np.zeros((2, 5), np.float32)}
HUGE = 2**31 - 1

WRONG_LENGTHS = [[], [1, 1], [1, 1, 1, 1, 1]]
BAD_VECTORS = WRONG_LENGTHS + [[2, 1, 1, 1], [1, 2, 1, 1], [1, 1, -1, 1], [1, 1, 1, -1]]
BAD_STRIDES = BAD_VECTORS + [[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]
BAD_PADDINGS = [[v - 1 for v in vector] for vector in BAD_VECTORS]
NOT_INTS = [
    None,
    2,
    "same",
    "1111",
    [1, 1, 1.5, 1],
    [1, 1, None, 1],
    [1, 1, "1", 1],
    [1, 1, float("nan"), 1],
    [1, 1, float("inf"), 1],
    [1, 1, 2**31, 1],
    [1, 1, 1, [1]],
]


def graph_error(*args, **kwargs):
    """What shift2d says when it refuses while the graph is built."""
    with pytest.raises(ValueError) as raised:
        shift2d(*args, **kwargs)
    return str(raised.value)


def run_error(sess, x, shift, **kwargs):
    """What it says when it sees the shapes only at run time."""
    feeds = {tf.placeholder(v.dtype): v for v in (x, shift)}
    y = shift2d(*feeds, **kwargs)
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        sess.run(y, feeds)
    return raised.value.message


def assert_names(message, *parts):
    for part in parts:
        assert part in message.replace(", ", ","), f"{part!r} is not in: {message}"


def in_order(values, data_format):
    """Four values in the order of NCHW, rearranged; any other number of them is left alone."""
    if len(values) != 4:
        return list(values)
    return [values["NCHW".index(axis)] for axis in data_format]


def shape_text(shape):
    return "[" + ",".join(str(d) for d in shape) + "]"


@pytest.mark.parametrize("shape", [(), (3,), (3, 4, 5), (1, 2, 3, 4, 5)])
def test_an_image_without_four_dimensions_is_refused(sess, shape):
    x = np.zeros(shape, np.float32)
    for message in (graph_error(x, SHIFT), run_error(sess, x, SHIFT)):
        assert_names(message, "`x`", "4 dimensions", "NCHW", "got shape " + shape_text(shape))


@pytest.mark.parametrize("shape", [(), (2,), (3,), (2, 3, 1), (3, 2), (1, 3), (0, 3)])
def test_a_shift_that_is_not_two_rows_is_refused(sess, shape):
    shift = np.zeros(shape, np.float32)
    for message in (graph_error(X, shift), run_error(sess, X, shift)):
        assert_names(message, "`shift`", "[2,C]", "got shape " + shape_text(shape))


@pytest.mark.parametrize("channels", [0, 1, 2, 4])
@pytest.mark.parametrize("data_format, of_x", [("NCHW", 3), ("NHWC", 5)])
def test_a_shift_for_other_channels_is_refused(sess, channels, data_format, of_x):
    shift = np.zeros((2, channels), np.float32)
    messages = (
        graph_error(X, shift, data_format=data_format),
        run_error(sess, X, shift, data_format=data_format),
    )
    for message in messages:
        assert_names(message, "`shift`", "[2,C]", f"`x`,{of_x} here")
        assert_names(message, f"got shape [2,{channels}]", "[2,3,4,5]", data_format)


@pytest.mark.parametrize("x_shape", [None, [None, 3, None, None]])
def test_known_channels_are_compared_even_where_the_rest_is_unknown(sess, x_shape):
    shift = tf.placeholder(tf.float32, [2, 4] if x_shape else [3, 4])
    assert_names(graph_error(tf.placeholder(tf.float32, x_shape), shift), "`shift`", "[2,C]")


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("strides", BAD_STRIDES, ids=str)
def test_bad_strides_are_refused(sess, strides, data_format):
    strides = in_order(strides, data_format)
    message = graph_error(X, SHIFTS[data_format], strides, data_format=data_format)
    assert_names(message, "`strides`", "4 ints in the order of " + data_format)
    assert_names(message, "at least 1 for height and width", "got " + shape_text(strides))


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("paddings", BAD_PADDINGS, ids=str)
def test_bad_paddings_are_refused(sess, paddings, data_format):
    paddings = in_order(paddings, data_format)
    message = graph_error(X, SHIFTS[data_format], (1, 1, 1, 1), paddings, data_format=data_format)
    assert_names(message, "`paddings`", "4 ints in the order of " + data_format)
    assert_names(message, "at least 0 for height and width", "got " + shape_text(paddings))


@pytest.mark.parametrize("name", ["strides", "paddings"])
@pytest.mark.parametrize("values", NOT_INTS, ids=str)
def test_strides_and_paddings_that_are_not_ints_are_refused(sess, name, values):
    message = graph_error(X, SHIFT, **{name: values})
    assert f"`{name}` must be 4 ints in the order of NCHW" in message
    assert repr(values) in message


@pytest.mark.parametrize("name", ["strides", "paddings"])
def test_an_iterator_of_fractions_is_refused_like_a_list_of_them(sess, name):
    message = graph_error(X, SHIFT, **{name: iter([1, 1, 1.5, 1])})
    assert f"`{name}` must be 4 ints" in message


@pytest.mark.parametrize("name", ["strides", "paddings"])
def test_an_int_too_negative_for_the_op_is_refused(sess, name):
    assert_names(graph_error(X, SHIFT, **{name: [1, 1, -(2**40), 1]}), name, str(-(2**40)))


@pytest.mark.parametrize("data_format", ["nchw", "NCWH", "channels_first", "", None, 3])
def test_another_data_format_is_refused(sess, data_format):
    message = graph_error(X, SHIFT, data_format=data_format)
    assert_names(message, "`data_format`", "'NCHW'", "'NHWC'", repr(data_format))


def test_another_data_format_is_refused_by_the_bare_op(sess):
    with pytest.raises(ValueError, match="data_format.*NCWH"):
        oplib.load().sspq_shift2d(X, SHIFT, data_format="NCWH")


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool", "complex64", "bfloat16"])
def test_an_image_of_another_dtype_is_refused(sess, dtype):
    for shift in (tf.zeros((2, 1)), tf.placeholder(dtype), [[0.5], [0.5]]):
        message = graph_error(tf.placeholder(dtype, [1, 1, 2, 2]), shift)
        assert_names(message, "`x`", "float32 or float64", "got " + dtype)


def test_float16_is_for_the_gpu(sess):
    with tf.device("/cpu:0"):
        y = shift2d(X.astype(np.float16), SHIFT)
    with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)SspqShift2D.*DT_HALF.*CPU"):
        sess.run(y)


@pytest.mark.parametrize(
    "x_dtype, shift_dtype",
    [("float32", "float64"), ("float64", "float32"), ("float32", "float16"), ("float32", "int32")],
)
def test_a_shift_of_another_dtype_is_refused(sess, x_dtype, shift_dtype):
    shift = tf.placeholder(shift_dtype, [2, 3])
    message = graph_error(X.astype(x_dtype), shift)
    assert_names(message, "`shift`", "dtype of `x`," + x_dtype, "got " + shift_dtype)


@pytest.mark.parametrize(
    "x_shape, paddings",
    [
        ([2**31, 1, 1, 1], (0, 0, 0, 0)),
        ([65536, 1, 32768, 1], (0, 0, 0, 0)),
        ([2**20, 2**20, 2, 2], (0, 0, 2047, 2047)),  # 2^64, zero to an int64
        ([1, 1, 2, 2], (0, 0, 2**15, 2**15)),
        ([1, 1, 2, 2], (0, 0, HUGE, HUGE)),
        ([1, 1, 0, 0], (0, 0, HUGE, 1)),
    ],
)
def test_an_output_beyond_int32_is_refused_while_the_graph_is_built(sess, x_shape, paddings):
    x = tf.placeholder(tf.float32, x_shape)
    message = graph_error(x, tf.placeholder(tf.float32), paddings=paddings)
    out = [d + 2 * p for d, p in zip(x_shape, paddings)]
    assert_names(message, " x ".join(str(d) for d in out), "fewer than 2^31")


def test_an_output_of_the_most_elements_that_int32_counts_is_not_refused(sess):
    assert shift2d(tf.placeholder(tf.float32, [HUGE, 1, 1, 1]), np.zeros((2, 1))).shape[0] == HUGE


@pytest.mark.parametrize("batch", [1, None])
@pytest.mark.parametrize(
    "image, paddings, limit",
    [
        ((1, 2**16, 2**15), (0, 0), "2^31 elements in an image of `x`"),
        ((2**10, 2**11, 2**10), (0, 0), "2^31 elements in an image of `x`"),
        ((2**10, 2, 2**10), (2**10, 0), "2^31 elements in an image of `x` with its paddings"),
        ((1, 2**28 + 1, 1), (0, 0), "height and width,with their paddings,of at most 2^28"),
        ((1, 1, 2), (0, 2**27), "height and width,with their paddings,of at most 2^28"),
    ],
)
def test_an_image_beyond_32_bits_is_refused_while_the_graph_is_built(
    sess, image, paddings, limit, batch
):
    x = tf.placeholder(tf.float32, (batch,) + image)
    message = graph_error(x, tf.placeholder(tf.float32), (1, 1, 2**20, 2**20), (0, 0) + paddings)
    sizes = " x ".join(str(d) for d in ("?" if batch is None else batch,) + image)
    assert_names(
        message, "`x` of " + sizes, f"`paddings` of {paddings[0]} and {paddings[1]}", limit
    )


@pytest.mark.parametrize("image", [(1, 2**28, 7), (2**10, 2**10, 2**11 - 1)])
def test_an_image_of_almost_as_many_elements_is_not_refused(sess, image):
    x = tf.placeholder(tf.float32, (None,) + image)
    assert shift2d(x, tf.placeholder(tf.float32), (1, 1, 2**20, 2**20)).shape[1] == image[0]


@pytest.mark.parametrize("pad", [2**15, HUGE])
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_an_output_beyond_int32_is_refused_at_run_time(sess, pad, data_format):
    paddings = (0, 0, pad, pad) if data_format == "NCHW" else (0, pad, pad, 0)
    x, shift = np.zeros((1, 1, 1, 1), np.float32), np.zeros((2, 1), np.float32)
    message = run_error(sess, x, shift, paddings=paddings, data_format=data_format)
    assert_names(message, f"1 x 1 x {2 * pad + 1} x {2 * pad + 1}", "fewer than 2^31")


@pytest.mark.parametrize(
    "gy_shape", [(2, 3, 4, 4), (2, 3, 5, 5), (1, 3, 4, 5), (2, 3, 5, 4), (2, 3, 4, 0), (2, 60)]
)
def test_an_output_gradient_of_another_shape_is_refused(sess, gy_shape):
    gy = tf.placeholder(tf.float32)
    grads = oplib.load().sspq_shift2d_grad(X, SHIFT, gy)
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        sess.run(grads, {gy: np.zeros(gy_shape)})
    assert_names(
        raised.value.message, "`gy`", "shape of the output,[2,3,4,5]", shape_text(gy_shape)
    )


@pytest.mark.parametrize(
    "name, shapes, part",
    [
        ("x", [(3, 4, 5), (2, 3), (2, 3, 4, 5)], "4 dimensions"),
        ("shift", [(2, 3, 4, 5), (2, 4), (2, 3, 4, 5)], "[2,C]"),
    ],
)
def test_the_bare_gradient_op_checks_its_inputs_too(sess, name, shapes, part):
    values = [np.zeros(s, np.float32) for s in shapes]
    with pytest.raises(ValueError) as raised:
        oplib.load().sspq_shift2d_grad(*values)
    assert_names(str(raised.value), f"`{name}`", part)
    feeds = {tf.placeholder(tf.float32): v for v in values}
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        sess.run(oplib.load().sspq_shift2d_grad(*feeds), feeds)
    assert_names(raised.value.message, f"`{name}`", part)


@pytest.mark.parametrize("gy_shape", [(2, 3), (2, 3, 4, 4), (1, 3, 4, 5), (None, 3, 4, 6)])
def test_an_output_gradient_is_refused_as_soon_as_its_shape_is_known(gy_shape):
    gy = tf.placeholder(tf.float32, gy_shape)
    with pytest.raises(ValueError) as raised:
        oplib.load().sspq_shift2d_grad(X, SHIFT, gy)
    shape = f"[{','.join('?' if size is None else str(size) for size in gy_shape)}]"
    assert_names(str(raised.value), "`gy`", "shape of the output,[2,3,4,5],got " + shape)


def test_the_bare_gradient_op_refuses_sizes_before_there_are_data():
    x, gy = tf.placeholder(tf.float32, (None, 1, 2**28, 8)), tf.placeholder(tf.float32)
    with pytest.raises(ValueError) as raised:
        oplib.load().sspq_shift2d_grad(x, np.zeros((2, 1), np.float32), gy)
    assert_names(str(raised.value), "expected fewer than 2^31 elements")


def test_an_error_leaves_the_session_usable(sess):
    assert "`shift`" in run_error(sess, X, SHIFT[:, :2])
    assert sess.run(shift2d(X, SHIFT)).shape == X.shape


# Sizes that overflow, fill memory or take ages on the way to a result of a few bytes. In a process
# of its own with 16 GiB of address space, as the failure is an abort.
@pytest.mark.parametrize(
    "x_shape, data_format, stride, pad",
    [
        ((1, 1, 1, 0), "NHWC", (1, 1), (HUGE, HUGE)),
        ((1, 1, 0, 1), "NCHW", (1, 1), (0, HUGE)),
        ((1, 1, 0, 1), "NHWC", (1, 1), (HUGE, 0)),
        ((1, 0, 1, 1), "NHWC", (1, 1), (0, HUGE)),
        ((1, 2, 2, 1), "NHWC", (HUGE, HUGE), (0, 0)),
        ((1, 1, 2, 2), "NCHW", (HUGE, HUGE), (0, 0)),
        ((1, 1, 5, 5), "NCHW", (2**28, 2**28), (2**27, 2**27)),
        ((1, 2, 2, 1), "NHWC", (HUGE, HUGE), (HUGE, HUGE)),
        ((1, 2, 4, 4), "NCHW", (1, 2**30), (0, HUGE)),
        ((1, 4, 4, 2), "NHWC", (1, 2**30), (0, HUGE)),
    ],
)
def test_extreme_attributes_give_a_result_or_an_error_and_no_abort(
    x_shape, data_format, stride, pad
):
    strides = in_order((1, 1) + stride, data_format)
    paddings = in_order((0, 0) + pad, data_format)
    program = """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
        import numpy as np
        from sspq.compat import tf
        from sspq.ops import shift2d
        x = tf.placeholder(tf.float32)
        shift = np.linspace(0.5, 3, 2 * %d).reshape(2, -1).astype(np.float32)
        with tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=1)) as sess:
            try:
                y = shift2d(x, shift, %r, %r, data_format=%r)
                sess.run(tf.gradients(y, x, grad_ys=y), {x: np.zeros(%r)})
            except (ValueError, tf.errors.InvalidArgumentError):
                pass
    """
    channels = x_shape[data_format.index("C")]
    program = textwrap.dedent(program) % (channels, strides, paddings, data_format, x_shape)
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        timeout=20,
        stderr=subprocess.PIPE,
        env=dict(os.environ, CUDA_VISIBLE_DEVICES="", PYTHONPATH=os.pathsep.join(sys.path)),
    )
    reason = re.findall(r".*(?:Check failed|what\(\)|Error).*", done.stderr.decode())
    assert done.returncode == 0, reason
