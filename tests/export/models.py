"""Checkpoints to export: golden weights in the real graphs."""

import os

import numpy as np

from sspq import models
from sspq.compat import tf
from sspq.export.source import Checkpoint
from sspq.files import write_json
from sspq.report.layers import inference_graph
from tests.graphs.golden import load_golden_weights


def save(folder, model, change=lambda sess: None):
    """Writes a checkpoint and run.json as a training script leaves them."""
    graph = inference_graph(model)
    prefix = os.path.join(str(folder), "model-7")
    with graph.as_default(), tf.Session() as sess:
        load_golden_weights(sess)
        change(sess)
        tf.train.Saver().save(sess, prefix, write_meta_graph=False)
    write_json(os.path.join(str(folder), "run.json"), dict(model.describe(), step="S1"))
    return Checkpoint(model, prefix, None)


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
    shifts = [v for v in tf.global_variables() if v.op.name.endswith("SP/SP")]
    for k, variable in enumerate(shifts):
        channels = variable.shape.as_list()[1]
        along = [np.resize(np.roll(kinds, k + turn), channels) for turn in (0, 5)]
        variable.load(np.array(along, np.float32), sess)
