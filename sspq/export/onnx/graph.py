"""A model as an ONNX graph of stock operators."""

from typing import Any

from sspq.analysis.layers import data_path
from sspq.export.onnx.builder import require_onnx, write_model
from sspq.export.onnx.translator import Translator
from sspq.export.packed.container import Packed
from sspq.export.packed.pack import unpack


def to_onnx(packed: Packed, integers: bool = True) -> Any:
    """The packed model as an ``onnx.ModelProto``, of any number of images.

    Input ``input`` as the model has it (``[N, H, W, 3]``), output ``logits``. A shift becomes the
    depthwise convolution that it is for the learned values, a clip one operator, and a batch
    normalization that no convolution precedes a depthwise 1x1 convolution, so that runtimes fuse
    the activation into it. The rest keeps its own node: runtimes fold it into the convolution.

    Args:
        packed: content of a packed file.
        integers: whether quantized kernels are stored as 8-bit integers, from which the graph
            computes their values, see :mod:`sspq.export.onnx.kernels`; else they are stored as
            float32 (default: True). The values are exactly those of TensorFlow, either way.

    Raises:
        ExportError: the graph has an op that cannot be exported, or the package onnx is missing.
        PackedFileError: the tensors are not those of the model.
    """
    require_onnx()
    model, values, graph = unpack(packed, data_format="NCHW")
    image = graph.get_tensor_by_name(model.inputs()[0].name + ":0")
    logits = graph.get_tensor_by_name("logits:0")
    translator = Translator(values, packed.tensors if integers else {})
    for op in data_path(graph, image.op, logits.op):
        translator.translate(op)
    return translator.finish(image, logits, packed.model)


def save(path: str, packed: Packed) -> int:
    """Writes :func:`to_onnx` to a file, whole or not at all; returns its size in bytes."""
    return write_model(path, to_onnx(packed))
