"""A short training costs the same with this package's ops and with TensorFlow's."""

import numpy as np
import pytest
from tensorpack.models import Conv2D, GlobalAvgPooling, MaxPooling
from tensorpack.tfutils.tower import TowerContext

from sspq.compat import tf
from sspq.graphs.norm import ClipAndQuantize, batch_norm, bn_relu
from sspq.layers import Shift2D
from sspq.models.cifar import SMALL_IMAGES
from sspq.models.classifier import DECAY_KERNELS, Classifier
from sspq.quantizers.scope import weight_bits
from tests.tiny import tiny_digits

OWN = {
    "SspqBatchNorm",
    "SspqConvBackpropFilter",
    "SspqConvBackpropInput",
    "SspqDorefaWeight",
    "SspqMaxPoolGrad",
}
STEPS = 20


class Shallow(Classifier):
    """What L-SSPQ is made of, so short that rounding does not grow from step to step."""

    def __init__(self, bita):
        bits = weight_bits("imagenet", "paper", 4)
        super().__init__(bits, 10, "NHWC", SMALL_IMAGES, DECAY_KERNELS, True)
        self.activate = ClipAndQuantize(bita)
        self.base_lr = 0.01

    def logits(self, image):
        x = Conv2D("conv0", image / 255.0, 16, 7, strides=2, use_bias=False, activation=bn_relu)
        x = MaxPooling("pool0", x, 3, strides=2, padding="SAME")
        x = Conv2D("conv1x1a", x, 24, 1, use_bias=False)
        x = batch_norm("stembn", x, self.activate)
        x = Shift2D("shift_q", x, 2, 24, stride=2, data_format="NHWC", lr_mult=0.01)
        x = Conv2D("conv1x1b", x, 10, 1, strides=2, use_bias=False)
        return GlobalAvgPooling("gap", batch_norm("stembn2", x))

    def describe(self):
        return {"model": "shallow"}


def costs(bita):
    """The cost of each step, and the types of the graph's ops."""
    data, rng = tiny_digits(), np.random.RandomState(0)
    with tf.Graph().as_default() as graph, tf.Session() as sess:
        model = Shallow(bita)
        inputs = [tf.placeholder(s.dtype, s.shape, s.name) for s in model.inputs()]
        with TowerContext("", is_training=True):
            cost = model.build_graph(*inputs)
        optimizer = model.optimizer()
        gradients = optimizer.compute_gradients(cost)
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            step = optimizer.apply_gradients(gradients)
        sess.run(tf.global_variables_initializer())
        for v in tf.trainable_variables():
            if v.shape.ndims > 1:
                v.load(rng.uniform(-0.7, 0.7, v.shape.as_list()), sess)
        batches = [rng.choice(len(data.train_labels), 16, replace=False) for _ in range(STEPS)]
        found = []
        for batch in batches:
            feed = dict(zip(inputs, (data.train_images[batch], data.train_labels[batch])))
            found.append(sess.run([cost, step], feed)[0])
        return np.array(found), {op.type for op in graph.get_operations()}


@pytest.mark.parametrize("bita", [32, 8])
def test_a_short_training_costs_what_it_does_with_tensorflow_s_ops(bita, monkeypatch):
    own, types = costs(bita)
    assert types >= OWN
    monkeypatch.setenv("SSPQ_OPS", "tensorflow")
    theirs, types = costs(bita)
    assert not types & OWN
    assert own[-1] < own[0]
    # Where activations are rounded, sums that differ by rounding put single ones on another level.
    np.testing.assert_allclose(own, theirs, rtol=1e-4 if bita == 32 else 1e-2)
