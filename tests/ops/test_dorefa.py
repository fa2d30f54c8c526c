"""The weight quantizer as one op, against the graph of TensorFlow's ops and float64."""

import numpy as np
import pytest

from sspq import oplib
from sspq.compat import tf
from sspq.ops.dorefa import quantize_weights
from sspq.quantizers.dorefa import get_dorefa
from tests.conftest import TWO_THREADS

BITS = [2, 3, 4, 8, 15, 16, 24, 31]
# One value, vectors and what is left of them, and four blocks.
SHAPES = [(), (1,), (3, 7), (1, 1, 64, 16), (3, 3, 79, 83)]


def own(x, bits):
    return quantize_weights(x, bits).y


def formula(x, bits):
    return get_dorefa(bits, 32, 32)[0](x)


def draw(shape, seed=0):
    """Weights and an incoming gradient."""
    rng = np.random.RandomState(seed)
    return [np.float32(rng.randn(*shape) * scale) for scale in (0.3, 1)]


def run(quantizer, x, gy, bits):
    """The quantized weights and the gradient, by a session of its own."""
    with tf.Graph().as_default(), tf.Session(config=TWO_THREADS) as sess:
        feeds = [tf.placeholder(tf.float32, np.shape(a)) for a in (x, gy)]
        y = quantizer(feeds[0], bits)
        return sess.run([y] + tf.gradients(y, *feeds), dict(zip(feeds, (x, gy))))


def gradient(x, gy):
    """In float64, through the quantizer without its rounding."""
    t = np.tanh(np.float64(x))
    m = np.abs(t).max()
    largest = np.abs(t) == m
    gt = gy / m - largest * np.sign(t) * (np.float64(gy) * t).sum() / m**2 / largest.sum()
    return gt * (1 - t**2)


def check_bits(got, wanted):
    np.testing.assert_array_equal(got.view(np.uint32), wanted.view(np.uint32))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_are_the_bits_of_the_formula_as_tensorflow_runs_it(shape, bits):
    x, gy = draw(shape)
    check_bits(*[run(q, x, gy, bits)[0] for q in (own, formula)])


@pytest.mark.parametrize("scale", [1e-45, 1e-39, 1e-20, 30, 3e38])
def test_extreme_weights_give_the_bits_of_the_formula(scale):
    x = np.float32(np.random.RandomState(0).uniform(-1, 1, 1000) * scale)
    check_bits(*[run(q, x, x, 4)[0] for q in (own, formula)])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_that_of_the_formula_and_of_float64(shape):
    x, gy = draw(shape)
    got = run(own, x, gy, 4)[1]
    # Of one weight alone both terms cancel.
    largest = np.abs(gy / np.tanh(x)).max()
    for wanted in (gradient(x, gy), run(formula, x, gy, 4)[1]):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6 * largest)


def test_the_sum_behind_the_maximum_s_gradient_is_exact_to_float32():
    # In float32 the sum of so many terms of one sign is good to five digits.
    x, _ = draw((1000, 1000))
    gy = np.sign(x)
    at = np.unravel_index(np.abs(x).argmax(), x.shape)
    got = run(own, x, gy, 4)[1]
    np.testing.assert_allclose(got[at], gradient(x, gy)[at], rtol=3e-6)


def test_maxima_share_their_gradient():
    x = np.float32([0.5, -0.1, -0.5, 0.2, 0.5])
    gy = np.float32([1, 2, 3, 4, 5])
    got = run(own, x, gy, 4)[1]
    for wanted in (gradient(x, gy), run(formula, x, gy, 4)[1]):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("x", [np.zeros((5, 9)), -np.zeros(1), np.zeros((0, 3))])
def test_all_zero_and_no_weights_are_those_of_the_formula_without_a_gradient(x):
    x = x.astype(np.float32)
    (y, gx), (wanted, _) = [run(q, x, x + 1, 4) for q in (own, formula)]
    check_bits(y, wanted)
    np.testing.assert_array_equal(gx, np.zeros_like(x))


@pytest.mark.parametrize("at", [0, 17, 99])
def test_a_nan_stays_one_as_with_the_formula(at):
    x, gy = draw((100,))
    x[at] = np.nan
    (y, gx), (wanted, wanted_gx) = [run(q, x, gy, 4) for q in (own, formula)]
    assert np.isnan(y[at])
    check_bits(np.delete(y, at), np.delete(wanted, at))
    assert np.isnan(gx).all()
    assert np.isnan(wanted_gx).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_incoming_gradient_that_is_not_finite_leaves_none_finite_as_with_the_formula(value):
    x, gy = draw((100,))
    gy[5] = value
    for q in (own, formula):
        assert not np.isfinite(run(q, x, gy, 4)[1]).any()


def test_nothing_but_nans_is_nan():
    x = np.full(20, np.nan, np.float32)
    assert np.isnan(run(own, x, x, 4)).all()


@pytest.mark.parametrize("shape", SHAPES + [(0, 3)])
def test_the_l2_loss_and_its_gradient_are_tensorflow_s(sess, shape):
    x, gy = [tf.constant(a) for a in draw(shape)]
    y, loss = quantize_weights(x, 4)
    wanted = tf.nn.l2_loss(x)
    np.testing.assert_allclose(*sess.run([loss, wanted]), rtol=1e-5)
    # Of both outputs, and of each alone.
    for cost, wanted_cost in (
        (loss * 3, wanted * 3),
        (tf.reduce_sum(y * gy) + loss * 3, tf.reduce_sum(formula(x, 4) * gy) + wanted * 3),
    ):
        got, right = sess.run([tf.gradients(c, x)[0] for c in (cost, wanted_cost)])
        atol = 1e-6 * np.abs(right).max() if right.size else 0
        np.testing.assert_allclose(got, right, rtol=1e-6, atol=atol)


def test_the_l2_loss_is_exact_to_float32(sess):
    x, _ = draw((1000, 1000))
    np.testing.assert_allclose(
        sess.run(quantize_weights(tf.constant(x), 4).l2_loss),
        (np.float64(x) ** 2).sum() / 2,
        rtol=1e-7,
    )


def run_all(x, gy, config):
    """All outputs and the gradient of all."""
    with tf.Graph().as_default(), tf.Session(config=config) as sess:
        x = tf.constant(x)
        y, loss = quantize_weights(x, 8)
        return sess.run([y, loss] + tf.gradients([y, loss], x, [gy, 0.1]))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_version_and_number_of_threads_gives_the_same_bits(monkeypatch, shape):
    x, gy = draw(shape)
    results = []
    for version in oplib.cpu_versions():
        monkeypatch.setenv("SSPQ_CPU", version)
        for threads in (1, 2):
            config = tf.ConfigProto(intra_op_parallelism_threads=threads)
            results.append(run_all(x, gy, config))
    for other in results[1:]:
        for a, b in zip(results[0], other):
            check_bits(a, b)


def test_the_shape_is_that_of_the_weights_as_far_as_it_is_known():
    x = tf.placeholder(tf.float32, [None, 3])
    y, l2_loss = quantize_weights(x, 4, name="q")
    assert (y.op.name, y.shape.as_list(), l2_loss.shape.as_list()) == ("q", [None, 3], [])
    assert tf.gradients(y, x)[0].shape.as_list() == [None, 3]


@pytest.mark.parametrize("bits", [1, 32, 2.5, True, "8"])
def test_bits_outside_2_to_31_are_refused(bits):
    with pytest.raises(ValueError, match="quantize_weights: `bits` must be an int from 2 to 31"):
        quantize_weights(tf.zeros([2]), bits)


def test_other_types_are_refused():
    with pytest.raises(ValueError, match="quantize_weights: `x` must be float32, got float64"):
        quantize_weights(tf.zeros([2], tf.float64), 4)


def test_inputs_that_do_not_fit_are_refused(sess):
    ops, x, one = oplib.load(), tf.zeros([2, 3]), tf.ones([])
    fits = [x, x, one, x, one]
    names = ["x", "t", "maximum", "gy", "gl2_loss"]
    for i, shape in ((1, [3, 2]), (2, [1]), (3, [3, 2]), (4, [1])):
        wrong = tf.ones(shape)
        with pytest.raises(ValueError, match=f"dorefa: `{names[i]}` must "):
            ops.sspq_dorefa_weight_grad(*fits[:i], wrong, *fits[i + 1 :])
        hidden = tf.placeholder_with_default(wrong, None)
        late = ops.sspq_dorefa_weight_grad(*fits[:i], hidden, *fits[i + 1 :])
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"dorefa: `{names[i]}` must "):
            sess.run(late)
    with pytest.raises(ValueError, match="dorefa: `t` must have the shape of `x`"):
        ops.sspq_dorefa_weight(x, one, bits=4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="dorefa: `bits` must be from 2 to 31"):
        sess.run(ops.sspq_dorefa_weight(x, x, bits=32).y)


def test_a_version_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("SSPQ_CPU", "avx1024")
    with pytest.raises(tf.errors.InvalidArgumentError, match="dorefa: SSPQ_CPU=avx1024"):
        run(own, *draw((3,)), 4)
