"""The layer as tensorpack sees it."""

import importlib

import numpy as np
import pytest
from tensorpack.models import LinearWrap, registry
from tensorpack.models.common import layer_register
from tensorpack.tfutils.argscope import argscope

import sspq
from sspq import layers
from sspq.compat import tf

X = np.random.RandomState(0).randn(2, 7, 6, 4).astype(np.float32)  # NHWC


def run(sess, y, shift):
    """Runs a layer's output with its only variable set to ``shift``."""
    (variable,) = tf.trainable_variables()
    sess.run(variable.initializer)
    variable.load(shift, sess)
    return sess.run(y)


def test_the_layer_is_the_op_with_one_variable(sess):
    y = sspq.Shift2D("shift", tf.constant(X), 2, 4, stride=2, data_format="NHWC")
    (variable,) = tf.trainable_variables()
    assert (variable.op.name, variable.shape.as_list()) == ("shift/SP/SP", [2, 4])
    shift = np.random.RandomState(1).uniform(-1.5, 1.5, (2, 4))
    expected = sspq.shift2d(X, shift.astype(np.float32), (1, 2, 2, 1), data_format="NHWC")
    np.testing.assert_array_equal(run(sess, y, shift), sess.run(expected))
    assert y.variables.SP is variable


def test_shifts_start_uniform_within_0_707(sess):
    x = tf.zeros([1, 5000, 1, 1])
    sspq.Shift2D("shift", x, 2, 5000)
    sess.run(tf.global_variables_initializer())
    values = sess.run(tf.trainable_variables()[0])
    assert np.abs(values).max() <= np.sqrt(0.5)
    assert abs(values.std() - np.sqrt(0.5 / 3)) < 0.01
    assert abs(values.mean()) < 0.02


@pytest.mark.parametrize(
    "padding, stride, size", [("SAME", 1, 7), ("same", 2, 4), ("AUTO", 1, 7), ("AUTO", 2, 5)]
)
def test_padding_names_give_their_sizes(padding, stride, size):
    x = tf.placeholder(tf.float32, [None, 3, 7, 7])
    y = sspq.Shift2D("shift", x, stride=stride, padding=padding)
    assert y.shape.as_list() == [None, 3, size, size]


def test_strides_and_paddings_are_other_spellings():
    x = tf.placeholder(tf.float32, [None, 3, 7, 7])
    y = sspq.Shift2D("shift", x, strides=(2, 1), paddings="AUTO")
    assert y.shape.as_list() == [None, 3, 5, 7]


def test_the_layer_works_by_name_in_linear_wrap():
    x = tf.placeholder(tf.float32, [None, 3, 7, 7])
    y = LinearWrap(x).Shift2D("shift", 2, 3, stride=2)()
    assert y.shape.as_list() == [None, 3, 4, 4]


def test_argscope_gives_layout_and_options():
    x = tf.placeholder(tf.float32, [None, 7, 7, 3])
    with argscope(sspq.Shift2D, data_format="channels_last", stride=2):
        y = sspq.Shift2D("shift", x)
    assert y.shape.as_list() == [None, 4, 4, 3]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"shift_size": 4}, r"must be \(2, 3\).*got \(2, 4\)"),
        ({"n_shift": 3}, r"must be \(2, 3\).*got \(3, 3\)"),
        ({"padding": "VALID"}, r"`padding` must be one of .*'VALID'"),
        ({"stride": 0}, "`stride` must be an int of at least 1 or a pair of them, got 0"),
        ({"stride": 1, "strides": 2}, "`stride` or `strides`, not both"),
        ({"lr_mult": -1.0}, "`lr_mult` must be a finite number of at least 0, got -1.0"),
        ({"lr_mult": float("nan")}, "`lr_mult` must be .*, got nan"),
        ({"lr_mult": float("inf")}, "`lr_mult` must be .*, got inf"),
        ({"lr_mult": "a"}, "`lr_mult` must be .*, got 'a'"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        sspq.Shift2D("shift", tf.zeros([1, 3, 7, 7]), **arguments)


def test_the_learning_rate_factor_scales_the_shift_s_gradient_alone(sess):
    gradients = []
    for i, factor in enumerate((1.0, 0.01)):
        x = tf.constant(X)
        y = sspq.Shift2D(f"shift{i}", x, data_format="NHWC", lr_mult=factor)
        gradients.append(tf.gradients(tf.reduce_sum(y * y), [x, y.variables.SP]))
    sess.run(tf.global_variables_initializer())
    first, second = tf.trainable_variables()
    second.load(sess.run(first), sess)
    (gx, gs), (gx_scaled, gs_scaled) = sess.run(gradients)
    np.testing.assert_array_equal(gx, gx_scaled)
    np.testing.assert_allclose(gs_scaled, 0.01 * gs, rtol=1e-6)


@pytest.fixture
def restored_registry():
    before = dict(registry._LAYER_REGISTRY)
    yield registry._LAYER_REGISTRY
    registry._LAYER_REGISTRY.clear()
    registry._LAYER_REGISTRY.update(before)


def test_importing_twice_leaves_the_layer_usable(restored_registry):
    importlib.reload(layers)
    x = tf.placeholder(tf.float32, [None, 3, 7, 7])
    assert LinearWrap(x).Shift2D("shift")().shape.as_list() == [None, 3, 7, 7]


def test_a_foreign_layer_of_the_name_breaks_nothing(restored_registry):
    del restored_registry["Shift2D"]

    @layer_register()
    def Shift2D(x):  # noqa: N802
        return -x

    importlib.reload(layers)
    x = tf.placeholder(tf.float32, [None, 3, 7, 7])
    LinearWrap(x).Shift2D("ours")()
    assert [v.op.name for v in tf.trainable_variables()] == ["ours/SP/SP"]
    assert Shift2D("foreign", x).shape.as_list() == [None, 3, 7, 7]
    assert LinearWrap(x).FullyConnected("fc", 5)().shape.as_list() == [None, 5]


def test_a_foreign_layer_that_comes_later_can_be_overruled(restored_registry):
    @layer_register()
    def Shift2D(x):  # noqa: N802
        return -x

    x = tf.placeholder(tf.float32, [None, 3, 7, 7])
    assert sspq.Shift2D("still_ours", x).shape.as_list() == [None, 3, 7, 7]
    layers.register()
    LinearWrap(x).Shift2D("ours")()
    assert "ours/SP/SP" in [v.op.name for v in tf.trainable_variables()]
