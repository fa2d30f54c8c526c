"""Builder of an ONNX graph: its nodes, its constants, and the model of them."""

import json
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

from sspq.files import write_atomically

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError:  # require_onnx raises the error
    onnx = None  # type: ignore[assignment]

OPSET = 13
IR_VERSION = 7  # as old as the opset, so that old runtimes read it
METADATA = "sspq"  # key of the description of the model
LOGITS = "logits"


class ExportError(ValueError):
    """The operators of ONNX do not express the model, or a package is missing."""


def require_onnx() -> None:
    """Raises ExportError, with the command that installs it, if the package onnx is missing."""
    if onnx is None:
        raise ExportError(
            "exporting to ONNX needs the package onnx: pip install -r requirements/onnx.txt"
        )


def write_model(path: str, model: Any) -> int:
    """Checks an ``onnx.ModelProto`` and writes it, whole or not at all.

    Args:
        path: path of the file.
        model: model to write.

    Returns:
        The size of the file in bytes.
    """
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
        """Adds a constant, unless the graph has one of the name; returns its name."""
        name = name.replace(":0", "")
        if name not in self.initializers:
            array = np.ascontiguousarray(value).reshape(np.shape(value))
            self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Adds a node of one output; returns the name of the output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def model(self, image: Any, classes: int, description: Mapping[str, Any]) -> Any:
        """The ``onnx.ModelProto`` of the nodes and the constants that they read.

        Args:
            image: ValueInfoProto of the input.
            classes: number of classes of the output LOGITS.
            description: description of the model, stored as JSON.
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
