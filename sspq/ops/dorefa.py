"""DoReFa-Net's weight quantizer as one TensorFlow op for CPUs, and its gradient as another.

Of TensorFlow's own ops the formula behind tanh takes 24 for each kernel, its gradient included, and
weight decay four more; most of them pass over all weights.
"""

from typing import Any, List, NamedTuple

from sspq import oplib
from sspq.compat import tf
from sspq.slq.integers import is_int


class QuantizedWeights(NamedTuple):
    """``y``, and the L2 loss of what was quantized."""

    y: Any
    l2_loss: Any


def quantize_weights(x: Any, bits: int, name: str = None) -> QuantizedWeights:
    r"""Rounds :math:`\tanh x`, scaled to [-1, 1], to ``2**bits`` values.

    .. math:: t = \tanh x, \quad m = \max |t|, \quad
              y = 2\,\mathrm{round}\left(n \left(\frac{t}{2 m} + \frac{1}{2}\right)\right) / n - 1,
              \quad n = 2^{bits} - 1

    Gives the bits that TensorFlow computes from the same formula's graph of its own ops,
    :func:`sspq.quantizers.dorefa.get_dorefa`.

    Args:
        x: weights, float32 of any shape. All zero, it gives a finite constant.
        bits: number of bits, 2 to 31.
        name: name of the op (default: None).

    Returns:
        ``y`` like ``x``, in [-1, 1]. A NaN stays one, and has no part in the maximum. ``l2_loss``
        is ``tf.nn.l2_loss(x)``, which costs next to nothing here.

    Gradient:
        To ``x``, of both. Rounding passes it through. With ``g`` that to ``y``, that to ``t`` is
        ``g / m``, and at the ``k`` values with ``|t| = m`` also
        :math:`-\mathrm{sign}(t) \sum g t / (k m^2)`; an all-zero ``x`` gets 0. A NaN makes all of
        it NaN. Sums, that of the loss as well, are taken in float64, in an order that does not
        depend on the number of threads.

    Raises:
        ValueError: ``x`` is not float32, or ``bits`` not an int from 2 to 31.
        OpLibraryError: the op library is missing or was built for another TensorFlow.

    Source: Zhou et al., DoReFa-Net, 2016, arXiv:1606.06160.
    """
    if not is_int(bits) or not 2 <= bits <= 31:
        raise ValueError(f"quantize_weights: `bits` must be an int from 2 to 31, got {bits!r}")
    with tf.name_scope(name, "quantize_weights", [x]) as scope:
        x = tf.convert_to_tensor(x, name="x")
        if x.dtype.base_dtype != tf.float32:
            raise ValueError(f"quantize_weights: `x` must be float32, got {x.dtype.name}")
        y, _, l2_loss = oplib.load().sspq_dorefa_weight(x, tf.tanh(x), bits=bits, name=scope)
    return QuantizedWeights(y, l2_loss)


@tf.RegisterGradient("SspqDorefaWeight")
def _weight_grad(op: Any, gy: Any, _maximum: Any, gl2_loss: Any) -> List[Any]:
    x, t = op.inputs
    return [oplib.load().sspq_dorefa_weight_grad(x, t, op.outputs[1], gy, gl2_loss), None]
