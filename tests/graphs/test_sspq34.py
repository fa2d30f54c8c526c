"""SSPQ34 against values computed from the released graphs."""

import json
import os

import numpy as np
import pytest
from tensorpack.tfutils.tower import TowerContext

import sspq
from sspq.compat import tf
from sspq.graphs.quantized import QUANTIZED_WEIGHTS
from tests.golden import weights
from tests.graphs.nhwc import as_nhwc

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "golden")
# (file, activation bits, variant)
CASES = [
    ("cifar-s1-paper", 32, "paper"),
    ("cifar-s1-released", 32, "released"),
    ("cifar-s2-paper", 8, "paper"),
]
IMAGES, LABELS = weights.images(4, 32)


def golden(name):
    with open(os.path.join(GOLDEN, name + ".json")) as f:
        return json.load(f)


class Built:
    """A model built twice on shared variables, to train and to infer, with golden weights."""

    def __init__(self, sess, **arguments):
        self.sess = sess
        model = sspq.CifarSSPQ34(**arguments)
        image = tf.placeholder(tf.float32, [None, 32, 32, 3], "image")
        label = tf.placeholder(tf.int32, [None], "label")
        self.feed = {image: IMAGES.astype(np.float32), label: LABELS}
        with TowerContext("", is_training=True):
            self.train_cost = model.build_graph(image, label)
        self.trainable = tf.trainable_variables()
        self.quantized = tf.get_collection(QUANTIZED_WEIGHTS)
        with tf.variable_scope("", reuse=True), TowerContext("infer", is_training=False):
            self.eval_cost = model.build_graph(image, label)
        self.logits = sess.graph.get_tensor_by_name("infer/logits:0")

    def gradient_norms(self):
        return self.run([tf.norm(g) for g in tf.gradients(self.train_cost, self.trainable)])

    def load(self):
        # All initializers in one run: loading one by one makes TensorFlow optimize the graph anew
        # for each.
        variables = tf.global_variables()
        values = {
            v.initializer.inputs[1]: weights.value(v.op.name, v.shape.as_list()) for v in variables
        }
        self.sess.run([v.initializer for v in variables], values)

    def variables(self):
        trainable = set(self.trainable)
        return [[v.op.name, v.shape.as_list(), v in trainable] for v in tf.global_variables()]

    def run(self, fetches):
        return self.sess.run(fetches, self.feed)


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name, bita, variant", CASES)
def test_variables_are_exactly_the_released_graph_s(name, bita, variant, data_format, sess):
    built = Built(sess, bita=bita, variant=variant, data_format=data_format)
    assert built.variables() == golden(name)["variables"]


@pytest.mark.parametrize("name, bita, variant", CASES)
def test_values_and_gradients_are_the_released_graph_s(name, bita, variant, sess):
    expected = golden(name)
    built = Built(sess, bita=bita, variant=variant)
    built.load()
    logits, eval_cost, train_cost = built.run([built.logits, built.eval_cost, built.train_cost])
    norms = built.gradient_norms()
    wanted = [expected["grad_norm"][v.op.name] for v in built.trainable]
    error = np.median(np.abs(np.array(norms) / np.array(wanted) - 1))
    first = np.array(expected["logits"])
    if bita == 32:
        np.testing.assert_allclose(logits[:, :10], first, atol=1e-5 * np.abs(first).max())
        np.testing.assert_allclose(np.linalg.norm(logits), expected["logits_norm"], rtol=1e-5)
        np.testing.assert_allclose(eval_cost, expected["eval_cost"], rtol=1e-5)
        np.testing.assert_allclose(train_cost, expected["train_cost"], rtol=1e-3)
        assert error < 1e-2
    else:  # rounded activations fall on either side of a boundary
        assert np.corrcoef(logits[:, :10].ravel(), first.ravel())[0, 1] > 0.97
        np.testing.assert_allclose(eval_cost, expected["eval_cost"], rtol=0.02)
        np.testing.assert_allclose(train_cost, expected["train_cost"], rtol=0.02)
        assert error < 0.15


@pytest.mark.parametrize("bita", [32, 8])
def test_both_layouts_compute_the_same(bita):
    """TensorFlow's CPU kernels refuse NCHW, so that graph runs with its NCHW nodes transposed."""
    logits = {}
    for data_format in ("NHWC", "NCHW"):
        with tf.Graph().as_default() as graph, tf.Session() as sess:
            built = Built(sess, bita=bita, data_format=data_format)
            built.load()
            inference = tf.graph_util.convert_variables_to_constants(
                sess, graph.as_graph_def(), ["infer/logits"]
            )
        with tf.Graph().as_default(), tf.Session() as sess:
            tf.import_graph_def(as_nhwc(inference), name="")
            logits[data_format] = sess.run("infer/logits:0", {"image:0": IMAGES.astype(np.float32)})
    scale = np.abs(logits["NHWC"]).max()
    if bita == 32:
        np.testing.assert_allclose(logits["NCHW"], logits["NHWC"], atol=1e-5 * scale)
    else:
        assert np.corrcoef(logits["NCHW"].ravel(), logits["NHWC"].ravel())[0, 1] > 0.97


def test_activations_take_only_their_levels(sess):
    built = Built(sess, bita=2)
    built.load()
    rounded = [
        op.outputs[0]
        for op in sess.graph.get_operations()
        if op.type == "Round" and op.name.startswith("infer/")
    ]
    # 15 in blocks, 12 pre-activations, 4 at the ends of groups, conv6 and conv7.
    assert len(rounded) == 33
    for value in built.run(rounded):
        assert set(np.unique(value)) <= {0, 1, 2, 3}


@pytest.mark.parametrize("bits, most", [(1, 2), (4, 16), (8, 256)])
def test_quantized_kernels_take_only_their_levels(bits, most, sess):
    built = Built(sess, bitw=bits)
    built.load()
    assert len(built.quantized) == 34
    for (v, _), value in zip(built.quantized, sess.run([q for _, q in built.quantized])):
        assert len(np.unique(value)) <= most, v.op.name


def test_quantized_gradients_reach_every_parameter(sess):
    built = Built(sess, bitg=6)
    built.load()
    norms = built.gradient_norms()
    assert np.isfinite(norms).all() and np.count_nonzero(norms) == len(norms)


def test_weight_decay_can_leave_the_shifts_out(sess):
    built = Built(sess, shift_decay=False)
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


def test_there_are_162244_parameters(sess):
    built = Built(sess)
    assert sum(int(np.prod(v.shape)) for v in built.trainable) == 162244


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
