"""Puts a weight quantizer between the variables in a scope and the layers that read them."""

from typing import Any

from tensorpack.tfutils.varreplace import remap_variables

from sspq.quantizers.dorefa import Quantizer
from sspq.quantizers.scope import WeightScope

# Graph collection of pairs (variable as stored, tensor that the graph computes with).
QUANTIZED_WEIGHTS = "sspq/quantized_weights"


def quantize_variables(scope: WeightScope, fw: Quantizer) -> Any:
    """A context in which ``tf.get_variable`` gives ``fw(v)`` for each trainable ``v`` in ``scope``.

    The variables keep their names and float values: checkpoints hold those, and ``fw`` is part of
    the graph.
    """

    def replace(v: Any) -> Any:
        if not v.trainable or not scope.holds(v.op.name):
            return v
        quantized = fw(v)
        v.graph.add_to_collection(QUANTIZED_WEIGHTS, (v, quantized))
        return quantized

    return remap_variables(replace)
