"""Puts weight quantizers between variables and the layers that read them."""

from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List

from tensorpack.tfutils.tower import get_current_tower_context
from tensorpack.tfutils.varreplace import remap_variables

from sspq.compat import tf
from sspq.ops.choice import own_ops
from sspq.ops.dorefa import quantize_weights
from sspq.quantizers.dorefa import get_dorefa
from sspq.quantizers.scope import WeightBits

# Graph collection of pairs (variable as stored, tensor that the graph computes with).
QUANTIZED_WEIGHTS = "sspq/quantized_weights"


class QuantizedOnce:
    """Quantized weights kept in the session, next to the variables they come from.

    They are no part of any collection of variables: checkpoints neither hold nor want them.
    """

    def __init__(self) -> None:
        self._copies: List[Any] = []

    def copy_of(self, quantized: Any, name: str) -> Any:
        copy = tf.Variable(quantized, trainable=False, collections=[], name=name)
        self._copies.append(copy)
        return copy.value()

    def refresh(self, sess: Any) -> None:
        """Quantizes the weights that the variables hold now.

        Until it was called once, the graph refuses to compute; it has to be called again whenever
        the variables have changed.
        """
        sess.run([copy.initializer for copy in self._copies])


_current: List[QuantizedOnce] = []


@contextmanager
def quantize_once() -> Iterator[QuantizedOnce]:
    """A context in which towers that infer read weights computed by :meth:`QuantizedOnce.refresh`.

    Elsewhere a graph quantizes its weights whenever it runs. In a batch of few images that costs as
    much as half of the rest, and to infer it is the same every time. These towers also have ops of
    this package's own for TensorFlow's (:func:`sspq.graphs.norm.batch_norm`): they are there to be
    run, others to be read and exported. Their sums may differ by rounding: logits by 1e-5 of the
    largest, and where activations are rounded, single ones lie on another level. Towers that train
    are the same within the context.
    """
    _current.append(QuantizedOnce())
    try:
        yield _current[-1]
    finally:
        _current.pop()


def quantizes_once() -> bool:
    """Whether a tower that infers is being built within :func:`quantize_once`."""
    context = get_current_tower_context()
    return bool(_current) and context is not None and not context.is_training


def _trains() -> bool:
    context = get_current_tower_context()
    return context is not None and context.is_training


class L2Losses:
    """L2 losses of variables, of which some have been computed along with something else."""

    def __init__(self) -> None:
        self._computed: Dict[str, Any] = {}

    def add(self, v: Any, loss: Any) -> None:
        self._computed[v.op.name] = loss

    def of(self, v: Any) -> Any:
        loss = self._computed.get(v.op.name)
        return tf.nn.l2_loss(v) if loss is None else loss


def _quantize(v: Any, bits: int, l2_losses: L2Losses) -> Any:
    # One bit has a formula of its own, of few ops.
    if _trains() and own_ops() and bits > 1 and v.dtype.base_dtype == tf.float32:
        value, loss = quantize_weights(v, bits)
        l2_losses.add(v, loss)
        return value
    fw, _, _ = get_dorefa(bits, 32, 32)
    return fw(v)


def weight_quantizer(bits: WeightBits, l2_losses: L2Losses = None) -> Callable[[Any], Any]:
    """Gives for a trainable variable that has less than 32 bits its quantized value, else itself.

    The variable keeps its name and its float values: checkpoints hold those, and the quantizer is
    part of the graph: :func:`sspq.ops.dorefa.quantize_weights` in towers that train on CPUs, which
    gives the same bits as the :func:`sspq.quantizers.dorefa.get_dorefa` of all others.

    Args:
        bits: bits of each variable.
        l2_losses: collection for the losses that are computed with the quantized values (default:
            None).
    """
    losses = L2Losses() if l2_losses is None else l2_losses

    def quantized(v: Any) -> Any:
        own_bits = bits.of(v.op.name)
        if own_bits == 32 or not v.trainable:
            return v
        value = _quantize(v, own_bits, losses)
        if quantizes_once():
            value = _current[-1].copy_of(value, v.op.name + "_quantized")
        v.graph.add_to_collection(QUANTIZED_WEIGHTS, (v, value))
        return value

    return quantized


@contextmanager
def quantize_variables(bits: WeightBits) -> Iterator[L2Losses]:
    """A context in which ``tf.get_variable`` gives what :func:`weight_quantizer` does.

    Gives the L2 losses of the variables, for the cost of the same tower.
    """
    losses = L2Losses()
    with remap_variables(weight_quantizer(bits, losses)):
        yield losses
