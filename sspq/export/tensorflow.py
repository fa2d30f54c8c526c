"""A model as a TensorFlow graph of constants, for a TensorFlow without this package."""

import os
import shutil
from typing import Any, Dict, List, Tuple

from sspq.compat import tf
from sspq.export.packed.container import Packed
from sspq.export.packed.pack import unpack
from sspq.export.shift_kernel import shift_kernel
from sspq.files import temporary_name, write_atomically, write_json

INPUT, OUTPUTS = "input", ("logits", "probabilities")
# The description of the model, in a folder that TensorFlow leaves to others.
DESCRIPTION = os.path.join("assets.extra", "sspq.json")

_SHIFT = "SspqShift2D"


class FrozenGraphError(ValueError):
    """The ops of TensorFlow do not express the model, or the output exists already."""


def freeze(packed: Packed, keep_shift: bool = False) -> Any:
    """The packed model as a ``GraphDef`` without variables and training nodes, in NHWC.

    The input is ``input`` of the model (``[N, H, W, 3]``), the outputs are ``logits`` and
    ``probabilities``, ``[N, num_classes]``. The kernels are float32 constants of quantized values;
    activations are rounded by the graph.

    Args:
        packed: content of a packed file.
        keep_shift: whether shifts stay ops ``SspqShift2D``, which are smaller and faster, but need
            the op library of this package; else each becomes the depthwise convolution that is
            equal for its learned values (default: False).

    Raises:
        FrozenGraphError: a shift is not finite, or its strides differ.
        PackedFileError: the tensors are not those of the model.
    """
    _, values, graph = unpack(packed, data_format="NHWC")
    with graph.as_default(), tf.Session() as sess:
        variables = tf.global_variables()
        sess.run(
            [v.initializer for v in variables],
            {v.initializer.inputs[1]: values[v.op.name] for v in variables},
        )
        frozen = tf.graph_util.convert_variables_to_constants(
            sess, graph.as_graph_def(), list(OUTPUTS)
        )
    if not keep_shift:
        frozen = _without_shifts(frozen)
    frozen = tf.graph_util.remove_training_nodes(frozen, protected_nodes=[INPUT, *OUTPUTS])
    for node in frozen.node:
        # The registered name of a gradient, which no other process knows.
        node.attr.pop("_gradient_op_type", None)
    return frozen


def save_graph(path: str, packed: Packed, keep_shift: bool = False) -> int:
    """Writes :func:`freeze` to a file, whole or not at all; returns its size in bytes."""
    data = freeze(packed, keep_shift).SerializeToString()
    write_atomically(path, data)
    return len(data)


def save_model(folder: str, packed: Packed, keep_shift: bool = False) -> int:
    """Writes :func:`freeze` as a SavedModel, whole or not at all; returns its size in bytes.

    The tag is ``serve``, the signature ``serving_default``. ``assets.extra/sspq.json`` describes
    the model.

    Raises:
        FrozenGraphError: ``folder`` exists already; see :func:`freeze` too.
    """
    if os.path.exists(folder):
        raise FrozenGraphError(f"{folder} exists already; name another folder")
    frozen = freeze(packed, keep_shift)
    temporary = temporary_name(folder.rstrip(os.sep))
    shutil.rmtree(temporary, ignore_errors=True)
    with tf.Graph().as_default() as graph, tf.Session() as sess:
        tf.import_graph_def(frozen, name="")
        tensors = {name: graph.get_tensor_by_name(name + ":0") for name in (INPUT, *OUTPUTS)}
        outputs = {name: tensors[name] for name in OUTPUTS}
        tf.saved_model.simple_save(sess, temporary, {INPUT: tensors[INPUT]}, outputs)
    os.mkdir(os.path.join(temporary, os.path.dirname(DESCRIPTION)))
    write_json(os.path.join(temporary, DESCRIPTION), packed.model)
    os.rename(temporary, folder)
    return sum(
        os.path.getsize(os.path.join(place, name))
        for place, _, names in os.walk(folder)
        for name in names
    )


def _without_shifts(frozen: Any) -> Any:
    """The same graph with a depthwise convolution for each shift."""
    replaced = _convolutions(frozen)
    result = tf.GraphDef(versions=frozen.versions)
    for node in frozen.node:
        if node.op != _SHIFT:
            result.node.add().CopyFrom(node)
            continue
        for part in replaced[node.name]:
            part.input[:] = [node.input[0] if i == _input_of(node) else i for i in part.input]
            result.node.add().CopyFrom(part)
    return result


def _input_of(node: Any) -> str:
    return node.name + "/x"


def _convolutions(frozen: Any) -> Dict[str, List[Any]]:
    """The nodes that replace each shift, by its name; they read :func:`_input_of` the shift."""
    with tf.Graph().as_default() as graph, tf.Session() as sess:
        tf.import_graph_def(frozen, name="")
        ops = [op for op in graph.get_operations() if op.type == _SHIFT]
        shifts = sess.run({op.name: op.inputs[1] for op in ops})
    nodes = {}
    for op in ops:
        with tf.Graph().as_default() as own:
            x = tf.placeholder(op.inputs[0].dtype, op.inputs[0].shape, _input_of(op))
            _convolve(op, x, shifts[op.name])
        nodes[op.name] = [n for n in own.as_graph_def().node if n.op != "Placeholder"]
    return nodes


def _convolve(op: Any, x: Any, shift: Any) -> None:
    """Adds the convolution that is the shift ``op``, under its name, to the current graph."""
    strides, size = _spatial(op, "strides"), tuple(x.shape.as_list()[1:3])
    if strides[0] != strides[1]:
        raise FrozenGraphError(
            f"{op.name}: TensorFlow's depthwise convolution has one stride for both axes, the "
            f"shift {strides!r}"
        )
    try:
        kernel = shift_kernel(shift, size, strides, _spatial(op, "paddings"))
    except ValueError as e:
        raise FrozenGraphError(f"{op.name}: {e}") from e
    top, left, bottom, right = kernel.pads
    taps = kernel.weights.transpose(1, 2, 0)[..., None]  # [height, width, channels, 1]
    padded = tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]], name=op.name + "/pad")
    tf.nn.depthwise_conv2d_native(
        padded,
        tf.constant(taps, name=op.name + "/taps"),
        [1, *strides, 1],
        "VALID",
        name=op.name + "/",  # the slash keeps the name as it is
    )


def _spatial(op: Any, name: str) -> Tuple[int, int]:
    _, height, width, _ = op.get_attr(name)
    return int(height), int(width)
