"""Quantized kernels as 8-bit integers in a float32 ONNX graph.

The values are computed from the integers by nodes of constants alone, exactly as
:func:`sspq.export.encoding.decode` does. A runtime computes them once, when it loads the model.
``DequantizeLinear`` would say the same in one node, but ONNX Runtime computes that anew for every
batch, and neither folds batch normalization into such a kernel nor chooses its blocked layout.
"""

from typing import Any, Tuple

import numpy as np

from sspq.export.encoding import Encoded, unpack_bits
from sspq.export.onnx_builder import Builder
from sspq.report.size import count_of

try:
    from onnx import TensorProto
except ImportError:  # told when it is needed
    pass


def add_kernel(to: Builder, name: str, encoded: Encoded, axes: Tuple[int, ...]) -> str:
    """Adds nodes that give a tensor of codes, its axes transposed, under ``name``."""

    def constant(part: str, value: Any) -> str:
        return to.constant("%s/%s" % (name, part), value)

    codes = unpack_bits(encoded.parts["codes"], encoded.bits, count_of(encoded.shape))
    stored = constant("codes", codes.reshape(encoded.shape).transpose(axes))
    if encoded.scheme == "codebook":
        index = to.node("Cast", [stored], name + "/index", to=TensorProto.INT32)
        return to.node("Gather", [constant("centres", encoded.parts["centres"]), index], name)
    wide = to.node("Cast", [stored], name + "/wide", to=TensorProto.FLOAT)
    one, two = constant("one", np.float32(1)), constant("two", np.float32(2))
    n = np.float32(2**encoded.bits - 1)
    if encoded.scheme == "uniform":
        zero = constant("zero", np.float32(2 ** (encoded.bits - 1) - 1))
        whole = to.node("Sub", [wide, zero], name + "/whole")
        shape = [-1 if a == len(axes) - 1 else 1 for a in axes]
        scale = constant("scale", encoded.parts["scale"].reshape(shape))
        return to.node("Mul", [whole, scale], name)
    if encoded.scheme == "sign":
        twice = to.node("Mul", [wide, two], name + "/twice")
        whole = to.node("Sub", [twice, one], name + "/whole")
        return to.node("Mul", [whole, constant("scale", encoded.parts["scale"].reshape(()))], name)
    if encoded.scheme == "levels":
        step = constant("step", two_over(n))
        scaled = to.node("Mul", [wide, step], name + "/scaled")
    else:  # quotients
        share = to.node("Div", [wide, constant("n", n)], name + "/share")
        scaled = to.node("Mul", [share, two], name + "/scaled")
    return to.node("Sub", [scaled, one], name)


def two_over(n: np.float32) -> np.float32:
    """What ``2 * (c * (1 / n))`` multiplies c by: doubling is exact."""
    return np.float32(2) * (np.float32(1) / n)
