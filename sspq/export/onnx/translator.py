"""The nodes of ONNX for the ops of a TensorFlow graph."""

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from sspq.compat import tf
from sspq.export.onnx.builder import LOGITS, Builder, ExportError
from sspq.export.onnx.kernels import add_kernel
from sspq.export.onnx.layout import transpose_first
from sspq.export.packed.encoding import Encoded
from sspq.export.packed.pack import fold_norm
from sspq.export.shift_kernel import shift_kernel

try:
    from onnx import helper
except ImportError:  # to_onnx raises the error
    pass

_SAME_NAME = {"Relu", "Sigmoid", "Tanh", "Softmax", "Sub", "Mul", "Neg", "Abs"}
_OTHER_NAME = {
    "Add": "Add",
    "AddV2": "Add",
    "Maximum": "Max",
    "RealDiv": "Div",
    "Rint": "Round",  # both round halves to even
}
# Endings of the names of constants: of kernels, and of the weights of pixels of a shift.
KERNEL, TAPS = "/kernel", "/taps"
_PASSED_ON = {"Identity", "IdentityN", "StopGradient", "Placeholder"}


class Translator(Builder):
    """Makes nodes of the ops of a graph in NCHW, in their order."""

    def __init__(self, values: Dict[str, np.ndarray], tensors: Dict[str, Encoded]) -> None:
        super().__init__()
        self._values = values
        self._tensors = tensors
        self._names: Dict[str, str] = {}  # by name of the tensor in TensorFlow

    def translate(self, op: Any) -> None:
        """Adds the nodes of an op.

        Raises:
            ExportError: the op cannot be exported.
        """
        if op.outputs[0].name in self._names:
            return  # part of the node of an op before it
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
            raise ExportError(f"ONNX: the op {op.name} ({op.type}) cannot be exported")
        special(op)

    def finish(self, image: Any, logits: Any, description: Dict[str, Any]) -> Any:
        """The ``onnx.ModelProto`` from the tensor of the image to that of the logits."""
        self.node("Identity", [self._of(logits)], LOGITS)
        transpose_first(self)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(image.dtype.as_numpy_dtype))
        given = helper.make_tensor_value_info(
            image.op.name, kind, ["N"] + image.shape.as_list()[1:]
        )
        return self.model(given, logits.shape.as_list()[1], description)

    # Names and constants

    def _of(self, tensor: Any) -> str:
        """The name in ONNX of a tensor of the data path, a constant or a variable."""
        if tensor.name not in self._names:
            self._names[tensor.name] = self.constant(tensor.name, self._value(tensor))
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
            raise ExportError(f"ONNX: {tensor.name} is no constant: {e.message}") from e

    def _variable(self, tensor: Any) -> Optional[str]:
        op = tensor.op
        while op.type in ("Identity", "ReadVariableOp"):
            op = op.inputs[0].op
        return op.name if op.name in self._values else None

    def _ints(self, op: Any, name: str, values: Sequence[int]) -> str:
        return self.constant(f"{op.name}/{name}", np.array(values, np.int64))

    def _emit(self, op: Any, kind: str, inputs: List[str], **attributes: Any) -> None:
        self._names[op.outputs[0].name] = self.node(kind, inputs, op.name, **attributes)

    # Kernels

    def _kernel(self, tensor: Any, axes: Tuple[int, ...]) -> str:
        """The name of a kernel, its axes in ONNX's order, as integers where it is quantized."""
        variable = self._variable(tensor)
        if variable is None:
            return self.constant(tensor.name + KERNEL, self._value(tensor).transpose(axes))
        name = variable + KERNEL
        encoded = self._tensors.get(variable)
        if name in self.initializers or any(name in n.output for n in self.nodes):
            return name
        if encoded is None or encoded.scheme == "float":
            return self.constant(name, self._values[variable].transpose(axes))
        return add_kernel(self, name, encoded, axes)

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
            raise ExportError(f"ONNX: {op.name}: {e}") from e
        self._emit(
            op,
            "Conv",
            [
                self._of(op.inputs[0]),
                self.constant(op.name + TAPS, kernel.weights[:, None]),
            ],
            kernel_shape=list(kernel.weights.shape[1:]),
            strides=strides,
            pads=list(kernel.pads),
            group=shift.shape[1],
        )

    def _minimum(self, op: Any) -> None:
        """Adds one Clip for minimum and maximum: runtimes fuse no other activation."""
        after = op.outputs[0].consumers()
        is_clip = [o.type for o in after] == ["Maximum"]
        if is_clip and all(_is_scalar(o.inputs[1]) for o in (op, after[0])):
            bounds = [self._of(o.inputs[1]) for o in (after[0], op)]
            self._emit(after[0], "Clip", [self._of(op.inputs[0]), *bounds])
        else:
            self._emit(op, "Min", [self._of(t) for t in op.inputs])

    def _fusedbatchnormv3(self, op: Any) -> None:
        _need_nchw(op)
        epsilon = float(op.get_attr("epsilon"))
        if any(n.output[0] == self._of(op.inputs[0]) and n.op_type == "Conv" for n in self.nodes):
            inputs = [self._of(t) for t in op.inputs]
            self._emit(op, "BatchNormalization", inputs, epsilon=epsilon)
            return
        factor, offset = fold_norm([self._value(t) for t in op.inputs[1:]], epsilon)
        inputs = [
            self._of(op.inputs[0]),
            self.constant(op.name + "/factor", factor[:, None, None, None]),
            self.constant(op.name + "/offset", offset),
        ]
        self._emit(op, "Conv", inputs, kernel_shape=[1, 1], group=len(factor))

    _fusedbatchnorm = _fusedbatchnormv2 = _fusedbatchnormv3

    def _lrn(self, op: Any) -> None:
        size = 2 * op.get_attr("depth_radius") + 1
        x = self.node("Transpose", [self._of(op.inputs[0])], op.name + "/x", perm=[0, 3, 1, 2])
        normalized = self.node(
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
        before = op.inputs[0]
        if before.shape.ndims == 4:
            _need_nchw(op)
            node = self.nodes[-1]
            if before.op.type == "Conv2D" and len(before.consumers()) == 1:
                if node.output[0] == before.op.name and len(node.input) == 2:
                    node.input.append(self.constant(op.name + "/bias", bias))
                    self._names[op.outputs[0].name] = node.output[0]
                    return
            bias = bias[:, None, None]
        name = self.constant(op.name + "/bias", bias)
        self._emit(op, "Add", [self._of(op.inputs[0]), name])

    def _matmul(self, op: Any) -> None:
        if op.get_attr("transpose_a") or op.get_attr("transpose_b"):
            raise ExportError(f"ONNX: {op.name} transposes its input, expected none transposed")
        inputs = [self._of(op.inputs[0]), self._kernel(op.inputs[1], (0, 1))]
        self._emit(op, "MatMul", inputs)

    def _mean(self, op: Any) -> None:
        axes = [int(a) for a in np.ravel(self._value(op.inputs[1]))]
        keep = int(op.get_attr("keep_dims"))
        self._emit(op, "ReduceMean", [self._of(op.inputs[0])], axes=axes, keepdims=keep)

    def _reshape(self, op: Any) -> None:
        shape = op.outputs[0].shape.as_list()
        if None in shape[1:]:
            raise ExportError(f"ONNX: the shape of {op.name} is {shape}, expected a known one")
        inputs = [self._of(op.inputs[0]), self._ints(op, "shape", [-1] + shape[1:])]
        self._emit(op, "Reshape", inputs)

    def _expanddims(self, op: Any) -> None:
        axis = int(self._value(op.inputs[1]))
        self._emit(op, "Unsqueeze", [self._of(op.inputs[0]), self._ints(op, "axes", [axis])])

    def _split(self, op: Any) -> None:
        outputs = [f"{op.name}/{i}" for i in range(len(op.outputs))]
        axis = int(self._value(op.inputs[0]))
        inputs = [self._of(op.inputs[1])]
        self.nodes.append(helper.make_node("Split", inputs, outputs, op.name, axis=axis))
        self._names.update((t.name, name) for t, name in zip(op.outputs, outputs))

    def _concatv2(self, op: Any) -> None:
        *parts, axis = op.inputs
        self._emit(op, "Concat", [self._of(t) for t in parts], axis=int(self._value(axis)))


def _need_nchw(op: Any) -> None:
    if op.get_attr("data_format") != b"NCHW":
        raise ExportError(f"ONNX: {op.name} computes in another layout than NCHW")


def _is_scalar(tensor: Any) -> bool:
    return tensor.op.type == "Const" and tensor.shape.ndims == 0


def _spatial(op: Any, name: str) -> List[int]:
    return [int(v) for v in op.get_attr(name)][2:]


def _window(op: Any, size: Sequence[int]) -> Tuple[List[int], List[int]]:
    """Strides, and the zeros around the image: (top, left, bottom, right)."""
    _need_nchw(op)
    if "dilations" in [a.name for a in op.op_def.attr] and set(op.get_attr("dilations")) != {1}:
        raise ExportError(f"ONNX: {op.name} is dilated, expected dilations of 1")
    strides = _spatial(op, "strides")
    padding = op.get_attr("padding")
    if padding == b"VALID":
        return strides, [0, 0, 0, 0]
    if padding != b"SAME":
        raise ExportError(f"ONNX: {op.name} has the padding {padding!r}, expected VALID or SAME")
    before, after = [], []
    for given, k, stride in zip(op.inputs[0].shape.as_list()[2:], size, strides):
        total = max((-(-given // stride) - 1) * stride + k - given, 0)
        before.append(total // 2)  # TensorFlow puts the odd one after the image
        after.append(total - total // 2)
    return strides, before + after
