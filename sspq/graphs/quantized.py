"""Puts weight quantizers between variables and the layers that read them."""

from typing import Any, Callable

from tensorpack.tfutils.varreplace import remap_variables

from sspq.quantizers.dorefa import get_dorefa
from sspq.quantizers.scope import WeightBits

# Graph collection of pairs (variable as stored, tensor that the graph computes with).
QUANTIZED_WEIGHTS = "sspq/quantized_weights"


def weight_quantizer(bits: WeightBits) -> Callable[[Any], Any]:
    """Gives for a trainable variable that has less than 32 bits its quantized value, else itself.

    The variable keeps its name and its float values: checkpoints hold those, and the quantizer is
    part of the graph.
    """

    def quantized(v: Any) -> Any:
        own_bits = bits.of(v.op.name)
        if own_bits == 32 or not v.trainable:
            return v
        fw, _, _ = get_dorefa(own_bits, 32, 32)
        value = fw(v)
        v.graph.add_to_collection(QUANTIZED_WEIGHTS, (v, value))
        return value

    return quantized


def quantize_variables(bits: WeightBits) -> Any:
    """A context in which ``tf.get_variable`` gives what :func:`weight_quantizer` does."""
    return remap_variables(weight_quantizer(bits))
