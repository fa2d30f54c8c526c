"""A model as an ONNX graph that a runtime computes in 8-bit integers.

Every tensor that is computed in integers has a pair of QuantizeLinear and DequantizeLinear, with
one scale for the tensor; a kernel has one scale for each output. From
``DequantizeLinear - op - QuantizeLinear`` runtimes make one integer operator, QLinearConv for
instance, and the saturation of its output is the activation's clip. Matrices are MatMulInteger.

What is exact, that is given by the network's own quantizers, and what is not:

=================== ============================================================================
activations, k bits scale ``1/n``, ``n = 2**k - 1``, zero point 0, up to 8 bits: exact. More: 8 bits
kernels, k bits     up to 6 bits, the integers ``2c - n`` and the scale ``|factor|/n``, where the
                    factor is that of the batch normalization: exact. More: rounded to -64..64
shifts              weights of four pixels as multiples of 1/255 that add up to 1, and the result
                    rounded to 1/255: exact for integer shifts
biases              32 bits, of the scale of input times kernel
all else            range of the calibration images in 8 bits: the image, sums of a block and its
                    shortcut, what ReLU gives
=================== ============================================================================

Kernels keep to -64..64, as 8-bit products of two neighbours are added up in 16 bits by CPUs without
VNNI: ``2 * 64 * 255`` fits, ``2 * 127 * 255`` does not.
"""

from types import MappingProxyType
from typing import Any, Dict, Iterable, Mapping, NamedTuple, Optional, Set, Tuple

import numpy as np

from sspq.export.onnx.builder import Builder, write_model
from sspq.export.onnx.calibration import Ranges, ranges
from sspq.export.onnx.chains import Chain, Graph
from sspq.export.onnx.graph import KERNEL, TAPS, to_onnx
from sspq.export.packed.container import Packed
from sspq.export.packed.encoding import Encoded

try:
    from onnx import TensorProto
except ImportError:  # told when it is needed
    pass

LARGEST = 64  # of a kernel's integers
MOST = 255  # of an activation's
_LARGEST_BIAS = 2.0**30
_SMALLEST = 1e-12  # scale

# What a calibrated range is needed of.
_OBSERVED = ("Conv", "BatchNormalization", "Add", "Relu", "MaxPool", "MatMul")


class Grid(NamedTuple):
    """The values ``scale * (q - zero)`` of an integer tensor, ``0 <= q <= most``."""

    scale: float
    zero: int = 0
    most: int = MOST


def to_int8(packed: Packed, batches: Iterable[np.ndarray]) -> Any:
    """The packed model as an ``onnx.ModelProto`` with QuantizeLinear and DequantizeLinear.

    Convolutions, matrices, additions and max pooling are in integers, what is between them in
    float32. Input and output are those of :func:`sspq.export.onnx.graph.to_onnx`.

    Args:
        packed: a file's content.
        batches: of images for calibration, prepared as the model has them.

    Raises:
        ExportError: the graph has an op that is not known, or there are no images.
        PackedFileError: the tensors are not those of the model.
    """
    return quantize(to_onnx(packed, integers=False), batches, packed.model, packed.tensors)


def quantize(
    model: Any,
    batches: Iterable[np.ndarray],
    description: Mapping[str, Any],
    tensors: Mapping[str, Encoded] = MappingProxyType({}),
) -> Any:
    """The same for any float32 graph of one input and the output LOGITS.

    Args:
        model: an ``onnx.ModelProto``.
        batches: of images for it.
        description: of the model, to be kept in the file.
        tensors: by name of the kernel's variable, what a quantizer gave.
    """
    quantizer = _Quantizer(model, ranges(model, batches, _OBSERVED), tensors)
    for node in model.graph.node:
        quantizer.add(node)
    classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    return quantizer.model(model.graph.input[0], classes, description)


def save_int8(path: str, packed: Packed, batches: Iterable[np.ndarray]) -> int:
    """Writes :func:`to_int8` to a file, whole or not at all; returns its size in bytes."""
    return write_model(path, to_int8(packed, batches))


def kernel_step(encoded: Optional[Encoded]) -> Optional[np.ndarray]:
    """Of which the values of a tensor of codes are multiples, by at most LARGEST; None: of none."""
    if encoded is None:
        return None
    if encoded.scheme == "sign":
        return encoded.parts["scale"]
    n = 2**encoded.bits - 1
    if encoded.scheme in ("levels", "quotients") and n <= LARGEST:
        return np.float32(1) / np.float32(n)
    if encoded.scheme == "uniform" and n // 2 <= LARGEST:
        return encoded.parts["scale"]
    return None


def quantize_kernel(
    kernel: np.ndarray, factor: np.ndarray, step: Optional[np.ndarray], least: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """``kernel * factor`` as int8 and the scale of each output.

    Args:
        kernel: the outputs along its first axis.
        factor: of each output.
        step: of :func:`kernel_step`.
        least: the smallest scale that an output may have.
    """
    folded = kernel.astype(np.float64) * factor.reshape([-1] + [1] * (kernel.ndim - 1))
    if step is None:
        scale = np.abs(folded).reshape(len(kernel), -1).max(1) / LARGEST
    else:
        scale = np.abs(factor) * step
    scale = np.maximum(scale, np.maximum(least, _SMALLEST)).astype(np.float32)
    integers = np.rint(folded / scale.reshape([-1] + [1] * (kernel.ndim - 1)))
    return integers.astype(np.int8), scale


def quantize_taps(taps: np.ndarray) -> np.ndarray:
    """Weights of pixels, which add up to at most 1, as uint8 multiples of 1/255.

    The running sum is rounded, so that what adds up to 1 still does.
    """
    flat = taps.reshape(len(taps), -1).astype(np.float64)
    sums = np.rint(np.cumsum(flat, 1) * MOST)
    return np.diff(sums, axis=1, prepend=0).astype(np.uint8).reshape(taps.shape)


class _Quantizer(Builder):
    """Makes nodes of the float32 graph's, in their order."""

    def __init__(self, exact: Any, found: Ranges, tensors: Mapping[str, Encoded]) -> None:
        super().__init__()
        self._graph = Graph(exact)
        self._ranges = found
        self._tensors = tensors
        self._grids: Dict[str, Grid] = {}  # of tensors that are there as integers
        self._done: Set[str] = set()  # names of nodes that became part of another

    def add(self, node: Any) -> None:
        """Adds what gives the same as the node, and as those that become part of it."""
        if node.name in self._done:
            return
        special = getattr(self, "_" + node.op_type.lower(), None)
        if special is None or not special(node):
            self._float(node)

    # In integers: each tells whether it applies

    def _conv(self, node: Any) -> bool:
        kernel = self._graph.constant(node.input[1])
        if kernel is None:
            return False
        chain = self._chain(node)
        bias = self._bias(node, chain, len(kernel))
        x, grid = self._integers(node.input[0])
        if node.input[1].endswith(TAPS) and not chain.members:
            # Of values in a range, between them: in the same range, but in all of its 256 steps.
            own = Grid(grid.scale * grid.most / MOST, grid.zero)
            stored, scale = quantize_taps(kernel), np.float32(1 / MOST)
            inputs = [x, self._dequantized_constant(node.input[1], stored, scale)]
        else:
            own = self._grid(chain)
            factor = np.ones(len(kernel)) if chain.factor is None else chain.factor
            step = kernel_step(self._tensors.get(node.input[1].replace(KERNEL, "")))
            least = np.abs(bias) / (grid.scale * _LARGEST_BIAS)
            stored, scale = quantize_kernel(kernel, factor, step, least)
            inputs = [x, self._dequantized_constant(node.input[1], stored, scale, 0)]
            if bias.any():
                of_bias = (scale * np.float32(grid.scale)).astype(np.float32)
                whole = np.rint(bias / of_bias.astype(np.float64)).astype(np.int32)
                inputs.append(self._dequantized_constant(node.name + "/bias", whole, of_bias, 0))
        self._give(node, inputs, chain, own)
        return True

    def _bias(self, node: Any, chain: Chain, channels: int) -> np.ndarray:
        bias = np.zeros(channels)
        if len(node.input) == 3:
            bias = self._graph.constant(node.input[2]).astype(np.float64)  # type: ignore[union-attr]
        if chain.factor is None or chain.offset is None:
            return bias
        return bias * chain.factor + chain.offset

    def _add(self, node: Any) -> bool:
        if any(self._graph.constant(name) is not None for name in node.input):
            return False
        chain = self._chain(node)
        inputs = [self._integers(name)[0] for name in node.input]
        self._give(node, inputs, chain, self._grid(chain))
        return True

    def _maxpool(self, node: Any) -> bool:
        x, grid = self._integers(node.input[0])
        self._give(node, [x], Chain(node.output[0]), grid)
        return True

    def _matmul(self, node: Any) -> bool:
        """By MatMulInteger, and its result in float32: it is the last layer, or a sum follows.

        From DequantizeLinear and MatMul runtimes make Gemm, and the kernel anew for every batch.
        """
        kernel = self._graph.constant(node.input[1])
        if kernel is None or kernel.ndim != 2:
            return False
        grid = self._quantized(node.input[0])
        step = kernel_step(self._tensors.get(node.input[1].replace(KERNEL, "")))
        ones = np.ones(kernel.shape[1])
        stored, scale = quantize_kernel(kernel.T, ones, step, 0 * ones)

        def constant(part: str, value: Any) -> str:
            return self.constant(f"{node.name}/{part}", value)

        inputs = [
            self._whole(node.input[0], True),
            constant("kernel", stored.T),
            constant("zero", np.uint8(grid.zero)),
            constant("kernel_zero", np.int8(0)),
        ]
        whole = self.node("MatMulInteger", inputs, node.name + "/whole")
        wide = self.node("Cast", [whole], node.name + "/wide", to=TensorProto.FLOAT)
        self.node("Mul", [wide, constant("scale", scale * np.float32(grid.scale))], node.output[0])
        return True

    def _clip(self, node: Any) -> bool:
        """An activation of what is not a convolution; the quantized tensor saturates."""
        high = self._graph.clips_to(node)
        if high is None:
            return False
        chain = self._chain(node, high)
        self._store(self._as_float(node.input[0]), chain.output, self._grid(chain))
        return True

    # Pieces

    def _chain(self, node: Any, high: Optional[float] = None) -> Chain:
        chain = self._graph.chain(node, high)
        self._done.update(chain.members)
        return chain

    def _give(self, node: Any, inputs: Any, chain: Chain, grid: Grid) -> None:
        """Adds the op in float32, its inputs from DequantizeLinear, and QuantizeLinear after it."""
        made = self.node(node.op_type, inputs, chain.output + "/wide")
        self.nodes[-1].attribute.extend(node.attribute)
        self._store(made, chain.output, grid)

    def _store(self, wide: str, name: str, grid: Grid) -> None:
        inputs = [wide, *self._scale_and_zero(name, grid)]
        whole = self.node("QuantizeLinear", inputs, self._whole(name, grid.most == MOST))
        if grid.most < MOST:
            bounds = [self.constant(f"{name}/bound_{b}", np.uint8(b)) for b in (0, grid.most)]
            self.node("Clip", [whole, *bounds], self._whole(name, True))
        self._grids[name] = grid

    def _whole(self, name: str, bounded: bool) -> str:
        return name + ("/q" if bounded else "/unbounded")

    def _scale_and_zero(self, name: str, grid: Grid) -> Tuple[str, str]:
        scale = self.constant(name + "/scale", np.float32(grid.scale))
        return scale, self.constant(name + "/zero", np.uint8(grid.zero))

    def _quantized(self, name: str) -> Grid:
        """Sees to it that a tensor is there as integers."""
        if name not in self._grids:
            self._store(self._as_float(name), name, self._grid(Chain(name)))
        return self._grids[name]

    def _integers(self, name: str) -> Tuple[str, Grid]:
        """A tensor as DequantizeLinear gives it, a node for each reader: runtimes look for that."""
        grid = self._quantized(name)
        inputs = [self._whole(name, True), *self._scale_and_zero(name, grid)]
        output = f"{name}/dequantized_{len(self.nodes)}"
        return self.node("DequantizeLinear", inputs, output), grid

    def _dequantized_constant(
        self, name: str, values: np.ndarray, scale: np.ndarray, axis: Optional[int] = None
    ) -> str:
        inputs = [
            self.constant(name + "/whole", values),
            self.constant(name + "/scale", scale),
            self.constant(name + "/zero", np.zeros(np.shape(scale), values.dtype)),
        ]
        attributes = {} if axis is None else {"axis": axis}
        output = f"{name}/dequantized_{len(self.nodes)}"
        return self.node("DequantizeLinear", inputs, output, **attributes)

    def _grid(self, chain: Chain) -> Grid:
        """Of an activation its own, else of the calibrated range, which has 0 in it."""
        if chain.high is not None and np.isfinite(chain.high):
            steps = min(chain.levels or MOST, MOST)
            return Grid(chain.high / steps, 0, steps)
        low, high = self._ranges[chain.output]
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / MOST, _SMALLEST)
        return Grid(scale, int(np.rint(-low / scale)))

    # In float32

    def _as_float(self, name: str) -> str:
        constant = self._graph.constant(name)
        if constant is not None:
            return self.constant(name, constant)
        return self._integers(name)[0] if name in self._grids else name

    def _float(self, node: Any) -> None:
        inputs = [self._as_float(name) for name in node.input]
        self.nodes.append(type(node)())
        self.nodes[-1].CopyFrom(node)
        self.nodes[-1].input[:] = inputs
