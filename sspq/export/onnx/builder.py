"""Nodes and constants of an ONNX graph, and the model that they make."""

import json
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

from sspq.files import write_atomically

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError:  # told when it is needed
    onnx = None  # type: ignore[assignment]

OPSET = 13
IR_VERSION = 7  # of that opset's time; older runtimes read it
METADATA = "sspq"
LOGITS = "logits"


class ExportError(ValueError):
    """The model has something that ONNX's operators do not express, or onnx is not installed."""


def require_onnx() -> None:
    """Raises ExportError with what to do, unless onnx is installed."""
    if onnx is None:
        raise ExportError(
            "exporting to ONNX needs the package onnx: pip install -r requirements/onnx.txt"
        )


def write_model(path: str, model: Any) -> int:
    """Checks an ``onnx.ModelProto`` and writes it, whole or not at all; returns its bytes."""
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    write_atomically(path, data)
    return len(data)


class Builder:
    """Gathers the nodes of a graph, in their order, and its constants."""

    def __init__(self) -> None:
        self.nodes: List[Any] = []
        self.initializers: Dict[str, Any] = {}

    def constant(self, name: str, value: Any) -> str:
        """Adds a constant, unless there is one of that name; returns its name."""
        name = name.replace(":0", "")
        if name not in self.initializers:
            array = np.ascontiguousarray(value).reshape(np.shape(value))
            self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Adds a node of one output; returns that output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def model(self, image: Any, classes: int, description: Mapping[str, Any]) -> Any:
        """The ``onnx.ModelProto`` of one image input, a ValueInfoProto, and the output LOGITS.

        Constants that no node reads are left out.
        """
        logits = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["N", classes])
        read = {name for node in self.nodes for name in node.input}
        graph = helper.make_graph(
            self.nodes,
            "sspq",
            [image],
            [logits],
            [t for name, t in self.initializers.items() if name in read],
        )
        model = helper.make_model(
            graph,
            producer_name="sspq",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        helper.set_model_props(model, {METADATA: json.dumps(description, sort_keys=True)})
        return model
