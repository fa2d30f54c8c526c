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
