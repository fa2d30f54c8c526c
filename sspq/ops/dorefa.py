"""DoReFa-Net's weight quantizer as one TensorFlow op for CPUs, and its gradient as another.

Of TensorFlow's own ops the formula behind tanh takes 24 for each kernel, its gradient included, and
most of them pass over all weights.
"""

from typing import Any

from sspq import oplib
from sspq.compat import tf
from sspq.slq.integers import is_int


def quantize_weights(x: Any, bits: int, name: str = None) -> Any:
    r"""Rounds :math:`\tanh x`, scaled to [-1, 1], to ``2**bits`` values.

    .. math:: t = \tanh x, \quad m = \max |t|, \quad
              y = 2\,\mathrm{round}\left(n \left(\frac{t}{2 m} + \frac{1}{2}\right)\right) / n - 1,
              \quad n = 2^{bits} - 1

    Gives the bits that TensorFlow computes from the same formula's graph of its own ops,
    :func:`sspq.quantizers.dorefa.get_dorefa`.

    Args:
        x: float32 tensor of any shape. All zero, it gives a finite constant.
        bits: number of bits, 2 to 31.
        name: name of the op.

    Returns:
        A tensor like ``x``, in [-1, 1]. A NaN stays one, and has no part in the maximum.

    Gradient:
        Rounding passes it through. With ``g`` the incoming gradient, that to ``t`` is ``g / m``,
        and at the ``k`` values with ``|t| = m`` also :math:`-\mathrm{sign}(t) \sum g t / (k m^2)`;
        an all-zero ``x`` gets 0. A NaN makes all of it NaN. The sum is taken in float64, in an
        order that does not depend on the number of threads.

    Raises:
        ValueError: ``x`` is not float32, or ``bits`` not an int from 2 to 31.
        OpLibraryError: the op library is missing or was built for another TensorFlow.

    Source: Zhou et al., DoReFa-Net, 2016, arXiv:1606.06160.
    """
    if not is_int(bits) or not 2 <= bits <= 31:
        raise ValueError("quantize_weights: `bits` must be an int from 2 to 31, got %r" % (bits,))
    with tf.name_scope(name, "quantize_weights", [x]) as scope:
        x = tf.convert_to_tensor(x, name="x")
        if x.dtype.base_dtype != tf.float32:
            raise ValueError("quantize_weights: `x` must be float32, got %s" % x.dtype.name)
        y, _ = oplib.load().sspq_dorefa_weight(tf.tanh(x), bits=bits, name=scope)
    return y


@tf.RegisterGradient("SspqDorefaWeight")
def _weight_grad(op: Any, gy: Any, _maximum: Any) -> Any:
    return oplib.load().sspq_dorefa_weight_grad(op.inputs[0], op.outputs[1], gy)
