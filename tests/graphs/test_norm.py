"""Batch normalization of the graphs: tensorpack's variables and values, faster on a CPU."""

import numpy as np
import pytest
from tensorpack.models import BatchNorm, Conv2D
from tensorpack.tfutils.argscope import argscope
from tensorpack.tfutils.tower import TowerContext, TrainTowerContext

import sspq
from sspq.compat import tf
from sspq.graphs.norm import ClipAndQuantize, add, batch_norm, bn_relu
from sspq.graphs.quantized import quantize_once
from sspq.ops import choice
from sspq.ops.choice import tensorflow_ops
from tests.golden import weights
from tests.graphs import golden

IMAGES = np.random.RandomState(0).randn(4, 5, 5, 6).astype(np.float32) * 3 + 1
OWN = {"SspqBatchNorm", "SspqBatchNormInference", "SspqConvNorm"}
COLLECTIONS = (
    tf.GraphKeys.GLOBAL_VARIABLES,
    tf.GraphKeys.TRAINABLE_VARIABLES,
    tf.GraphKeys.MODEL_VARIABLES,
)


def norm_ops():
    types = [op.type for op in tf.get_default_graph().get_operations()]
    return {t for t in types if ("BatchNorm" in t or t == "SspqConvNorm") and "Grad" not in t}


def trained(layer):
    """What a step of a layer makes of IMAGES: result, gradients, averages; and its variables."""
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.constant(IMAGES)
        with TowerContext("", is_training=True), argscope(BatchNorm, momentum=0.7, epsilon=1e-2):
            y = layer("bn", x)
        names = {
            key: [(v.op.name, v.shape.as_list()) for v in tf.get_collection(key)]
            for key in COLLECTIONS
        }
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        variables = tf.trainable_variables()
        loss = tf.reduce_sum(
            y * tf.constant(np.random.RandomState(1).randn(*IMAGES.shape), y.dtype)
        )
        sess.run(tf.global_variables_initializer())
        sess.run([v.assign(v + 0.3) for v in variables])
        results = sess.run([y] + tf.gradients(loss, [x] + variables))
        for _ in range(2):
            sess.run(updates)
        averages = sess.run([v for v in tf.global_variables() if v not in variables])
        return results + averages, dict(names, updates=len(updates)), norm_ops()


def test_training_computes_what_tensorpack_s_layer_does_on_the_same_variables():
    own, names, ops = trained(batch_norm)
    theirs, wanted_names, _ = trained(BatchNorm)
    assert (names, ops) == (wanted_names, {"SspqBatchNorm"})
    for a, b in zip(own, theirs):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize("bits", [32, 8])
def test_clip_and_quantizer_join_the_normalization(bits):
    activate = ClipAndQuantize(bits)
    own, _, _ = trained(lambda name, x: batch_norm(name, x, activate))
    theirs, _, _ = trained(lambda name, x: activate(BatchNorm(name, x)))
    assert np.mean(np.abs(own[0] - theirs[0]) > 1e-5) < 1e-2  # a level up or down
    for a, b in zip(own[1:], theirs[1:]):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def test_any_other_activation_follows():
    own, _, _ = trained(lambda name, x: batch_norm(name, x, tf.nn.relu))
    theirs, _, _ = trained(lambda name, x: tf.nn.relu(BatchNorm(name, x)))
    assert own[0].min() == 0
    for a, b in zip(own, theirs):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


def test_only_the_main_tower_updates_the_averages():
    for index, name in enumerate(("", "tower1")):
        with tf.variable_scope(tf.get_variable_scope(), reuse=index > 0):
            with TrainTowerContext(name, index=index, total=2):
                batch_norm("bn", tf.constant(IMAGES))
    assert len(tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == 2
    assert len(tf.global_variables()) == 4


def build(**settings):
    x = tf.constant(IMAGES)
    with argscope(BatchNorm, **settings), TowerContext("", is_training=True):
        batch_norm("bn", x, ClipAndQuantize(8))


@pytest.mark.parametrize("settings", [dict(data_format="NCHW"), dict(training=False)])
def test_what_the_op_does_not_know_is_tensorflow_s_own(settings):
    build(**settings)
    assert not norm_ops() & OWN


def test_tensorflow_s_own_can_be_asked_for():
    with tensorflow_ops():
        build()
    assert not norm_ops() & OWN


def test_gpus_have_tensorflow_s_own(monkeypatch):
    monkeypatch.setattr(choice, "has_gpu", lambda: True)
    build()
    assert not norm_ops() & OWN


def test_towers_that_infer_for_others_to_read_are_tensorflow_s_own():
    with TowerContext("", is_training=False):
        batch_norm("bn", tf.constant(IMAGES), ClipAndQuantize(8))
    assert not norm_ops() & OWN


def test_towers_that_infer_without_clip_or_convolution_are_tensorflow_s_own():
    with quantize_once(), TowerContext("", is_training=False):
        bn_relu(batch_norm("stembn2", tf.constant(IMAGES)))
    assert not norm_ops() & OWN


def with_convolution(relu=False, bias=True, bits=None):
    """A convolution, its normalization and a sum, or an activation of ``bits``."""
    x = tf.constant(IMAGES)
    with argscope(BatchNorm, epsilon=1e-2), TowerContext("", is_training=False):
        y = Conv2D("conv", x, 6, 3, strides=2, use_bias=bias)
        if bits is not None:
            return batch_norm("bn", y, ClipAndQuantize(bits))
        return add(batch_norm("bn", y), tf.constant(IMAGES[:, ::2, ::2]), relu)


@pytest.mark.parametrize(
    "arguments", [dict(), dict(relu=True), dict(bias=False), dict(bits=32), dict(bits=4)], ids=str
)
def test_towers_that_infer_join_a_convolution_with_what_follows(arguments, sess):
    plain = with_convolution(**arguments)
    with quantize_once(), tf.variable_scope("", reuse=True):
        own = with_convolution(**arguments)
    assert "SspqConvNorm" in norm_ops()
    rng = np.random.RandomState(2)
    for v in tf.global_variables():
        v.load(rng.uniform(0.5, 1.5, v.shape.as_list()), sess)
    got, wanted = sess.run([own, plain])
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_a_sum_may_be_added_to_again(sess):
    with quantize_once(), TowerContext("", is_training=False):
        y = batch_norm("bn", Conv2D("conv", tf.constant(IMAGES), 6, 1))
        once = add(y, tf.constant(IMAGES))
        twice = add(once, tf.constant(IMAGES))
    sess.run(tf.global_variables_initializer())
    once, twice = sess.run([once, twice])
    np.testing.assert_array_equal(twice, once + IMAGES)


MODELS = {
    "L-SSPQ18 A32": lambda: sspq.ImageNetSSPQ("resnet_model3", depth=18, image_size=64),
    "L-SSPQ18 A8": lambda: sspq.ImageNetSSPQ("resnet_model4", depth=18, image_size=64),
    "ASL18 A8": lambda: sspq.ImageNetSSPQ("resnet_model4", 18, "asl", image_size=64),
    "SSPQ34 A8": lambda: sspq.CifarSSPQ34(8, 8),
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_predictors_give_the_logits_of_the_plain_graph(name, sess):
    model = MODELS[name]()
    image, label = [tf.placeholder(s.dtype, s.shape, s.name) for s in model.inputs()]
    with TowerContext("", is_training=False):
        model.build_graph(image, label)
    with quantize_once() as quantized, tf.variable_scope("", reuse=True):
        with TowerContext("once", is_training=False):
            model.build_graph(image, label)
    assert {"SspqBatchNormInference", "SspqConvNorm"} <= norm_ops()
    golden.load_golden_weights(sess)
    quantized.refresh(sess)
    images, _ = weights.images(2, image.shape.as_list()[1])
    plain, once = [sess.run(n, {image: images}) for n in ("logits:0", "once/logits:0")]
    if "A32" in name:
        np.testing.assert_allclose(once, plain, rtol=0, atol=1e-5 * np.abs(plain).max())
    else:  # sums that differ by rounding put single activations on another level
        assert np.corrcoef(once.ravel(), plain.ravel())[0, 1] > 0.999
