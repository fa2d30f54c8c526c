"""SSPQ34 against values computed from the released graphs."""

import numpy as np
import pytest
from tensorpack.tfutils.tower import TowerContext

import sspq
from sspq.compat import tf
from tests.golden import weights
from tests.graphs import golden

# (file, activation bits, variant)
CASES = [
    ("cifar-s1-paper", 32, "paper"),
    ("cifar-s1-released", 32, "released"),
    ("cifar-s2-paper", 8, "paper"),
]
IMAGES, LABELS = weights.images(4, 32)


def build(sess, **arguments):
    return golden.Built(sess, sspq.CifarSSPQ34(**arguments), IMAGES, LABELS)


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name, bita, variant", CASES)
def test_variables_are_exactly_the_released_graph_s(name, bita, variant, data_format):
    model = sspq.CifarSSPQ34(bita=bita, variant=variant, data_format=data_format)
    with TowerContext("", is_training=True):
        model.build_graph(*[tf.placeholder(s.dtype, s.shape) for s in model.inputs()])
    assert golden.variables(tf.trainable_variables()) == golden.read(name)["variables"]


@pytest.mark.parametrize("name, bita, variant", CASES)
def test_values_and_gradients_are_the_released_graph_s(name, bita, variant, sess):
    expected = golden.read(name)
    built = build(sess, bita=bita, variant=variant)
    built.load()
    golden.check_values(built, expected, rounded=bita < 32)
    assert built.variables() == expected["variables"]
    assert built.parameters() == 162244


@pytest.mark.parametrize("bita", [32, 8])
def test_both_layouts_compute_the_same(bita):
    golden.check_layouts(bita < 32, sspq.CifarSSPQ34, IMAGES.astype(np.float32), bita=bita)


def test_activations_take_only_their_levels(sess):
    built = build(sess, bita=2)
    built.load()
    rounded = built.inferred_activations()
    # 15 in blocks, 12 pre-activations, 4 at the ends of groups, conv6 and conv7.
    assert len(rounded) == 33
    for value in rounded:
        assert set(np.unique(value)) <= {0, 1, 2, 3}


@pytest.mark.parametrize("bits, most", [(1, 2), (4, 16), (8, 256)])
def test_quantized_kernels_take_only_their_levels(bits, most, sess):
    built = build(sess, bitw=bits)
    built.load()
    assert len(built.quantized) == 34
    for (v, _), value in zip(built.quantized, sess.run([q for _, q in built.quantized])):
        assert len(np.unique(value)) <= most, v.op.name


@pytest.mark.slow
def test_quantized_gradients_reach_every_parameter(sess):
    built = build(sess, bitg=6)
    built.load()
    norms = built.gradient_norms()
    assert np.isfinite(norms).all() and np.count_nonzero(norms) == len(norms)


def test_weight_decay_can_leave_the_shifts_out(sess):
    built = build(sess, shift_decay=False)
    with tf.variable_scope("", reuse=True), TowerContext("", is_training=True):
        with_decay = sspq.CifarSSPQ34().build_graph(*built.feed)
    built.load()
    shifts = [v for v in built.trainable if v.op.name.endswith("/SP")]
    assert len(shifts) == 15
    expected = sum(
        0.5e-4 * (weights.value(v.op.name, v.shape.as_list()) ** 2).sum() for v in shifts
    )
    without, all_in = built.run([built.train_cost, with_decay])
    np.testing.assert_allclose(all_in - without, expected, rtol=0.02)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"bitw": 0}, "`bitW` must be an int from 1 to 32, got 0"),
        ({"bita": 33}, "`bitA` must be an int from 1 to 32, got 33"),
        ({"variant": "fast"}, "`variant` must be one of .*'fast'"),
        ({"num_classes": 1}, "`num_classes` must be an int of at least 2, got 1"),
        ({"data_format": "NWHC"}, "`data_format` must be one of .*'NWHC'"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        sspq.CifarSSPQ34(**arguments)
