"""A checkpoint together with the model that it belongs to."""

import os
from typing import Any, Dict, NamedTuple, Optional, Tuple

import numpy as np

from sspq import checkpoints, models
from sspq.analysis.layers import inference_graph
from sspq.compat import tf
from sspq.files import read_json
from sspq.graphs.quantized import QUANTIZED_WEIGHTS
from sspq.models.classifier import Classifier
from sspq.runs.folder import REPORT, SETTINGS
from sspq.runs.schema import NUMBER_OR_NULL, check_fields

Values = Dict[str, np.ndarray]


class Checkpoint(NamedTuple):
    """A checkpoint with the model that it belongs to.

    Attributes:
        prefix: prefix of its files.
        top1: in percent as its run reports it, None if that is not known.
    """

    model: Classifier
    prefix: str
    top1: Optional[float]


def open_checkpoint(path: str, name: Optional[str] = None, **settings: Any) -> Checkpoint:
    """Finds a checkpoint and rebuilds its model.

    Args:
        path: a folder (its newest complete checkpoint), a prefix or one of the files behind it.
        name: key of :data:`sspq.models.MODELS` (default: None, the model that ``run.json`` beside
            the checkpoint describes).
        settings: arguments of the model that override those.

    Raises:
        ValueError: no checkpoint is complete, nothing says which model it belongs to, or the
            report of the run is damaged.
    """
    prefix = checkpoints.resolve(path, "checkpoint")
    folder = os.path.dirname(prefix)
    if name is not None:
        return Checkpoint(models.build(name, **settings), prefix, None)
    run = read_json(os.path.join(folder, SETTINGS))
    if run is None:
        raise ValueError(
            f"{path}: there is no {SETTINGS} beside the checkpoint that says which model it is "
            "of; name it by --model"
        )
    model, top1 = models.rebuild(run, **settings), None
    file = os.path.join(folder, REPORT)
    report = read_json(file)
    if report is not None and not settings and prefix == checkpoints.last_complete(folder):
        check_fields(file, report, {"top1": NUMBER_OR_NULL})
        top1 = report["top1"]
    return Checkpoint(model, prefix, top1)


def check_fits(source: Checkpoint, graph: Any) -> None:
    """Raises ValueError unless the checkpoint has exactly the variables of its model's graph."""
    with graph.as_default():
        checkpoints.ExactRestore(source.prefix, parameters_only=True)._setup_graph()


def read_values(source: Checkpoint, graph: Any = None) -> Tuple[Values, Values]:
    """All variables of a checkpoint, and of the quantized ones what the graph computes with.

    ``graph`` is :func:`sspq.analysis.layers.inference_graph` of its model, if there is one already.
    """
    if graph is None:
        graph = inference_graph(source.model)
    with graph.as_default(), tf.Session() as sess:
        checkpoints.ExactRestore(source.prefix, parameters_only=True).init(sess)
        variables = sess.run({v.op.name: v for v in tf.global_variables()})
        pairs = tf.get_collection(QUANTIZED_WEIGHTS)
        quantized = sess.run({v.op.name: tensor for v, tensor in pairs})
    return variables, quantized
