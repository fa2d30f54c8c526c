"""Order of nodes: the image is transposed to NCHW while its values are bytes."""

from sspq.export.onnx.builder import Builder

try:
    from onnx import numpy_helper
except ImportError:  # to_onnx raises the error
    pass

_BY_VALUE = {"Cast", "Sub", "Div", "Add", "Mul"}


def transpose_first(graph: Builder) -> None:
    """Moves Transpose to NCHW ahead of operators that work value by value.

    Bytes take a quarter of the time that floats do, and runtimes subtract a mean from a plane of
    one channel faster than from channels side by side.
    """
    while any(_swap(graph, i) for i in range(len(graph.nodes) - 1)):
        pass


def _swap(graph: Builder, i: int) -> bool:
    """Swaps node i with the Transpose after it, where the result stays the same."""
    before, node = graph.nodes[i : i + 2]
    if node.op_type != "Transpose" or list(node.attribute[0].ints) != [0, 3, 1, 2]:
        return False
    readers = sum(before.output[0] in n.input for n in graph.nodes)
    if before.op_type not in _BY_VALUE or node.input[0] != before.output[0] or readers > 1:
        return False
    constants = [graph.initializers.get(name) for name in before.input[1:]]
    arrays = [numpy_helper.to_array(t) for t in constants if t is not None]
    if len(arrays) < len(constants) or any(a.ndim > 1 for a in arrays):
        return False
    for k, array in enumerate(arrays, 1):
        planes = array.reshape([-1, 1, 1])
        before.input[k] = graph.constant(before.input[k] + "/planes", planes)
    image, result = before.input[0], node.output[0]
    before.input[0] = before.name + "/planes"
    before.output[0] = result
    node.input[0], node.output[0] = image, before.input[0]
    graph.nodes[i : i + 2] = [node, before]
    return True
