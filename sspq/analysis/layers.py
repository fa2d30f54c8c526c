"""The layers of a model, read off its graph: kinds, variables and work."""

import os
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

import numpy as np
from tensorpack.tfutils.tower import TowerContext

from sspq.compat import tf

# Kinds of layers: first those whose work the summary counts, each apart, then the others.
POINTWISE, SPATIAL, LINEAR, SHIFT = "1x1", "spatial", "linear", "shift"
NORM, POOL, LRN, UNKNOWN = "batch norm", "pool", "lrn", "unknown"

# A bilinear shift weighs four pixels for each value that it gives; integer shifts need fewer.
SHIFT_TAPS = 4

_NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "SspqBatchNormInference")
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative", "SspqConvNorm")
_POOLS = ("MaxPool", "AvgPool", "Mean")
# Ops that work value by value, or only move values. They are part of the layer whose variables they
# read, and no layer of their own.
_PLAIN = frozenset(
    "Abs Add AddN AddV2 BiasAdd Cast ConcatV2 Exp ExpandDims Identity IdentityN Maximum Minimum "
    "Mul Neg Pack Pad PadV2 Placeholder RealDiv Relu Relu6 Reshape Rint Rsqrt Shape Sigmoid "
    "Softmax Split SplitV Squeeze StopGradient StridedSlice Sub Tanh Transpose".split()
)


class Layer(NamedTuple):
    """One layer for one image.

    Attributes:
        name: variable scope, or name of the op where there are no variables.
        kind: "1x1", "spatial" (any other convolution), "linear", "shift", "batch norm", "pool",
            "lrn" or "unknown".
        window: height, width and stride of a kernel or pool as "3x3/2"; "" for other kinds.
        output: shape of the output, ``(height, width, channels)`` in any layout or
            ``(features,)``; None if unknown.
        variables: variables of the layer, each as (name, shape, whether it is trainable).
        input_bits: bits of the values that the layer reads: 32, or fewer after a quantizer.
        work: multiply-adds of a convolution or matrix, taps of a shift; 0 for the other known
            kinds, None if unknown.
        epsilon: epsilon of a batch normalization; None for other kinds (default: None).
    """

    name: str
    kind: str
    window: str
    output: Optional[Tuple[int, ...]]
    variables: Tuple[Tuple[str, Tuple[int, ...], bool], ...]
    input_bits: int
    work: Optional[int]
    epsilon: Optional[float] = None


def inference_graph(model: Any, batch: Optional[int] = 1) -> Any:
    """The inference graph of a model.

    Args:
        model: model as :func:`read_layers` takes it.
        batch: number of images (default: 1; None: any number).
    """
    with tf.Graph().as_default() as graph:
        inputs = [
            tf.placeholder(s.dtype, [batch] + s.shape.as_list()[1:], s.name) for s in model.inputs()
        ]
        with TowerContext("", is_training=False):
            model.build_graph(*inputs)
    return graph


def read_layers(model: Any, graph: Any = None) -> List[Layer]:
    """The layers between the model's first input and its ``logits``, in the order of the graph.

    An op of a type that this module does not know is a layer of the kind "unknown", and so are
    variables that no known op reads.

    Args:
        model: :class:`sspq.models.classifier.Classifier`, or any tensorpack ``ModelDesc`` with a
            tensor ``logits``.
        graph: inference graph of the model (default: :func:`inference_graph` of one image). In a
            graph for any number of images, outputs and work are unknown.
    """
    if graph is None:
        graph = inference_graph(model)
    reader = _Reader(graph, getattr(model, "data_format", "NHWC"))
    image = graph.get_tensor_by_name(model.inputs()[0].name + ":0")
    for op in data_path(graph, image.op, graph.get_tensor_by_name("logits:0").op):
        reader.read(op)
    return reader.layers()


def data_path(graph: Any, first: Any, last: Any) -> List[Any]:
    """The ops that depend on ``first`` and that ``last`` depends on, in the order of creation."""
    behind = _behind([last])
    after = {first}
    for op in graph.get_operations():
        if any(t.op in after for t in op.inputs):
            after.add(op)
    return [op for op in graph.get_operations() if op in after and op in behind]


def _behind(ops: Iterable[Any]) -> Set[Any]:
    seen: Set[Any] = set()
    todo = list(ops)
    while todo:
        op = todo.pop()
        if op not in seen:
            seen.add(op)
            todo += [t.op for t in op.inputs]
    return seen


def quantized_bits(tensor: Any) -> int:
    """Bits of the activation quantizer whose output the tensor is, 32 if there is none.

    Ops that only pass values on are looked through. A shift interpolates: its output is float32.
    """
    op = tensor.op
    if op.type in ("Identity", "Reshape", "Transpose", "MaxPool", "Squeeze", "Split", "IdentityN"):
        index = {"IdentityN": tensor.value_index, "Split": 1}.get(op.type, 0)
        return quantized_bits(op.inputs[index])
    if op.type == "RealDiv" and op.inputs[0].op.type == "Rint":
        levels = tf.get_static_value(op.inputs[1])
        if levels is not None and np.ndim(levels) == 0:
            return int(round(np.log2(float(levels) + 1)))
    return 32


def _scope(name: str) -> str:
    scope = os.path.dirname(name)
    # The shift's variable is called SP/SP, batch normalization's averages mean/EMA.
    for inner in ("/SP", "/mean", "/variance"):
        if scope.endswith(inner):
            return scope[: -len(inner)]
    return scope


def _without_variables(op: Any) -> str:
    scope, name = os.path.split(op.name)
    return scope if scope and name in (op.type, "output") else op.name


def _elements(shape: Any) -> Optional[int]:
    return int(shape.num_elements()) if shape.is_fully_defined() else None


class _Reader:
    """Gathers the layers from the ops of a graph, read one by one."""

    def __init__(self, graph: Any, data_format: str) -> None:
        self._data_format = data_format
        trainable = {v.op.name for v in graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)}
        self._variables = {
            v.op.name: (v.op.name, tuple(v.shape.as_list()), v.op.name in trainable)
            for v in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
        }
        self._layers: Dict[str, Layer] = {}

    def read(self, op: Any) -> None:
        if op.type in _PLAIN:
            return
        for kind, work, weights in self._recognised(op):
            self._add(op, kind, work, weights)

    def _add(self, op: Any, kind: str, work: Optional[int], weights: List[Any]) -> None:
        names = sorted(
            o.name for t in weights for o in _behind([t.op]) if o.name in self._variables
        )
        name = _scope(names[0]) if names else _without_variables(op)
        layer = Layer(
            name,
            kind,
            "" if kind == NORM else self._window(op),
            self._output(op),
            (),
            quantized_bits(op.inputs[0]),
            work,
            op.get_attr("epsilon") if kind == NORM else None,
        )
        key = name if names else op.name  # one op is one layer, unless it shares its variables
        before = self._layers.get(key)
        self._layers[key] = layer if before is None else _joined(before, layer)

    def layers(self) -> List[Layer]:
        """The layers of the ops read, with all variables, each at the layer of its scope."""
        own: Dict[str, List[Any]] = {key: [] for key in self._layers}
        for variable in self._variables.values():
            own.setdefault(_scope(variable[0]), []).append(variable)
        return [
            self._layers.get(key, Layer(key, UNKNOWN, "", None, (), 32, None))._replace(
                variables=tuple(variables)
            )
            for key, variables in own.items()
        ]

    def _recognised(self, op: Any) -> List[Tuple[str, Optional[int], List[Any]]]:
        """Kind, work and weights of the layers that an op computes: two for a fused op."""
        inputs, out = list(op.inputs), _elements(op.outputs[0].shape)
        if op.type in _CONVOLUTIONS:
            height, width, depth, _ = inputs[1].shape.as_list()
            is_deep = op.type != "DepthwiseConv2dNative"
            kind = POINTWISE if height == width == 1 and is_deep else SPATIAL
            work = _times(out, height * width * (depth if is_deep else 1))
            norm = [(NORM, 0, inputs[2:4])] if op.type == "SspqConvNorm" else []
            return [(kind, work, inputs[1:2]), *norm]
        if op.type == "MatMul" and not op.get_attr("transpose_b"):
            return [(LINEAR, _times(out, inputs[1].shape.as_list()[0]), inputs[1:])]
        if op.type == "SspqShift2D":
            return [(SHIFT, _times(out, SHIFT_TAPS), inputs[1:])]
        if op.type in _NORMS:
            return [(NORM, 0, inputs[1:])]
        if op.type in _POOLS or op.type == "LRN":
            return [(POOL if op.type in _POOLS else LRN, 0, [])]
        return [(UNKNOWN, None, [])]

    def _axes(self, op: Any) -> Tuple[int, int, int]:
        """The axes of height, width and channels."""
        names = [a.name for a in op.op_def.attr]
        named = op.get_attr("data_format").decode() if "data_format" in names else ""
        return (2, 3, 1) if (named or self._data_format) == "NCHW" else (1, 2, 3)

    def _output(self, op: Any) -> Optional[Tuple[int, ...]]:
        shape = op.outputs[0].shape
        if not shape.is_fully_defined():
            return None
        dims = shape.as_list()
        return tuple(dims[a] for a in self._axes(op)) if len(dims) == 4 else tuple(dims[1:])

    def _window(self, op: Any) -> str:
        h, w, _ = self._axes(op)
        if op.type in ("MaxPool", "AvgPool"):
            size = [op.get_attr("ksize")[a] for a in (h, w)]
        elif op.type in _CONVOLUTIONS:
            size = op.inputs[1].shape.as_list()[:2]
        elif op.type == "SspqShift2D":
            size = []
        else:
            return ""
        stride = op.get_attr("strides")[h]
        text = "x".join(str(s) for s in size)
        return text + (f"/{stride}" if stride > 1 else "")


def _times(outputs: Optional[int], each: Optional[int]) -> Optional[int]:
    return None if outputs is None or each is None else outputs * each


def _joined(a: Layer, b: Layer) -> Layer:
    """The layer of two ops, as the groups of a convolution: channels add up."""
    if a.kind != b.kind or not a.output or not b.output or a.work is None or b.work is None:
        return a._replace(kind=UNKNOWN, work=None, output=None)
    return a._replace(output=a.output[:-1] + (a.output[-1] + b.output[-1],), work=a.work + b.work)
