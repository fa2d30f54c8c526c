"""Checkpoints to export: golden weights in the real graphs."""

import copy
import json
import os

import numpy as np

from sspq import models
from sspq.analysis.layers import inference_graph
from sspq.checkpoints.source import Checkpoint
from sspq.compat import tf
from sspq.export.packed.pack import pack
from sspq.files import write_json
from sspq.inference.predictor import of_checkpoint
from tests.graphs.golden import load, load_golden_weights


def unchanged(sess):
    """Leaves a checkpoint's golden weights as they are."""


def save(folder, model, change=unchanged):
    """Writes a checkpoint and run.json as a training script leaves them."""
    graph, saver = _graph_of(model)
    prefix = os.path.join(str(folder), "model-7")
    with graph.as_default(), tf.Session() as sess:
        load_golden_weights(sess)
        change(sess)
        saver.save(sess, prefix, write_meta_graph=False)
    write_json(os.path.join(str(folder), "run.json"), dict(model.describe(), step="S1"))
    return Checkpoint(model, prefix, None)


_GRAPHS = {}


def _graph_of(model):
    """A graph with the model's variables, built once for all bits, and its saver."""
    described = {k: v for k, v in models.identity(model).items() if k not in ("bits", "variant")}
    blocks = getattr(model, "num_blocks", None)
    key = json.dumps([described, model.data_format, blocks], sort_keys=True)
    if key not in _GRAPHS:
        graph = inference_graph(model)
        with graph.as_default():
            _GRAPHS[key] = graph, tf.train.Saver(max_to_keep=None)
    return _GRAPHS[key]


class Saved:
    """A model's checkpoint with golden weights, and what is often made of it, once."""

    def __init__(self, folder, model, change):
        with tf.Graph().as_default():
            self.source = save(folder, model, change)
        self._packed = self._logits = None

    @property
    def model(self):
        return self.source.model

    @property
    def images(self):
        return noise(self.model, 8)

    @property
    def logits(self):
        """The checkpoint's, of ``images``."""
        if self._logits is None:
            self._logits = of_checkpoint(self.source).logits(self.images)
        return self._logits

    @property
    def packed(self):
        """A copy that may be changed."""
        if self._packed is None:
            self._packed = pack(self.source)
        return copy.deepcopy(self._packed)


def small(**settings):
    """SSPQ34 for ten classes."""
    return models.build("sspq34", num_classes=10, **settings)


def noise(model, count=2):
    spec = model.inputs()[0]
    shape = [count] + spec.shape.as_list()[1:]
    values = np.random.RandomState(3).randint(0, 256, shape)
    return values.astype(spec.dtype.as_numpy_dtype)


def one_nan(name):
    """Sets the first value of a variable to NaN, as in a network that has diverged."""

    def change(sess):
        (variable,) = [v for v in tf.global_variables() if v.op.name == name]
        values = sess.run(variable)
        values.flat[0] = np.nan
        variable.load(values, sess)

    return change


def every_kind_of_shift(sess, fractions=True):
    """Sets all shifts to whole and broken pixels, within one, beyond one and beyond the image."""
    kinds = [0, 1, -1, 2, -3, 31, -40, 1e9, -1e9]
    if fractions:
        kinds += [0.25, -0.6, 1.5, -2.75, 30.5]
    shifts = {}
    for variable in tf.global_variables():
        if variable.op.name.endswith("SP/SP"):
            channels, k = variable.shape.as_list()[1], len(shifts)
            along = [np.resize(np.roll(kinds, k + turn), channels) for turn in (0, 5)]
            shifts[variable] = np.array(along, np.float32)
    load(sess, shifts)
