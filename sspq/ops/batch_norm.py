"""Batch normalization with what follows it, clip and quantizer, as one TensorFlow op for CPUs.

TensorFlow's own fused op takes close to half of a training step on a CPU, and every op that works
value by value passes over the whole tensor once more.
"""

from typing import Any, List, NamedTuple

from sspq import oplib
from sspq.compat import tf

# For ``bits``: whether the normalized values are clipped and rounded.
NO_CLIP = 0
CLIP_ONLY = 32


class BatchNormalized(NamedTuple):
    """``y``, and the batch's ``mean`` and ``variance`` by channel."""

    y: Any
    mean: Any
    variance: Any


def batch_norm(
    x: Any,
    gamma: Any,
    beta: Any,
    epsilon: float = 1e-5,
    bits: int = NO_CLIP,
    relu: bool = False,
    name: str = None,
) -> BatchNormalized:
    r"""Normalizes every channel by the mean :math:`\mu` and variance of the batch, as in training.

    .. math:: v = (x - \mu) \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} + \beta

    and then, by ``bits``: 0, ``y = v``; 32, ``y = clip(v, 0, 1)``; 1 to 31, that rounded to
    ``2**bits`` values, ``round(n y) / n`` with ``n = 2**bits - 1``.

    Args:
        x: tensor to normalize, float32 ``[..., C]``, channels last.
        gamma, beta: scale and offset, float32 ``[C]``.
        epsilon: number that is added to the variance (default: 1e-5).
        bits: bits of ``y`` as above, 0 to 32 (default: 0).
        relu: whether ``y = max(v, 0)``; for ``bits`` of 0 alone (default: False).
        name: name of the op (default: None).

    Returns:
        ``y`` like ``x``; mean and variance ``[C]``. The variance is the mean square deviation, not
        the unbiased estimate. No gradient flows through the two. Statistics are summed up in
        float64, in an order that does not depend on the number of threads.

    Gradient:
        To ``x`` (through mean and variance too), ``gamma`` and ``beta``. Rounding passes it
        through, clipping where ``0 <= v <= 1``, ``relu`` where ``v > 0``.

    Raises:
        ValueError: shapes or types do not fit.
        OpLibraryError: the op library is missing or was built for another TensorFlow.

    Source: Ioffe and Szegedy, Batch Normalization, 2015, arXiv:1502.03167.
    """
    return BatchNormalized(
        *oplib.load().sspq_batch_norm(
            x, gamma, beta, epsilon=epsilon, bits=bits, relu=relu, name=name
        )
    )


def batch_norm_inference(
    x: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    variance: Any,
    epsilon: float = 1e-5,
    bits: int = NO_CLIP,
    relu: bool = False,
    name: str = None,
) -> Any:
    """:func:`batch_norm` by a given mean and variance, through which no gradient flows."""
    return oplib.load().sspq_batch_norm_inference(
        x, gamma, beta, mean, variance, epsilon=epsilon, bits=bits, relu=relu, name=name
    )


def _gradients(op: Any, mean: Any, variance: Any, gy: Any, is_training: bool) -> List[Any]:
    x, gamma, beta = op.inputs[:3]
    attrs = {k: op.get_attr(k) for k in ("epsilon", "bits", "relu")}
    return list(
        oplib.load().sspq_batch_norm_grad(
            x, gamma, beta, mean, variance, gy, is_training=is_training, **attrs
        )
    )


@tf.RegisterGradient("SspqBatchNorm")
def _batch_norm_grad(op: Any, gy: Any, _mean: Any, _variance: Any) -> List[Any]:
    return _gradients(op, op.outputs[1], op.outputs[2], gy, is_training=True)


@tf.RegisterGradient("SspqBatchNormInference")
def _batch_norm_inference_grad(op: Any, gy: Any) -> List[Any]:
    return _gradients(op, op.inputs[3], op.inputs[4], gy, is_training=False) + [None, None]
