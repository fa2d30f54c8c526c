"""Convolutions as products: TensorFlow's values, for any shape, thread and version."""

import numpy as np
import pytest
from tensorpack.models import Conv2D
from tensorpack.tfutils.tower import TowerContext

import sspq
from sspq import oplib
from sspq.compat import tf
from sspq.ops import choice
from sspq.ops.choice import tensorflow_ops
from sspq.ops.conv import conv_norm

OWN = {"SspqConvBackpropFilter", "SspqConvBackpropInput"}
THEIRS = {"Conv2DBackpropFilter", "Conv2DBackpropInput"}

# (images, kernel, strides, padding): tiles and panels that are full, that are not, and both; one
# chunk of rows and several; patches that leave the image on every side.
CASES = [
    ((2, 8, 8, 16), (1, 1, 16, 32), (1, 1), "SAME"),
    ((2, 5, 7, 3), (1, 1, 3, 4), (1, 1), "SAME"),
    ((1, 1, 1, 300), (1, 1, 300, 5), (1, 1), "SAME"),
    ((1, 6, 6, 100), (1, 1, 100, 130), (1, 1), "VALID"),
    ((8, 16, 16, 64), (1, 1, 64, 256), (1, 1), "SAME"),
    ((40, 28, 28, 8), (1, 1, 8, 24), (1, 1), "SAME"),
    ((2, 4, 4, 512), (1, 1, 512, 1024), (2, 2), "SAME"),
    ((3, 9, 7, 20), (1, 1, 20, 70), (2, 2), "SAME"),
    ((3, 9, 7, 20), (1, 1, 20, 70), (3, 2), "VALID"),
    ((1, 3, 3, 4), (1, 1, 4, 4), (5, 5), "SAME"),
    ((2, 32, 32, 3), (7, 7, 3, 64), (2, 2), "SAME"),
    ((2, 13, 9, 5), (3, 3, 5, 17), (1, 1), "SAME"),
    ((2, 13, 9, 5), (3, 3, 5, 17), (2, 2), "VALID"),
    ((1, 2, 2, 3), (5, 5, 3, 5), (1, 1), "SAME"),
    ((2, 10, 10, 4), (3, 2, 4, 8), (2, 1), "SAME"),
    ((0, 4, 4, 3), (1, 1, 3, 5), (1, 1), "SAME"),
]


def values(case, dtype=tf.float32):
    """Images, a kernel and what their convolution gives, and a gradient to it, all constants."""
    x_shape, w_shape, (h, w), padding = case
    rng = np.random.RandomState(0)
    x = tf.constant(rng.randn(*x_shape), dtype)
    kernel = tf.constant(rng.randn(*w_shape), dtype)
    y = tf.nn.conv2d(x, kernel, [1, h, w, 1], padding)
    gy = tf.constant(rng.randn(*y.shape.as_list()), dtype)
    return x, kernel, y, gy


def gradient_ops():
    return {op.type for op in tf.get_default_graph().get_operations()} & (OWN | THEIRS)


def check_near(got, wanted, relative=1e-5):
    assert got.shape == wanted.shape
    largest = np.abs(wanted).max() if wanted.size else 0
    np.testing.assert_allclose(got, wanted, rtol=0, atol=relative * largest)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_tensorflow_s(case, sess):
    with sspq.fast_pointwise():
        x, kernel, y, gy = values(case)
    own = tf.gradients(y, [x, kernel], gy)
    pointwise = case[1][:2] == (1, 1)
    assert gradient_ops() == (
        OWN if pointwise else {"SspqConvBackpropFilter", *THEIRS} - {"Conv2DBackpropFilter"}
    )
    x, kernel, y, gy = values(case, tf.float64)
    wanted = tf.gradients(y, [x, kernel], gy)
    for a, b in zip(*sess.run([own, wanted])):
        check_near(a, b)


def run(case, threads):
    config = tf.ConfigProto(intra_op_parallelism_threads=threads)
    with tf.Graph().as_default(), tf.Session(config=config) as sess:
        with sspq.fast_pointwise():
            x, kernel, y, gy = values(case)
        return sess.run(tf.gradients(y, [x, kernel], gy))


@pytest.mark.parametrize("case", [CASES[i] for i in (3, 5, 6, 10)], ids=str)
def test_any_number_of_threads_and_every_run_give_the_same_bits(case):
    wanted = run(case, 1)
    for threads in (1, 2, 3):
        for a, b in zip(run(case, threads), wanted):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", [CASES[i] for i in (3, 7, 10)], ids=str)
def test_versions_differ_by_rounding_at_most(case, monkeypatch):
    results = {}
    for version in oplib.cpu_versions():
        monkeypatch.setenv("SSPQ_CPU", version)
        results[version] = run(case, 2)
    for result in results.values():
        for a, b in zip(result, results["baseline"]):
            check_near(a, b, 2e-6)
    if {"avx2", "avx512"} <= set(results):
        for a, b in zip(results["avx2"], results["avx512"]):
            np.testing.assert_array_equal(a, b)


def test_a_sum_of_nothing_is_zero(sess):
    gx = oplib.load().sspq_conv_backprop_input(
        [1, 3, 3, 5], tf.zeros([1, 1, 5, 0]), tf.zeros([1, 3, 3, 0]), strides=[1, 1, 1, 1]
    )
    np.testing.assert_array_equal(sess.run(gx), np.zeros([1, 3, 3, 5]))


def test_a_nan_reaches_what_reads_it_and_no_more(sess):
    with sspq.fast_pointwise():
        x, kernel, y, gy = values(CASES[3])
    gradients = tf.gradients(y, [x, kernel], gy)
    bad = sess.run(gy)
    bad[0, 2, 3, 7] = np.nan
    gx, gw = sess.run(gradients, {gy: bad})
    assert np.isnan(gx[0, 2, 3]).all() and np.isnan(gx).sum() == 100
    assert np.isnan(gw[..., 7]).all() and np.isnan(gw).sum() == 100


def test_gradients_of_gradients_are_tensorflow_s(sess):
    results = []
    for context in (sspq.fast_pointwise, tensorflow_ops):
        with context():
            x, kernel, y, gy = values(CASES[7])
            first = tf.gradients(y * y, [x, kernel], gy)
        penalty = sum(tf.reduce_sum(g * g) for g in first)
        results.append(sess.run(tf.gradients(penalty, [x, kernel, gy])))
    for a, b in zip(*results):
        check_near(a, b)


def build(data_format="NHWC", **arguments):
    x = tf.zeros([2, 8, 8, 8])
    return x, tf.nn.conv2d(
        x, tf.zeros([1, 1, 8, 4]), 1, "SAME", data_format=data_format, **arguments
    )


@pytest.mark.parametrize("arguments", [dict(data_format="NCHW"), dict(dilations=[1, 2, 2, 1])])
def test_what_the_ops_do_not_know_has_tensorflow_s_gradients(arguments):
    with sspq.fast_pointwise():
        x, y = build(**arguments)
    tf.gradients(y, [x])
    assert gradient_ops() <= THEIRS


@pytest.mark.parametrize("switch", ["context", "variable", "GPU", "outside"])
def test_there_are_ways_not_to_have_them(switch, monkeypatch):
    if switch == "outside":
        with sspq.fast_pointwise():
            pass
        x, y = build()
    else:
        with sspq.fast_pointwise():
            x, y = build()
    if switch == "variable":
        monkeypatch.setenv("SSPQ_OPS", "tensorflow")
    if switch == "GPU":
        monkeypatch.setattr(choice, "has_gpu", lambda: True)
    if switch == "context":
        with tensorflow_ops():
            tf.gradients(y, [x])
    else:
        tf.gradients(y, [x])
    assert gradient_ops() <= THEIRS


def test_a_switch_that_is_neither_is_refused(monkeypatch):
    monkeypatch.setenv("SSPQ_OPS", "fast")
    with sspq.fast_pointwise():
        x, y = build()
    with pytest.raises(ValueError, match="SSPQ_OPS must be sspq or tensorflow, got 'fast'"):
        tf.gradients(y, [x])


def test_the_forward_graph_of_a_tensorpack_model_is_the_same():
    graphs = []
    for fast in (False, True):
        with tf.Graph().as_default() as graph, TowerContext("", is_training=True):
            image = tf.zeros([2, 8, 8, 3])
            if fast:
                with sspq.fast_pointwise():
                    Conv2D("conv", image, 4, 1, strides=2)
            else:
                Conv2D("conv", image, 4, 1, strides=2)
            graphs.append([(op.name, op.type) for op in graph.get_operations()])
    assert graphs[0] == graphs[1]


POOLS = [(3, 2, "SAME"), (2, 2, "VALID"), (3, 1, "SAME"), (2, 3, "VALID"), (5, 4, "SAME")]


@pytest.mark.parametrize("window, stride, padding", POOLS)
def test_max_pooling_s_gradients_are_tensorflow_s(window, stride, padding, sess):
    rng = np.random.RandomState(0)
    # Of few values, so that windows hold their maximum more than once.
    x = tf.constant(rng.randint(0, 4, [3, 11, 8, 5]), tf.float32)
    results = []
    for context in (sspq.fast_pointwise, tensorflow_ops):
        with context():
            y = tf.nn.max_pool(x, window, stride, padding)
            rng = np.random.RandomState(1)
            gy = tf.constant(rng.randn(*y.shape.as_list()), tf.float32)
            (gx,) = tf.gradients(y, x, gy)
            results.append(sess.run([gx] + tf.gradients(gx * gx, gy)))
    assert {"SspqMaxPoolGrad", "MaxPoolGrad"} <= {
        op.type for op in tf.get_default_graph().get_operations()
    }
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("activation", [dict(bits=0), dict(bits=0, relu=True), dict(bits=32)])
@pytest.mark.parametrize("case", [CASES[i] for i in (0, 3, 7, 10, 12, 15)], ids=str)
def test_conv_norm_is_convolution_normalization_sum_and_activation(case, activation, plus, sess):
    x, kernel, y, _ = values(case)
    rng = np.random.RandomState(1)
    features = case[1][3]
    gamma, beta, mean = [rng.randn(features).astype(np.float32) for _ in range(3)]
    variance = rng.uniform(0.5, 2, features).astype(np.float32)
    added = rng.randn(*y.shape.as_list()).astype(np.float32) if plus else None
    own = conv_norm(y.op, gamma, beta, mean, variance, 1e-3, plus=added, **activation)
    assert own.shape == y.shape
    got, wanted = sess.run([own, tf.cast(y, tf.float64)])
    wanted = (wanted - mean) * gamma / np.sqrt(variance + 1e-3) + beta + (added if plus else 0)
    if activation.get("relu"):
        wanted = np.maximum(wanted, 0)
    if activation["bits"] == 32:
        wanted = np.clip(wanted, 0, 1)
    check_near(got, wanted)


def test_conv_norm_rounds_to_the_activations_grid(sess):
    x, kernel, y, _ = values(CASES[3])
    ones, zeros = np.ones(130, np.float32), np.zeros(130, np.float32)
    arguments = (y.op, ones * 0.03, ones * 0.5, zeros, ones, 1e-5)
    rounded, clipped = sess.run([conv_norm(*arguments, 3), conv_norm(*arguments, 32)])
    np.testing.assert_array_equal(rounded, np.rint(clipped * np.float32(7)) * np.float32(1 / 7))
    assert len(np.unique(rounded)) == 8


def test_shapes_that_do_not_fit_are_refused(sess):
    ops = oplib.load()
    x = tf.zeros([1, 4, 4, 3])
    some = tf.placeholder(tf.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have the output's shape"):
        gw = ops.sspq_conv_backprop_filter(
            x, [1, 1, 3, 5], some, strides=[1, 1, 1, 1], padding="SAME"
        )
        sess.run(gw, {some: np.zeros([1, 4, 4, 4])})
    with pytest.raises(tf.errors.InvalidArgumentError, match="the input must be .N, H, W, C."):
        gx = ops.sspq_conv_backprop_input([1, 4, 4, 2], some, x, strides=[1, 1, 1, 1])
        sess.run(gx, {some: np.zeros([1, 1, 4, 3])})
    with pytest.raises(tf.errors.InvalidArgumentError, match="the kernel must be 1x1"):
        gx = ops.sspq_conv_backprop_input([1, 4, 4, 2], some, x, strides=[1, 1, 1, 1])
        sess.run(gx, {some: np.zeros([3, 3, 2, 3])})
    with pytest.raises(tf.errors.InvalidArgumentError, match="`strides` must be four"):
        sess.run(
            ops.sspq_conv_backprop_input(
                [1, 4, 4, 2], tf.zeros([1, 1, 2, 3]), x, strides=[1, 0, 1, 1]
            )
        )
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be a vector of sizes"):
        sizes = tf.placeholder(tf.int32)
        gx = ops.sspq_conv_backprop_input(sizes, tf.zeros([1, 1, 2, 3]), x, strides=[1, 1, 1, 1])
        sess.run(gx, {sizes: 7})
    with pytest.raises(tf.errors.InvalidArgumentError, match="max_pool: `gy` must have the output"):
        window = [1, 9, 9, 1]
        sess.run(ops.sspq_max_pool_grad(x, x, ksize=window, strides=window, padding="VALID"))
    three, four = np.zeros(3, np.float32), np.zeros(4, np.float32)
    conv = tf.nn.conv2d(x, tf.zeros([1, 1, 3, 4]), 1, "SAME").op
    with pytest.raises(ValueError, match="conv: input 3 must have shape .4., got .3."):
        conv_norm(conv, four, three, four, four, 1e-5, 0)


def test_a_version_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("SSPQ_CPU", "avx1024")
    with pytest.raises(tf.errors.InvalidArgumentError, match="conv: SSPQ_CPU=avx1024"):
        run(CASES[0], 1)
