"""Where graphs quantize their weights by one op, and where by the formula of TensorFlow's ops."""

import re
from collections import Counter

import numpy as np
import pytest
from tensorpack.tfutils.tower import TowerContext

import sspq
from sspq.compat import tf
from sspq.graphs.quantized import (
    QUANTIZED_WEIGHTS,
    quantize_once,
    quantize_variables,
    weight_quantizer,
)
from sspq.ops import choice
from sspq.quantizers.scope import WeightBits, WeightScope

FORMULA = {"Abs", "Max", "DivNoNan", "Rint", "Sign"}
EVERY_NAME = WeightScope(re.compile(""), re.compile("(?!)"))


def types():
    return Counter(op.type for op in tf.get_default_graph().get_operations())


def quantized(is_training=True, bits=4, dtype=tf.float32):
    v = tf.get_variable("W", [50], dtype, tf.random_normal_initializer(seed=0))
    with TowerContext("", is_training=is_training):
        return weight_quantizer(WeightBits(((EVERY_NAME, bits),)))(v)


def test_a_step_of_l_sspq50_has_one_op_a_kernel_and_one_for_its_gradient():
    model = sspq.ImageNetSSPQ(graph="resnet_model3", depth=50, image_size=64)
    image, label = [tf.placeholder(s.dtype, s.shape, s.name) for s in model.inputs()]
    with TowerContext("", is_training=True):
        tf.gradients(model.build_graph(image, label), tf.trainable_variables())
    kernels = tf.get_collection(QUANTIZED_WEIGHTS)
    assert [value.op.type for _, value in kernels] == ["SspqDorefaWeight"] * 35
    assert types()["SspqDorefaWeightGrad"] == 35
    # The first and the last layer have float32 kernels.
    assert types()["L2Loss"] == 2
    assert FORMULA & set(types()) == set()


def test_towers_that_train_and_others_give_the_same_bits(sess):
    own = quantized()
    with tf.variable_scope("", reuse=True):
        others = quantized(is_training=False)
    assert own.op.type == "SspqDorefaWeight"
    assert types()["SspqDorefaWeight"] == 1
    sess.run(tf.global_variables_initializer())
    np.testing.assert_array_equal(*sess.run([own, others]))


def test_l2_losses_are_those_of_the_variables_quantized_or_not(sess):
    bits = WeightBits(((WeightScope(re.compile("^W"), re.compile("(?!)")), 4),))
    with TowerContext("", is_training=True), quantize_variables(bits) as l2_losses:
        for name in ("W", "b"):
            tf.get_variable(name, [50], initializer=tf.random_normal_initializer(seed=0))
    variables = tf.trainable_variables()
    losses = [l2_losses.of(v) for v in variables]
    assert [loss.op.type for loss in losses] == ["SspqDorefaWeight", "L2Loss"]
    sess.run(tf.global_variables_initializer())
    got, wanted = sess.run([losses, [tf.nn.l2_loss(v) for v in variables]])
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("arguments", [dict(bits=1), dict(dtype=tf.float64)])
def test_what_the_op_does_not_know_is_tensorflow_s_own(arguments):
    quantized(**arguments)
    assert not types()["SspqDorefaWeight"]


def test_towers_that_infer_have_the_formula_even_to_quantize_once():
    with quantize_once():
        quantized(is_training=False)
    assert FORMULA - {"Sign"} <= set(types())


def test_tensorflow_s_own_ops_can_be_asked_for():
    with choice.tensorflow_ops():
        quantized()
    assert not types()["SspqDorefaWeight"]


def test_gpus_have_tensorflow_s_own(monkeypatch):
    monkeypatch.setattr(choice, "has_gpu", lambda: True)
    quantized()
    assert not types()["SspqDorefaWeight"]
