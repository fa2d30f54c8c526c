"""A model as an ONNX graph that a runtime computes in 8-bit integers.

Every tensor that is computed in integers has a pair of QuantizeLinear and DequantizeLinear, with
one scale for the tensor; a kernel has one scale for each output. From
``DequantizeLinear - op - QuantizeLinear`` runtimes make one integer operator, QLinearConv for
instance, and the saturation of its output is the activation's clip. Matrices are MatMulInteger.

Exact are the integers that the quantizers of the network give; the others are rounded:

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
"""

from types import MappingProxyType
from typing import Any, Dict, Iterable, Mapping, Optional, Set, Tuple

import numpy as np

from sspq.export.onnx.builder import Builder, write_model
from sspq.export.onnx.calibration import Ranges, ranges
from sspq.export.onnx.chains import Chain, Graph
from sspq.export.onnx.graph import to_onnx
from sspq.export.onnx.integers import (
    MOST,
    SMALLEST_SCALE,
    Grid,
    kernel_step,
    quantize_kernel,
    quantize_taps,
)
from sspq.export.onnx.translator import KERNEL, TAPS
from sspq.export.packed.container import Packed
from sspq.export.packed.encoding import Encoded

try:
    from onnx import TensorProto
except ImportError:  # to_onnx raises the error
    pass

_LARGEST_BIAS = 2.0**30

# Operators whose inputs and outputs need a calibrated range.
_OBSERVED = ("Conv", "BatchNormalization", "Add", "Relu", "MaxPool", "MatMul")


def to_int8(packed: Packed, batches: Iterable[np.ndarray]) -> Any:
    """The packed model as an ``onnx.ModelProto`` with QuantizeLinear and DequantizeLinear.

    Convolutions, matrices, additions and max pooling are in integers, the other operators in
    float32. Input and output are those of :func:`sspq.export.onnx.graph.to_onnx`.

    Args:
        packed: content of a packed file.
        batches: batches of images for calibration, prepared for the model.

    Raises:
        ExportError: the graph has an op that cannot be exported, or there are no images.
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
        batches: batches of images for it.
        description: description of the model, to be kept in the file.
        tensors: values that a quantizer gave, by name of the kernel's variable (default: none).
    """
    quantizer = _Quantizer(model, ranges(model, batches, _OBSERVED), tensors)
    for node in model.graph.node:
        quantizer.add(node)
    classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    return quantizer.model(model.graph.input[0], classes, description)


def save_int8(path: str, packed: Packed, batches: Iterable[np.ndarray]) -> int:
    """Writes :func:`to_int8` to a file, whole or not at all; returns its size in bytes."""
    return write_model(path, to_int8(packed, batches))


class _Quantizer(Builder):
    """Makes quantized nodes of the nodes of a float32 graph, in their order."""

    def __init__(self, exact: Any, found: Ranges, tensors: Mapping[str, Encoded]) -> None:
        super().__init__()
        self._graph = Graph(exact)
        self._ranges = found
        self._tensors = tensors
        self._grids: Dict[str, Grid] = {}  # of the tensors that exist as integers
        self._done: Set[str] = set()  # names of nodes that became part of another

    def add(self, node: Any) -> None:
        """Adds nodes for the node and the followers of its chain."""
        if node.name in self._done:
            return
        special = getattr(self, "_" + node.op_type.lower(), None)
        if special is None or not special(node):
            self._float(node)

    # Operators in integers: each method returns whether it applies

    def _conv(self, node: Any) -> bool:
        kernel = self._graph.constant(node.input[1])
        if kernel is None:
            return False
        chain = self._chain(node)
        bias = self._bias(node, chain, len(kernel))
        x, grid = self._integers(node.input[0])
        if node.input[1].endswith(TAPS) and not chain.members:
            # Values between those of the input: in the same range, but in all of its 256 steps.
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
        """Adds MatMulInteger, and its result in float32: it is the last layer, or a sum follows.

        DequantizeLinear and MatMul become Gemm in runtimes, with a new kernel for every batch.
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
        """Adds an activation that no convolution precedes: the quantized tensor saturates."""
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
        """The grid of a tensor, which is stored as integers first if need be."""
        if name not in self._grids:
            self._store(self._as_float(name), name, self._grid(Chain(name)))
        return self._grids[name]

    def _integers(self, name: str) -> Tuple[str, Grid]:
        """The output of a new DequantizeLinear of a tensor; runtimes need one for each reader."""
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
        """The grid of the activation in a chain, else of the calibrated range, extended to 0."""
        if chain.high is not None and np.isfinite(chain.high):
            steps = min(chain.levels or MOST, MOST)
            return Grid(chain.high / steps, 0, steps)
        low, high = self._ranges[chain.output]
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / MOST, SMALLEST_SCALE)
        return Grid(scale, int(np.rint(-low / scale)))

    # Operators in float32

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
