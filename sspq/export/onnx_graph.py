"""A model as an ONNX graph of stock operators."""

import json
import os
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from sspq.compat import tf
from sspq.export.container import Packed
from sspq.export.encoding import Encoded, unpack_bits
from sspq.export.pack import unpack
from sspq.export.shift_kernel import shift_kernel
from sspq.report.layers import data_path, inference_graph
from sspq.report.size import count_of

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError:  # told when it is needed
    onnx = None  # type: ignore[assignment]

OPSET = 13
IR_VERSION = 7  # of that opset's time; older runtimes read it
METADATA = "sspq"

_SAME_NAME = {"Relu", "Sigmoid", "Tanh", "Softmax", "Sub", "Mul", "Neg", "Abs", "MatMul"}
_OTHER_NAME = {
    "Add": "Add",
    "AddV2": "Add",
    "Maximum": "Max",
    "Minimum": "Min",
    "RealDiv": "Div",
    "Rint": "Round",  # both round halves to even
}
_PASSED_ON = {"Identity", "IdentityN", "StopGradient", "Placeholder"}


class ExportError(ValueError):
    """The model has something that ONNX's operators do not express, or onnx is not installed."""


def require_onnx() -> None:
    """Raises ExportError with what to do, unless onnx is installed."""
    if onnx is None:
        raise ExportError(
            "exporting to ONNX needs the package onnx: pip install -r requirements/onnx.txt"
        )


def to_onnx(packed: Packed) -> Any:
    """The packed model as an ``onnx.ModelProto``, of any number of images.

    Input ``input`` as the model has it (``[N, H, W, 3]``), output ``logits``. A shift becomes the
    depthwise convolution that it is for the learned values. Quantized kernels stay 8-bit integers;
    what ONNX makes of them is exactly what TensorFlow computes with.

    Raises:
        ExportError: the graph has an op that is not known here.
        PackedFileError: the tensors are not those of the model.
    """
    require_onnx()
    model, values = unpack(packed, data_format="NCHW")
    graph = inference_graph(model, None)
    image = graph.get_tensor_by_name(model.inputs()[0].name + ":0")
    logits = graph.get_tensor_by_name("logits:0")
    translator = _Translator(values, packed.tensors)
    for op in data_path(graph, image.op, logits.op):
        translator.translate(op)
    return translator.finish(image, logits, packed.model)


def save(path: str, packed: Packed) -> int:
    """Writes :func:`to_onnx` to a file, whole or not at all; returns its size in bytes."""
    model = to_onnx(packed)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    with open(path + ".tmp", "wb") as f:
        f.write(data)
    os.replace(path + ".tmp", path)
    return len(data)


class _Translator:
    """Makes nodes of ops, in their order. Images are NCHW in both."""

    def __init__(self, values: Dict[str, np.ndarray], tensors: Dict[str, Encoded]) -> None:
        self._values = values
        self._tensors = tensors
        self._nodes: List[Any] = []
        self._initializers: Dict[str, Any] = {}
        self._names: Dict[str, str] = {}  # of TensorFlow's tensors here

    def translate(self, op: Any) -> None:
        if op.type in _PASSED_ON:
            for i, output in enumerate(op.outputs):
                if op.inputs:
                    self._names[output.name] = self._of(op.inputs[i])
                else:
                    self._names[output.name] = op.name
            return
        if op.type in _SAME_NAME or op.type in _OTHER_NAME:
            name = _OTHER_NAME.get(op.type, op.type)
            self._emit(op, name, [self._of(t) for t in op.inputs])
            return
        special: Optional[Callable[[Any], None]] = getattr(self, "_" + op.type.lower(), None)
        if special is None:
            raise ExportError("ONNX: the op %s (%s) cannot be exported" % (op.name, op.type))
        special(op)

    def finish(self, image: Any, logits: Any, description: Dict[str, Any]) -> Any:
        self._nodes.append(helper.make_node("Identity", [self._of(logits)], ["logits"]))
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(image.dtype.as_numpy_dtype))
        graph = helper.make_graph(
            self._nodes,
            "sspq",
            [helper.make_tensor_value_info(image.op.name, kind, ["N"] + image.shape.as_list()[1:])],
            [
                helper.make_tensor_value_info(
                    "logits", TensorProto.FLOAT, ["N"] + logits.shape.as_list()[1:]
                )
            ],
            list(self._initializers.values()),
        )
        model = helper.make_model(
            graph,
            producer_name="sspq",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        helper.set_model_props(model, {METADATA: json.dumps(description, sort_keys=True)})
        return model

    # Names and constants

    def _of(self, tensor: Any) -> str:
        """The name of a tensor here: of the data path, or a constant or variable."""
        if tensor.name not in self._names:
            self._names[tensor.name] = self._constant(tensor.name, self._value(tensor))
        return self._names[tensor.name]

    def _value(self, tensor: Any) -> np.ndarray:
        variable = self._variable(tensor)
        if variable is not None:
            return self._values[variable]
        value = tf.get_static_value(tensor)
        if value is not None:
            return np.asarray(value)
        if tensor.op.type == "Split":  # of a kernel in groups
            axis, whole = [self._value(t) for t in tensor.op.inputs]
            return np.split(whole, len(tensor.op.outputs), int(axis))[tensor.value_index]
        try:  # computed of constants
            with tf.Session(graph=tensor.graph) as sess:
                return np.asarray(sess.run(tensor))
        except tf.errors.OpError as e:
            raise ExportError("ONNX: %s is no constant: %s" % (tensor.name, e.message)) from e

    def _variable(self, tensor: Any) -> Optional[str]:
        op = tensor.op
        while op.type in ("Identity", "ReadVariableOp"):
            op = op.inputs[0].op
        return op.name if op.name in self._values else None

    def _constant(self, name: str, value: Any) -> str:
        array = np.asarray(value)
        name = name.replace(":0", "")
        self._initializers.setdefault(
            name, numpy_helper.from_array(np.ascontiguousarray(array), name)
        )
        return name

    def _ints(self, op: Any, name: str, values: Sequence[int]) -> str:
        return self._constant("%s/%s" % (op.name, name), np.array(values, np.int64))

    def _node(self, kind: str, inputs: List[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def _emit(self, op: Any, kind: str, inputs: List[str], **attributes: Any) -> None:
        self._names[op.outputs[0].name] = self._node(kind, inputs, op.name, **attributes)

    # Kernels

    def _kernel(self, tensor: Any, axes: Tuple[int, ...]) -> str:
        """A kernel with its axes in ONNX's order, as integers where that gives the same values."""
        variable = self._variable(tensor)
        if variable is None:
            return self._constant(tensor.name + "/kernel", self._value(tensor).transpose(axes))
        name = variable + "/kernel"
        encoded = self._tensors.get(variable)
        if name in self._initializers or any(name in n.output for n in self._nodes):
            return name
        if encoded is None or encoded.scheme not in ("sign", "levels", "codebook", "uniform"):
            return self._constant(name, self._values[variable].transpose(axes))
        codes = unpack_bits(encoded.parts["codes"], encoded.bits, count_of(encoded.shape))
        return self._dequantized(name, encoded, codes.reshape(encoded.shape).transpose(axes), axes)

    def _dequantized(
        self, name: str, encoded: Encoded, codes: np.ndarray, axes: Tuple[int, ...]
    ) -> str:
        def constant(part: str, value: Any) -> str:
            return self._constant("%s/%s" % (name, part), value)

        if encoded.scheme == "codebook":
            wide = self._node(
                "Cast", [constant("codes", codes)], name + "/wide", to=TensorProto.INT32
            )
            centres = constant("centres", encoded.parts["centres"])
            return self._node("Gather", [centres, wide], name)
        if encoded.scheme == "levels":
            n = np.float32(2**encoded.bits - 1)
            step = np.float32(2) * (np.float32(1) / n)
            inputs = [constant("codes", codes), constant("step", step)]
            inputs.append(constant("zero", np.uint8(0)))
            scaled = self._node("DequantizeLinear", inputs, name + "/scaled")
            return self._node("Sub", [scaled, constant("one", np.float32(1))], name)
        if encoded.scheme == "sign":
            whole = (2 * codes.astype(np.int8) - 1).astype(np.int8)
            scale, zero = encoded.parts["scale"].reshape(()), np.int8(0)
            attributes: Dict[str, Any] = {}
        else:
            whole = (codes.astype(np.int16) - (2 ** (encoded.bits - 1) - 1)).astype(np.int8)
            scale = encoded.parts["scale"]
            zero = np.zeros(scale.shape, np.int8)
            attributes = {"axis": axes.index(len(axes) - 1)}
        inputs = [constant("codes", whole), constant("scale", scale), constant("zero", zero)]
        return self._node("DequantizeLinear", inputs, name, **attributes)

    # Ops, by their type in lower case

    def _cast(self, op: Any) -> None:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(op.outputs[0].dtype.as_numpy_dtype))
        self._emit(op, "Cast", [self._of(op.inputs[0])], to=kind)

    def _transpose(self, op: Any) -> None:
        axes = [int(a) for a in self._value(op.inputs[1])]
        self._emit(op, "Transpose", [self._of(op.inputs[0])], perm=axes)

    def _conv2d(self, op: Any) -> None:
        height, width, depth, _ = op.inputs[1].shape.as_list()
        strides, pads = _window(op, (height, width))
        self._emit(
            op,
            "Conv",
            [self._of(op.inputs[0]), self._kernel(op.inputs[1], (3, 2, 0, 1))],
            kernel_shape=[height, width],
            strides=strides,
            pads=pads,
            group=op.inputs[0].shape.as_list()[1] // depth,
        )

    def _maxpool(self, op: Any) -> None:
        size = _spatial(op, "ksize")
        strides, pads = _window(op, size)
        inputs = [self._of(op.inputs[0])]
        self._emit(op, "MaxPool", inputs, kernel_shape=size, strides=strides, pads=pads)

    def _sspqshift2d(self, op: Any) -> None:
        _need_nchw(op)
        size = op.inputs[0].shape.as_list()[2:]
        strides = _spatial(op, "strides")
        shift = self._value(op.inputs[1])
        try:
            kernel = shift_kernel(shift, size, strides, _spatial(op, "paddings"))
        except ValueError as e:
            raise ExportError("ONNX: %s: %s" % (op.name, e)) from e
        self._emit(
            op,
            "Conv",
            [
                self._of(op.inputs[0]),
                self._constant(op.name + "/taps", kernel.weights[:, None]),
            ],
            kernel_shape=list(kernel.weights.shape[1:]),
            strides=strides,
            pads=list(kernel.pads),
            group=shift.shape[1],
        )

    def _fusedbatchnormv3(self, op: Any) -> None:
        _need_nchw(op)
        inputs = [self._of(t) for t in op.inputs]
        self._emit(op, "BatchNormalization", inputs, epsilon=float(op.get_attr("epsilon")))

    _fusedbatchnorm = _fusedbatchnormv2 = _fusedbatchnormv3

    def _lrn(self, op: Any) -> None:
        size = 2 * op.get_attr("depth_radius") + 1
        x = self._node("Transpose", [self._of(op.inputs[0])], op.name + "/x", perm=[0, 3, 1, 2])
        normalized = self._node(
            "LRN",
            [x],
            op.name + "/normalized",
            size=size,
            alpha=op.get_attr("alpha") * size,  # ONNX divides it by the size again
            beta=op.get_attr("beta"),
            bias=op.get_attr("bias"),
        )
        self._emit(op, "Transpose", [normalized], perm=[0, 2, 3, 1])

    def _biasadd(self, op: Any) -> None:
        bias = self._value(op.inputs[1])
        if op.inputs[0].shape.ndims == 4:
            _need_nchw(op)
            bias = bias[:, None, None]
        name = self._constant(op.name + "/bias", bias)
        self._emit(op, "Add", [self._of(op.inputs[0]), name])

    def _mean(self, op: Any) -> None:
        axes = [int(a) for a in np.ravel(self._value(op.inputs[1]))]
        keep = int(op.get_attr("keep_dims"))
        self._emit(op, "ReduceMean", [self._of(op.inputs[0])], axes=axes, keepdims=keep)

    def _reshape(self, op: Any) -> None:
        shape = op.outputs[0].shape.as_list()
        if None in shape[1:]:
            raise ExportError("ONNX: the shape of %s is not known" % op.name)
        inputs = [self._of(op.inputs[0]), self._ints(op, "shape", [-1] + shape[1:])]
        self._emit(op, "Reshape", inputs)

    def _expanddims(self, op: Any) -> None:
        axis = int(self._value(op.inputs[1]))
        self._emit(op, "Unsqueeze", [self._of(op.inputs[0]), self._ints(op, "axes", [axis])])

    def _split(self, op: Any) -> None:
        outputs = ["%s/%d" % (op.name, i) for i in range(len(op.outputs))]
        axis = int(self._value(op.inputs[0]))
        inputs = [self._of(op.inputs[1])]
        self._nodes.append(helper.make_node("Split", inputs, outputs, op.name, axis=axis))
        self._names.update((t.name, name) for t, name in zip(op.outputs, outputs))

    def _concatv2(self, op: Any) -> None:
        *parts, axis = op.inputs
        self._emit(op, "Concat", [self._of(t) for t in parts], axis=int(self._value(axis)))


def _need_nchw(op: Any) -> None:
    if op.get_attr("data_format") != b"NCHW":
        raise ExportError("ONNX: %s computes in another layout than NCHW" % op.name)


def _spatial(op: Any, name: str) -> List[int]:
    return [int(v) for v in op.get_attr(name)][2:]


def _window(op: Any, size: Sequence[int]) -> Tuple[List[int], List[int]]:
    """Strides, and the zeros around the image: (top, left, bottom, right)."""
    _need_nchw(op)
    if "dilations" in [a.name for a in op.op_def.attr] and set(op.get_attr("dilations")) != {1}:
        raise ExportError("ONNX: %s is dilated" % op.name)
    strides = _spatial(op, "strides")
    padding = op.get_attr("padding")
    if padding == b"VALID":
        return strides, [0, 0, 0, 0]
    if padding != b"SAME":
        raise ExportError("ONNX: %s has the padding %r" % (op.name, padding))
    before, after = [], []
    for given, k, stride in zip(op.inputs[0].shape.as_list()[2:], size, strides):
        total = max((-(-given // stride) - 1) * stride + k - given, 0)
        before.append(total // 2)  # TensorFlow puts the odd one after the image
        after.append(total - total // 2)
    return strides, before + after
