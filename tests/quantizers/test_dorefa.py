"""DoReFa quantizers and ternary weights, against their formulas in numpy."""

import numpy as np
import pytest

from sspq.compat import tf
from sspq.quantizers.dorefa import get_dorefa, ternarize

RNG = np.random.RandomState(0)
VALUES = RNG.randn(3, 3, 8, 16)


def weights(x, bits):
    fw, _, _ = get_dorefa(bits, 32, 32)
    return fw(x)


def levels(bits, x):
    t = np.tanh(x)
    n = 2**bits - 1
    return 2 * np.round((t / np.abs(t).max() * 0.5 + 0.5) * n) / n - 1


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_weights_take_the_formula_s_levels(sess, bits):
    got = sess.run(weights(tf.constant(VALUES), bits))
    np.testing.assert_allclose(got, levels(bits, VALUES), atol=1e-12)
    assert len(np.unique(got)) <= 2**bits
    assert np.abs(got).max() == 1


def test_one_bit_weights_are_the_mean_magnitude_with_the_sign(sess):
    x = VALUES.copy()
    x[0, 0, 0, 0] = 0.0
    got = sess.run(weights(tf.constant(x), 1))
    np.testing.assert_allclose(got, np.where(x >= 0, 1, -1) * np.abs(x).mean(), atol=1e-12)


def test_one_bit_weights_pass_the_gradient_unchanged(sess):
    x = tf.constant(VALUES)
    dy = RNG.randn(*VALUES.shape)
    np.testing.assert_array_equal(sess.run(tf.gradients(weights(x, 1), x, tf.constant(dy))[0]), dy)


def test_weight_gradient_skips_the_rounding_alone(sess):
    """The gradient is that of the formula without `round`, the maximum included."""
    x = tf.constant(VALUES)
    t = tf.tanh(x)
    smooth = 2 * (t / tf.reduce_max(tf.abs(t)) * 0.5 + 0.5) - 1
    dy = tf.constant(RNG.randn(*VALUES.shape))
    got, expected = sess.run([tf.gradients(weights(x, 4), x, dy), tf.gradients(smooth, x, dy)])
    np.testing.assert_allclose(got[0], expected[0], atol=1e-12)


def test_all_zero_weights_stay_finite(sess):
    for bits in (1, 4):
        x = tf.zeros([4, 4])
        y = weights(x, bits)
        assert np.isfinite(sess.run([y, tf.gradients(y, x)[0]])).all()


def test_32_bits_are_the_identity(sess):
    x = tf.constant(VALUES)
    for quantizer in get_dorefa(32, 32, 32):
        y = quantizer(x)
        value, gradient = sess.run([y, tf.gradients(y, x, x)[0]])
        np.testing.assert_array_equal(value, VALUES)
        np.testing.assert_array_equal(gradient, VALUES)


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_activations_are_rounded_to_the_grid_with_an_identity_gradient(sess, bits):
    n = 2**bits - 1
    x = np.linspace(0, 1, 1001)
    xt = tf.constant(x)
    y = get_dorefa(32, bits, 32)[1](xt)
    value, gradient = sess.run([y, tf.gradients(y, xt)[0]])
    np.testing.assert_allclose(value, np.round(x * n) / n, atol=1e-12)
    assert len(np.unique(value)) == 2**bits
    np.testing.assert_array_equal(gradient, np.ones_like(x))


def quantized_gradient(sess, dy, bits):
    x = tf.zeros(dy.shape, tf.float64)
    y = get_dorefa(32, 32, bits)[2](x)
    return sess.run([y, tf.gradients(y, x, tf.constant(dy))[0]])


@pytest.mark.parametrize("bits", [2, 6])
def test_gradients_are_quantized_by_example_within_one_step(sess, bits):
    n = 2**bits - 1
    dy = RNG.randn(5, 7, 3) * np.array([1e-6, 1e-3, 1, 10, 1e4])[:, None, None]
    value, got = quantized_gradient(sess, dy, bits)
    assert not value.any()
    most = np.abs(dy).max((1, 2), keepdims=True)
    assert (np.abs(got - dy) <= 2 * most / n * (1 + 1e-9)).all()
    steps = (got / (2 * most) + 0.5) * n
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)


def test_quantized_gradients_are_unbiased(sess):
    dy = np.tile(np.array([1.0, 0.3, -0.7, 0.0]), (20000, 1))
    _, got = quantized_gradient(sess, dy, 2)
    np.testing.assert_allclose(got.mean(0), dy[0], atol=0.02)


def test_an_all_zero_gradient_stays_zero(sess):
    _, got = quantized_gradient(sess, np.zeros((2, 3)), 4)
    np.testing.assert_array_equal(got, np.zeros((2, 3)))


@pytest.mark.parametrize("bits", [0, 33, -1, 2.5, "8", True])
def test_bit_widths_outside_1_to_32_are_refused_by_name(bits):
    for i, name in enumerate(("bitW", "bitA", "bitG")):
        widths = [32, 32, 32]
        widths[i] = bits
        with pytest.raises(ValueError, match=f"`{name}` must be an int from 1 to 32"):
            get_dorefa(*widths)


def test_bit_widths_may_be_numpy_s():
    assert len(get_dorefa(np.int64(4), np.int32(8), np.uint8(32))) == 3


@pytest.mark.parametrize("which", range(3))
def test_float16_is_refused_where_it_does_not_hold_the_levels(sess, which):
    x = tf.constant([[0.25, 1.0]], tf.float16)
    y = get_dorefa(15, 15, 15)[which](x)
    assert np.isfinite(sess.run([y, tf.gradients(y, x)[0]])).all()
    with pytest.raises(ValueError, match="float16 tensors cannot be quantized to 16 bits"):
        tf.gradients(get_dorefa(16, 16, 16)[which](x), x)


def test_gradients_of_unknown_rank_are_quantized_too(sess):
    x = tf.placeholder(tf.float32)
    _, _, fg = get_dorefa(32, 32, 2)
    (gx,) = tf.gradients(fg(x) * 3, x)
    got = sess.run(gx, {x: np.ones((2, 3, 4))})
    np.testing.assert_array_equal(got, np.full((2, 3, 4), 3.0))


def test_ternary_weights_take_their_scale_by_region(sess):
    x = np.array([-1.0, -0.3, -0.04, 0.0, 0.05, 0.06, 0.8])
    with tf.variable_scope("layer"):
        y = ternarize(tf.constant(x), thresh=0.05)
    names = [v.op.name for v in tf.trainable_variables()]
    assert names == ["layer/Wp", "layer/Wn"]
    wp, wn = tf.trainable_variables()
    sess.run(tf.global_variables_initializer())
    np.testing.assert_array_equal(sess.run(y), [-1, -1, 0, 0, 0, 1, 1])
    sess.run([wp.assign(2.0), wn.assign(3.0)])
    np.testing.assert_array_equal(sess.run(y), [-3, -3, 0, 0, 0, 2, 2])


def test_ternary_gradients_reach_weights_and_scales(sess):
    x = tf.constant([-1.0, 0.0, 0.5, 1.0])
    dy = tf.constant([1.0, 10.0, 100.0, 1000.0])
    y = ternarize(x)
    wp, wn = tf.trainable_variables()
    sess.run(tf.global_variables_initializer())
    sess.run([wp.assign(2.0), wn.assign(3.0)])
    gx, gp, gn = sess.run(tf.gradients(y, [x, wp, wn], dy))
    np.testing.assert_array_equal(gx, [3, 10, 200, 2000])
    assert (gp, gn) == (1100, -1)


def test_a_ternary_threshold_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"`thresh` must be in \[0, 1\), got 1.5"):
        ternarize(tf.zeros([2]), thresh=1.5)
