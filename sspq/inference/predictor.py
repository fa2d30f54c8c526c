"""Logits of images from a checkpoint, a packed file or an ONNX file alike."""

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
        model: what it was made from.
        logits: of the model's input images, ``[N, num_classes]``.
        kind: "checkpoint", "packed" or "onnx".
    """

    model: Classifier
    logits: Callable[[np.ndarray], np.ndarray]
    kind: str


def load(path: str, name: Optional[str] = None, **settings: Any) -> Predictor:
    """Opens any of them.

    Args:
        path: of a file that ends in ``.safetensors`` or ``.onnx``, or of a checkpoint, see
            :func:`sspq.checkpoints.source.open_checkpoint`.
        name, settings: of the model; files that hold it accept no other, packed ones
            ``data_format``.

    Raises:
        ValueError: there is no such model, or it is damaged.
    """
    if path.endswith((container.ENDING, ".onnx")):
        packed = path.endswith(container.ENDING)
        if name is not None or set(settings) - ({"data_format"} if packed else set()):
            raise ValueError(f"{path} says itself which model it is; drop the options")
        if path.endswith(".onnx"):
            return of_onnx(path)
        return of_packed(container.read(path), **settings)
    return of_checkpoint(open_checkpoint(path, name, **settings))


def of_checkpoint(source: Checkpoint) -> Predictor:
    """A checkpoint, its weights quantized once."""
    restore = ExactRestore(source.prefix, parameters_only=True)
    return Predictor(source.model, _tensorflow(source.model, restore), "checkpoint")


def of_packed(packed: container.Packed, **settings: Any) -> Predictor:
    """A packed file's content, in the same graph without weight quantizers."""
    model = model_of(packed, **settings)
    return Predictor(model, _tensorflow(model, _PackedRestore(packed, model)), "packed")


class _PackedRestore(SessionInit):
    """Loads a packed file's values into a graph of its model."""

    def __init__(self, packed: container.Packed, model: Classifier) -> None:
        self._packed = packed
        self._model = model

    def _run_init(self, sess: Any) -> None:
        values = values_of(self._packed, read_layers(self._model, sess.graph))
        variables = tf.global_variables()
        SessionUpdate(sess, variables).update({v.name: values[v.op.name] for v in variables})


def of_onnx(path: str) -> Predictor:
    """A file of :func:`sspq.export.onnx.graph.save`, in ONNX Runtime on the CPU.

    Raises:
        ValueError: it is missing, cannot be loaded, was not written by sspq, or onnxruntime is not
            installed.
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
        raise ValueError(f"{path}: was not written by sspq: it says not which model it is") from e
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
