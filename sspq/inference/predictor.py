"""Predictors of a checkpoint, a packed file or an ONNX file, alike to their callers."""

import json
import os
from typing import Any, Callable, NamedTuple, Optional

import numpy as np
from tensorpack.predict import PredictConfig
from tensorpack.tfutils.sessinit import SessionInit
from tensorpack.tfutils.varmanip import SessionUpdate

from sspq import models
from sspq.analysis.layers import read_layers
from sspq.checkpoints.restore import ExactRestore
from sspq.checkpoints.source import Checkpoint, open_checkpoint
from sspq.compat import tf
from sspq.export.onnx.builder import METADATA
from sspq.export.packed import container
from sspq.export.packed.pack import model_of, values_of
from sspq.models.classifier import Classifier
from sspq.training.inference import OfflinePredictor
from sspq.training.session import session_creator


class Predictor(NamedTuple):
    """A model that is ready to infer.

    Attributes:
        model: model of the file.
        logits: function from a batch of input images of the model to logits ``[N, num_classes]``.
        kind: kind of the file: "checkpoint", "packed" or "onnx".
    """

    model: Classifier
    logits: Callable[[np.ndarray], np.ndarray]
    kind: str


def load(path: str, name: Optional[str] = None, **settings: Any) -> Predictor:
    """The predictor of a checkpoint, a packed file or an ONNX file.

    Args:
        path: path of a file that ends in ``.safetensors`` or ``.onnx``, or of a checkpoint, see
            :func:`sspq.checkpoints.source.open_checkpoint`.
        name: name of the model of a checkpoint, one of :data:`sspq.models.MODELS` (default: the
            model that ``run.json`` describes). Other files name their model themselves.
        settings: settings of the model of a checkpoint; ``data_format`` of a packed file; none of
            an ONNX file.

    Raises:
        ValueError: the file is missing or damaged, or has no such setting.
    """
    if path.endswith((container.ENDING, ".onnx")):
        packed = path.endswith(container.ENDING)
        if name is not None or set(settings) - ({"data_format"} if packed else set()):
            raise ValueError(f"{path} names its model and settings itself; drop the options")
        if path.endswith(".onnx"):
            return of_onnx(path)
        return of_packed(container.read(path), **settings)
    return of_checkpoint(open_checkpoint(path, name, **settings))


def of_checkpoint(source: Checkpoint) -> Predictor:
    """The predictor of a checkpoint."""
    restore = ExactRestore(source.prefix, parameters_only=True)
    return Predictor(source.model, _tensorflow(source.model, restore), "checkpoint")


def of_packed(packed: container.Packed, **settings: Any) -> Predictor:
    """The predictor of the content of a packed file, in the graph without weight quantizers."""
    model = model_of(packed, **settings)
    return Predictor(model, _tensorflow(model, _PackedRestore(packed, model)), "packed")


class _PackedRestore(SessionInit):
    """Loads the values of a packed file into a graph of its model."""

    def __init__(self, packed: container.Packed, model: Classifier) -> None:
        self._packed = packed
        self._model = model

    def _run_init(self, sess: Any) -> None:
        values = values_of(self._packed, read_layers(self._model, sess.graph))
        variables = tf.global_variables()
        SessionUpdate(sess, variables).update({v.name: values[v.op.name] for v in variables})


def of_onnx(path: str) -> Predictor:
    """The predictor of a file of :func:`sspq.export.onnx.graph.save`, in ONNX Runtime on the CPU.

    Raises:
        ValueError: the file is missing, cannot be loaded or was not written by sspq, or the package
            onnxruntime is missing.
    """
    if not os.path.isfile(path):
        raise ValueError(f"there is no file {path}")
    try:
        import onnxruntime
    except ImportError as e:
        raise ValueError(
            f"running {path} needs the package onnxruntime: pip install -r requirements/onnx.txt"
        ) from e
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        described = session.get_modelmeta().custom_metadata_map[METADATA]
        model = models.rebuild(json.loads(described))
    except KeyError as e:
        raise ValueError(
            f"{path}: metadata `{METADATA}` is missing: the file was not written by sspq"
        ) from e
    except Exception as e:  # onnxruntime has no common class of errors
        raise ValueError(f"{path}: cannot be loaded: {e}") from e
    return Predictor(model, lambda images: session.run(["logits"], {"input": images})[0], "onnx")


def _tensorflow(model: Classifier, restore: SessionInit) -> Callable[[np.ndarray], np.ndarray]:
    predictor = OfflinePredictor(
        PredictConfig(
            model=model,
            session_init=restore,
            input_names=["input"],
            output_names=["logits"],
            session_creator=session_creator(),
        )
    )
    return lambda images: predictor(images)[0]
