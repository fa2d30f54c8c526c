"""Compares models with values that were computed from the released graphs."""

import json
import os

import numpy as np
from tensorpack.tfutils.tower import TowerContext

from sspq.compat import tf
from sspq.graphs.quantized import QUANTIZED_WEIGHTS
from tests.golden import weights
from tests.graphs.nhwc import as_nhwc

FOLDER = os.path.join(os.path.dirname(__file__), "..", "golden")


def read(name):
    with open(os.path.join(FOLDER, name + ".json")) as f:
        return json.load(f)


def load(sess, values):
    """Sets variables, ``{variable: array}``.

    All initializers in one run: loading one by one makes TensorFlow optimize the graph anew for
    each.
    """
    feeds = {v.initializer.inputs[1]: value for v, value in values.items()}
    sess.run([v.initializer for v in values], feeds)


def load_golden_weights(sess):
    variables = tf.global_variables()
    load(sess, {v: weights.value(v.op.name, v.shape.as_list()) for v in variables})


class Built:
    """A model built on shared variables to train and, when asked for, to infer; a batch for it."""

    def __init__(self, sess, model, images, labels):
        self.sess = sess
        self._model, self._eval_cost = model, None
        image, label = [tf.placeholder(s.dtype, s.shape, s.name) for s in model.inputs()]
        self.feed = {image: images.astype(image.dtype.as_numpy_dtype), label: labels}
        with TowerContext("", is_training=True):
            self.train_cost = model.build_graph(image, label)
        self.trainable = tf.trainable_variables()
        self.quantized = tf.get_collection(QUANTIZED_WEIGHTS)

    @property
    def eval_cost(self):
        if self._eval_cost is None:
            with tf.variable_scope("", reuse=True), TowerContext("infer", is_training=False):
                self._eval_cost = self._model.build_graph(*self.feed)
        return self._eval_cost

    @property
    def logits(self):
        return self.eval_cost.graph.get_tensor_by_name("infer/logits:0")

    def load(self):
        load_golden_weights(self.sess)

    def gradient_norms(self):
        return self.run([tf.norm(g) for g in tf.gradients(self.train_cost, self.trainable)])

    def variables(self):
        return variables(self.trainable)

    def parameters(self):
        return sum(int(np.prod(v.shape)) for v in self.trainable)

    def run(self, fetches):
        return self.sess.run(fetches, self.feed)

    def inferred_activations(self):
        """What the activation quantizers round to when inferring, of 0 to 2**bits - 1."""
        return self.run(
            [
                op.outputs[0]
                for op in self.eval_cost.graph.get_operations()
                if op.type == "Rint" and op.name.startswith("infer/")
            ]
        )


def variables(trainable):
    """[name, shape, whether it is trainable] of all variables, as the golden files hold them."""
    return [[v.op.name, v.shape.as_list(), v in set(trainable)] for v in tf.global_variables()]


def check_values(built, expected, rounded):
    """Fails unless logits, costs and gradients are the golden ones.

    Activations that are ``rounded`` fall on either side of a boundary, and the difference grows
    from layer to layer.
    """
    logits, eval_cost, train_cost = built.run([built.logits, built.eval_cost, built.train_cost])
    wanted = [expected["grad_norm"][v.op.name] for v in built.trainable]
    error = np.median(np.abs(np.array(built.gradient_norms()) / np.array(wanted) - 1))
    first = np.array(expected["logits"])
    if not rounded:
        np.testing.assert_allclose(logits[:, :10], first, atol=1e-5 * np.abs(first).max())
        np.testing.assert_allclose(np.linalg.norm(logits), expected["logits_norm"], rtol=1e-5)
        np.testing.assert_allclose(eval_cost, expected["eval_cost"], rtol=1e-5)
        np.testing.assert_allclose(train_cost, expected["train_cost"], rtol=1e-3)
        assert error < 1e-2
    else:
        assert np.corrcoef(logits[:, :10].ravel(), first.ravel())[0, 1] > 0.97
        np.testing.assert_allclose(eval_cost, expected["eval_cost"], rtol=0.02)
        np.testing.assert_allclose(train_cost, expected["train_cost"], rtol=0.02)
        assert error < 0.15


def inferred_in_layout(data_format, model_of, images, **arguments):
    """Logits with golden weights.

    TensorFlow's CPU kernels refuse NCHW, so that graph runs with its NCHW nodes transposed.
    """
    model = model_of(data_format=data_format, **arguments)
    with tf.Graph().as_default() as graph, tf.Session() as sess:
        image, label = [tf.placeholder(s.dtype, s.shape, s.name) for s in model.inputs()]
        with TowerContext("", is_training=False):
            model.build_graph(image, label)
        load_golden_weights(sess)
        inference = tf.graph_util.convert_variables_to_constants(
            sess, graph.as_graph_def(), ["logits"]
        )
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.import_graph_def(as_nhwc(inference), name="")
        return sess.run("logits:0", {"input:0": images})


def check_layouts(rounded, *args, **arguments):
    """Fails unless both layouts infer the same."""
    nhwc, nchw = [inferred_in_layout(f, *args, **arguments) for f in ("NHWC", "NCHW")]
    if rounded:
        assert np.corrcoef(nchw.ravel(), nhwc.ravel())[0, 1] > 0.97
    else:
        np.testing.assert_allclose(nchw, nhwc, atol=1e-5 * np.abs(nhwc).max())
