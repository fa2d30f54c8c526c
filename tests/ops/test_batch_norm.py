"""Batch normalization as one op, against its formula in float64 and TensorFlow's own ops."""

import numpy as np
import pytest

from sspq import oplib
from sspq.compat import tf
from sspq.ops.batch_norm import batch_norm, batch_norm_inference

EPSILON = 1e-3
BITS = [0, 32, 8, 1]  # neither clipped nor rounded, clipped, both
# The last is summed up in four blocks of rows.
SHAPES = [(5, 7), (2, 3, 3, 64), (3, 40, 40, 21)]


def values(shape, seed=0):
    """x, gamma, beta, mean, variance and an incoming gradient."""
    rng = np.random.RandomState(seed)
    channels = shape[-1]
    arrays = [
        rng.randn(*shape) * rng.uniform(0.1, 10, channels) + rng.randn(channels) * 10,
        rng.uniform(0.5, 1.5, channels),
        rng.randn(channels) * 0.5,
        rng.randn(channels) * 10,
        rng.uniform(0.5, 2, channels) ** 2,
        rng.randn(*shape),
    ]
    return [a.astype(np.float32) for a in arrays]


def activate(v, bits):
    """With TensorFlow's ops; rounding passes the gradient through."""
    if bits == 0:
        return v
    y = tf.clip_by_value(v, 0.0, 1.0)
    n = 2.0**bits - 1
    return y if bits == 32 else y + tf.stop_gradient(tf.rint(y * n) / n - y)


def formula(x, gamma, beta, mean, variance, bits):
    return activate((x - mean) * gamma / tf.sqrt(variance + EPSILON) + beta, bits)


def check_near(got, wanted, relative=1e-5):
    np.testing.assert_allclose(got, wanted, rtol=0, atol=relative * np.abs(wanted).max())


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_training_gives_the_formula_s_values_and_gradients(sess, shape, bits):
    x, gamma, beta, _, _, gy = values(shape)
    inputs = [tf.constant(a) for a in (x, gamma, beta)]
    own = batch_norm(*inputs, epsilon=EPSILON, bits=bits)
    wide = [tf.constant(a, tf.float64) for a in (x, gamma, beta)]
    mean, variance = tf.nn.moments(wide[0], list(range(len(shape) - 1)))
    y = formula(*wide, mean, variance, bits)
    wanted = [y, mean, variance] + tf.gradients(y, wide, tf.constant(gy, tf.float64))
    got, wanted = sess.run([list(own) + tf.gradients(own.y, inputs, gy), wanted])
    if 0 < bits < 32:  # values halfway between two levels may go either way
        n = 2**bits - 1
        differ = np.abs(got[0] - wanted[0]) > 0.5 / n
        assert differ.mean() < 1e-3
        got[0][differ], wanted[0][differ] = 0, 0
    for a, b in zip(got, wanted):
        check_near(a, b)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_inference_gives_the_bits_of_tensorflow_s_ops(sess, shape, bits):
    # Of constants TensorFlow works the affine map out beforehand, and its values differ.
    arrays = [tf.placeholder_with_default(a, a.shape) for a in values(shape)]
    x, gamma, beta, mean, variance, _ = arrays
    theirs, _, _ = tf.nn.fused_batch_norm(
        x, gamma, beta, mean, variance, epsilon=EPSILON, is_training=False
    )
    if bits:
        theirs = tf.clip_by_value(theirs, 0.0, 1.0)
    if 0 < bits < 32:
        n = 2.0**bits - 1
        theirs = tf.rint(theirs * n) / n
    own = batch_norm_inference(x, gamma, beta, mean, variance, EPSILON, bits)
    np.testing.assert_array_equal(*sess.run([own, theirs]))


@pytest.mark.parametrize("bits", BITS)
def test_inference_gives_the_formula_s_gradients(sess, bits):
    x, gamma, beta, mean, variance, gy = values(SHAPES[1])
    inputs = [tf.constant(a) for a in (x, gamma, beta)]
    own = batch_norm_inference(*inputs, mean, variance, EPSILON, bits)
    wide = [tf.constant(a, tf.float64) for a in (x, gamma, beta)]
    y = formula(*wide, mean.astype(float), variance.astype(float), bits)
    wanted = tf.gradients(y, wide, tf.constant(gy, tf.float64))
    for a, b in zip(*sess.run([tf.gradients(own, inputs, gy), wanted])):
        check_near(a, b)


def run_all(x, gamma, beta, mean, variance, gy, bits, threads):
    config = tf.ConfigProto(intra_op_parallelism_threads=threads)
    with tf.Graph().as_default(), tf.Session(config=config) as sess:
        inputs = [tf.constant(a) for a in (x, gamma, beta)]
        own = batch_norm(*inputs, epsilon=EPSILON, bits=bits)
        inferred = batch_norm_inference(*inputs, mean, variance, EPSILON, bits)
        return sess.run(list(own) + [inferred] + tf.gradients([own.y, inferred], inputs, [gy, gy]))


@pytest.mark.parametrize("bits", BITS)
def test_every_version_and_number_of_threads_gives_the_same_bits(monkeypatch, bits):
    arrays = values(SHAPES[2])
    results = []
    for version in oplib.cpu_versions():
        monkeypatch.setenv("SSPQ_CPU", version)
        results += [run_all(*arrays, bits, threads) for threads in (1, 2)]
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


def test_relu_is_tensorflow_s_on_what_the_op_gives(sess):
    x, gamma, beta, mean, variance, gy = values(SHAPES[1])
    inputs = [tf.constant(a) for a in (x, gamma, beta)]
    results = []
    for relu in (True, False):
        ys = [
            batch_norm(*inputs, epsilon=EPSILON, relu=relu).y,
            batch_norm_inference(*inputs, mean, variance, EPSILON, relu=relu),
        ]
        if not relu:
            ys = [tf.nn.relu(y) for y in ys]
        results.append(ys + tf.gradients(ys, inputs, [gy, gy]))
    for a, b in zip(*sess.run(results)):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`relu` is for `bits` = 0"):
        sess.run(batch_norm(*inputs, bits=8, relu=True))


def test_a_large_mean_does_not_spoil_the_variance(sess):
    x = np.random.RandomState(0).randn(1000, 3).astype(np.float32) + np.float32(1e4)
    got = sess.run(batch_norm(x, np.ones(3, np.float32), np.zeros(3, np.float32)))
    np.testing.assert_allclose(got.variance, x.astype(float).var(0), rtol=1e-6)


def test_the_gradient_passes_at_both_ends_of_the_clip(sess):
    # Normalized: exactly -1, 0, 1 and so on, for a variance and epsilon that add up to one.
    x = tf.constant([[-0.5], [0.0], [0.5], [1.0], [1.5]])
    one, zero = tf.ones([1]), tf.zeros([1])
    y = batch_norm_inference(x, one, zero, zero, one * 0.75, epsilon=0.25, bits=32)
    y, gx = sess.run([y, tf.gradients(y, x)[0]])
    np.testing.assert_allclose(y.ravel(), [0, 0, 0.5, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(gx.ravel(), [0, 1, 1, 1, 0], rtol=1e-6)


@pytest.mark.parametrize("bits", BITS)
def test_a_nan_stays_one_and_in_its_channel(sess, bits):
    x, gamma, beta, _, _, gy = values(SHAPES[1])
    x[0, 0, 0, 5] = np.nan
    xt = tf.constant(x)
    own = batch_norm(xt, gamma, beta, EPSILON, bits)
    for array in sess.run([own.y, tf.gradients(own.y, xt, gy)[0]]):
        assert np.isfinite(np.delete(array, 5, -1)).all()
    assert np.isnan(sess.run(own.y)[..., 5]).all()


def test_one_example_and_none_are_fine(sess):
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    x = tf.constant([[1.0, 2.0, 3.0]])
    own = batch_norm(x, ones, ones)
    y, variance, gx = sess.run([own.y, own.variance, tf.gradients(own.y, x)[0]])
    np.testing.assert_array_equal([y[0], variance, gx[0]], [ones, zeros, zeros])
    none = tf.zeros([0, 4, 4, 3])
    own = batch_norm(none, ones, ones)
    y, gx, ggamma, gbeta = sess.run([own.y] + tf.gradients(own.y, list(own.y.op.inputs)))
    assert y.shape == gx.shape == (0, 4, 4, 3)
    np.testing.assert_array_equal([ggamma, gbeta], [zeros, zeros])


def test_shapes_that_do_not_fit_are_refused(sess):
    three, four = np.zeros(3, np.float32), np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="batch_norm: input 1 must have shape .3."):
        batch_norm(np.zeros((2, 3), np.float32), four, three)
    with pytest.raises(ValueError, match="batch_norm: `x` must have 2 or more dimensions"):
        batch_norm(three, three, three)
    gamma = tf.placeholder(tf.float32)
    own = batch_norm(tf.placeholder_with_default(np.zeros((2, 3), np.float32), None), gamma, three)
    with pytest.raises(tf.errors.InvalidArgumentError, match="input 1 must have one value for"):
        sess.run(own, {gamma: four})


def test_a_version_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("SSPQ_CPU", "avx1024")
    with pytest.raises(tf.errors.InvalidArgumentError, match="batch_norm: SSPQ_CPU=avx1024"):
        run_all(*values(SHAPES[0]), 0, 1)
