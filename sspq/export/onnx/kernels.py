"""Quantized kernels as 8-bit integers in a float32 ONNX graph.

The values are computed from the integers by nodes of constants alone, exactly as
:func:`sspq.export.packed.encoding.decode` does. A runtime computes them once, when it loads the
model.
``DequantizeLinear`` would say the same in one node, but ONNX Runtime computes that anew for every
batch, and neither folds batch normalization into such a kernel nor chooses its blocked layout.
"""

from typing import Any, Tuple

import numpy as np

from sspq.analysis.size import count_of
from sspq.export.onnx.builder import Builder
from sspq.export.packed.encoding import Encoded, unpack_bits

try:
    from onnx import TensorProto
except ImportError:  # to_onnx raises the error
    pass


def add_kernel(to: Builder, name: str, encoded: Encoded, axes: Tuple[int, ...]) -> str:
    """Adds the nodes that compute a kernel from its codes.

    Args:
        to: builder of the graph.
        name: name of the output.
        encoded: codes of the kernel.
        axes: order of the axes in ONNX.
    """

    def constant(part: str, value: Any) -> str:
        return to.constant(f"{name}/{part}", value)

    def last(x: str, kind: str, part: str, value: Any, output: str = name) -> str:
        return to.node(kind, [x, constant(part, np.asarray(value, np.float32))], output)

    def after(x: str, kind: str, part: str, value: Any) -> str:
        return last(x, kind, part, value, f"{name}/{kind.lower()}")

    codes = unpack_bits(encoded.parts["codes"], encoded.bits, count_of(encoded.shape))
    stored = constant("codes", codes.reshape(encoded.shape).transpose(axes))
    if encoded.scheme == "codebook":
        index = to.node("Cast", [stored], name + "/index", to=TensorProto.INT32)
        return to.node("Gather", [constant("centres", encoded.parts["centres"]), index], name)
    wide = to.node("Cast", [stored], name + "/wide", to=TensorProto.FLOAT)
    if encoded.scheme == "uniform":
        whole = after(wide, "Sub", "zero", 2 ** (encoded.bits - 1) - 1)
        shape = [-1 if a == len(axes) - 1 else 1 for a in axes]
        return last(whole, "Mul", "scale", encoded.parts["scale"].reshape(shape))
    if encoded.scheme == "sign":
        whole = after(after(wide, "Mul", "two", 2), "Sub", "one", 1)
        return last(whole, "Mul", "scale", encoded.parts["scale"].reshape(()))
    n = np.float32(2**encoded.bits - 1)
    if encoded.scheme == "levels":
        # Doubling is exact: this is 2 * (c * (1 / n)).
        scaled = after(wide, "Mul", "step", np.float32(2) * (np.float32(1) / n))
    else:  # quotients
        scaled = after(after(wide, "Div", "n", n), "Mul", "two", 2)
    return last(scaled, "Sub", "one", 1)
