"""Values, gradients, shapes and determinism of shift2d on valid input."""

import itertools
import os

import numpy as np
import pytest

from sspq.compat import tf
from sspq.ops import shift2d
from tests.ops import shift2d_reference as reference

GOLDEN = np.load(os.path.join(os.path.dirname(__file__), "..", "golden", "shift2d.npz"))
CASES = range(108)
LAYOUTS = {"NCHW": [0, 1, 2, 3], "NHWC": [0, 2, 3, 1]}

both_layouts = pytest.mark.parametrize("data_format", sorted(LAYOUTS))


def op(x, shift, stride=(1, 1), pad=(0, 0), data_format="NCHW", **kwargs):
    """shift2d with ``stride`` and ``pad`` as (height, width), whatever the layout."""
    order = LAYOUTS[data_format]
    strides, paddings = np.array((1, 1) + stride)[order], np.array((0, 0) + pad)[order]
    return shift2d(x, shift, strides, paddings, data_format=data_format, **kwargs)


def golden(case):
    """The arrays of one case by name, and its attributes."""
    arrays = {k: GOLDEN[f"case{case}_{k}"] for k in ("x", "shift", "gy", "y", "gx", "gs")}
    stride_h, stride_w, pad_h, pad_w, normalize = [int(v) for v in GOLDEN[f"case{case}_attrs"]]
    return arrays, dict(stride=(stride_h, stride_w), pad=(pad_h, pad_w), normalize=bool(normalize))


def test_the_golden_file_holds_108_cases():
    assert sorted(k for k in GOLDEN.files if k.endswith("_attrs")) == sorted(
        f"case{i}_attrs" for i in CASES
    )


def test_the_reference_agrees_with_the_golden_values():
    for case in CASES:
        a, attrs = golden(case)
        where = {k: attrs[k] for k in ("stride", "pad")}
        got = (
            reference.forward(a["x"], a["shift"], **where),
            reference.gradient_to_x(a["x"], a["shift"], a["gy"], **where),
            reference.gradient_to_shift(a["x"], a["shift"], a["gy"], **attrs),
        )
        for name, value in zip(("y", "gx", "gs"), got):
            np.testing.assert_allclose(
                value, a[name], rtol=0, atol=1e-13 * np.abs(a[name]).max(), err_msg=str(case)
            )


# As they are, channels are copied into blocks; of sixteen copies NHWC images are worked off in
# place.
@pytest.mark.parametrize("copies", [1, 16])
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-5)])
@both_layouts
def test_golden_values(run_shift2d, *, data_format, dtype, tolerance, copies):
    for case in CASES:
        a, attrs = golden(case)
        for name in a:  # channels are axis 1 of all of them
            a[name] = np.concatenate([a[name]] * copies, 1)
        inputs = [a[name].astype(dtype) for name in ("x", "shift", "gy")]
        got = run_shift2d(*inputs, data_format=data_format, **attrs)
        largest = max(np.abs(a[name]).max() for name in ("y", "gx", "gs"))
        for name in ("y", "gx", "gs"):
            value = getattr(got, name)
            assert value.dtype == dtype
            np.testing.assert_allclose(
                value, a[name], rtol=0, atol=tolerance * largest, err_msg=f"{name} of {case}"
            )


def _between_integers(rng, shape):
    """Shifts far enough from the kinks for a finite difference to stay on one side."""
    return rng.randint(-2, 2, shape) + rng.uniform(0.1, 0.9, shape)


@both_layouts
@pytest.mark.parametrize("pad", [(0, 0), (1, 2)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 3), (2, 1)])
def test_gradients_are_those_of_finite_differences(sess, stride, pad, data_format):
    rng = np.random.RandomState(0)
    x_value = rng.randn(2, 2, 5, 4).transpose(LAYOUTS[data_format])
    shift_value = _between_integers(rng, (2, 2))
    x, shift = tf.constant(x_value), tf.constant(shift_value)
    y = op(x, shift, stride, pad, data_format)
    for t, value in ((x, x_value), (shift, shift_value)):
        error = tf.test.compute_gradient_error(
            t, t.shape.as_list(), y, y.shape.as_list(), x_init_value=value, delta=1e-3
        )
        assert error < 1e-10


@both_layouts
@pytest.mark.parametrize("stride, pad", [((1, 1), (0, 0)), ((2, 3), (0, 0)), ((2, 1), (1, 1))])
def test_gradient_at_an_integer_shift_is_the_mean_of_the_one_sided_differences(
    run_shift2d, stride, pad, data_format
):
    rng = np.random.RandomState(1)
    x = rng.randn(2, 4, 6, 7)
    # Both axes at an integer, only one of them, and neither.
    shift = np.array([[0.0, -1.0, 2.0, 0.4], [1.0, 0.3, -2.0, -0.6]])
    gy = rng.randn(*reference.output_shape(x.shape, stride, pad))

    def run(s):
        return run_shift2d(x, s, gy, stride=stride, pad=pad, data_format=data_format)

    def loss(s):  # of every channel: they do not depend on each other
        return np.sum(run(s).y * gy, axis=(0, 2, 3))

    here, delta = loss(shift), 1e-4
    for axis in range(2):
        step = np.zeros((2, 4))
        step[axis] = delta
        after = (loss(shift + step) - here) / delta
        before = (here - loss(shift - step)) / delta
        at_kink = shift[axis] == np.floor(shift[axis])
        assert np.all((np.abs(after - before) > 1e-3) == at_kink)
        np.testing.assert_allclose(run(shift).gs[axis], (after + before) / 2, atol=1e-9)


@pytest.mark.parametrize(
    "x_shape, shift_shape, expected",
    [
        ([2, 3, 8, 9], [2, 3], [2, 3, 5, 5]),
        ([None, 3, 8, 9], [2, 3], [None, 3, 5, 5]),
        ([2, 3, None, 9], [2, 3], [2, 3, None, 5]),
        ([2, 3, 8, None], [2, 3], [2, 3, 5, None]),
        ([2, None, 8, 9], [2, 3], [2, 3, 5, 5]),
        ([2, 3, 8, 9], None, [2, 3, 5, 5]),
        ([2, None, 8, 9], [None, None], [2, None, 5, 5]),
        (None, [2, 3], [None, 3, None, None]),
        (None, None, [None, None, None, None]),
        ([0, 3, 0, 9], [2, 3], [0, 3, 1, 5]),
    ],
)
@both_layouts
def test_the_inferred_shape_gives_what_is_known(sess, x_shape, shift_shape, expected, data_format):
    order = LAYOUTS[data_format]
    x = tf.placeholder(tf.float32, x_shape and [x_shape[i] for i in order])
    shift = tf.placeholder(tf.float32, shift_shape)
    y = op(x, shift, (2, 3), (1, 2), data_format)
    assert y.shape.as_list() == [expected[i] for i in order]
    gx, gs = tf.gradients(y, [x, shift])
    assert gx.shape.is_compatible_with(x.shape)
    assert gs.shape.is_compatible_with([2, expected[1]])


def test_the_inferred_size_is_the_size_at_run_time(sess):
    ys, expected = [], []
    for size, stride, pad in itertools.product(range(7), (1, 2, 3, 5), (0, 1, 2)):
        ys.append(op(np.zeros((1, 1, size, 4)), np.zeros((2, 1)), (stride, 1), (pad, 0)))
        expected.append([1, 1, (size + 2 * pad - 1) // stride + 1, 4])
    assert [y.shape.as_list() for y in ys] == expected
    assert [list(value.shape) for value in sess.run(ys)] == expected


@both_layouts
@pytest.mark.parametrize("stride, pad", [((1, 1), (0, 0)), ((2, 3), (1, 2))])
def test_an_empty_input_gives_padding_alone_and_no_gradient(run_shift2d, stride, pad, data_format):
    shapes = [(0, 3, 5, 4), (4, 3, 0, 5), (4, 3, 5, 0), (2, 3, 0, 0), (4, 0, 5, 4), (4, 16, 0, 5)]
    for shape, dtype in itertools.product(shapes, (np.float32, np.float64)):
        gy = np.ones(reference.output_shape(shape, stride, pad), dtype)
        x, shift = np.zeros(shape, dtype), np.full((2, shape[1]), 0.5, dtype)
        got = run_shift2d(x, shift, gy, stride=stride, pad=pad, data_format=data_format)
        for value, like in ((got.y, gy), (got.gx, x), (got.gs, shift)):
            np.testing.assert_array_equal(value, np.zeros_like(like), err_msg=str(shape))


# 0.9: every shift within one pixel; 3: most beyond. Both are worth splitting among threads.
@both_layouts
@pytest.mark.parametrize("reach", [0.9, 3])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
@pytest.mark.parametrize("shape", [(8, 32, 28, 28), (2, 5, 33, 17), (16, 24, 14, 14)])
def test_threads_and_repetition_do_not_change_a_bit(shape, stride, reach, data_format):
    rng = np.random.RandomState(2)
    order = LAYOUTS[data_format]
    with tf.Graph().as_default() as graph:
        x, shift, gy = [tf.placeholder(tf.float32) for _ in range(3)]
        y = op(x, shift, stride, data_format=data_format)
        fetches = [y] + tf.gradients(y, [x, shift], gy)
    feeds = {
        x: rng.randn(*shape).transpose(order),
        shift: rng.uniform(-reach, reach, (2, shape[1])),
        gy: rng.randn(*reference.output_shape(shape, stride, (0, 0))).transpose(order),
    }
    seen = set()
    for threads in (1, 2, 8):
        config = tf.ConfigProto(intra_op_parallelism_threads=threads)
        with tf.Session(graph=graph, config=config) as session:
            for _ in range(5):
                seen.add(b"".join(a.tobytes() for a in session.run(fetches, feeds)))
    assert len(seen) == 1


def test_each_input_has_a_gradient_on_its_own(sess):
    x, shift = tf.constant(np.ones((1, 1, 3, 3))), tf.constant([[0.25], [0.5]], tf.float64)
    y = shift2d(x, shift)
    assert sess.run(tf.gradients(y, x)[0]).shape == (1, 1, 3, 3)
    assert sess.run(tf.gradients(y, shift)[0]).shape == (2, 1)


@pytest.mark.parametrize("use_resource", [False, True])
def test_a_variable_shift_learns_the_offset_between_two_images(sess, use_resource):
    rows, cols = np.mgrid[:12, :12]
    image = np.exp(-((rows - 6.0) ** 2 + (cols - 6.0) ** 2) / 8)[None, None]
    target = np.exp(-((rows - 5.3) ** 2 + (cols - 6.4) ** 2) / 8)[None, None]
    shift = tf.get_variable("SP", initializer=np.zeros((2, 1)), use_resource=use_resource)
    loss = tf.reduce_sum(tf.square(shift2d(image, shift) - target))
    train = tf.train.GradientDescentOptimizer(0.02).minimize(loss)
    sess.run(tf.global_variables_initializer())
    for _ in range(100):
        sess.run(train)
    np.testing.assert_allclose(sess.run(shift), [[-0.4], [0.7]], atol=0.05)


def test_towers_on_a_device_share_one_shift_and_add_their_gradients(sess):
    x = tf.placeholder(tf.float64)
    shift = tf.constant([[0.25, 1.5], [-0.5, 0.75]], tf.float64)
    towers = []
    for images in tf.split(x, [1, 3]):
        with tf.device("/cpu:0"):
            towers.append(tf.reduce_sum(shift2d(images, shift) ** 2))
    whole = tf.reduce_sum(shift2d(x, shift) ** 2)
    split, together = tf.gradients(tf.add_n(towers), shift)[0], tf.gradients(whole, shift)[0]
    values = sess.run([split, together], {x: np.random.RandomState(3).randn(4, 2, 6, 5)})
    np.testing.assert_allclose(values[0], values[1], rtol=1e-12)
