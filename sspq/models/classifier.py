"""The base of the image classifiers as tensorpack model descriptions."""

import abc
from typing import Any, Callable, Dict, List, Tuple

from tensorpack.graph_builder import ModelDesc
from tensorpack.models import regularize_cost
from tensorpack.tfutils.gradproc import ScaleGradient
from tensorpack.tfutils.optimizer import apply_grad_processors
from tensorpack.tfutils.summary import add_moving_summary
from tensorpack.tfutils.tower import get_current_tower_context

from sspq.compat import tf
from sspq.data.preprocessing import Preprocessing
from sspq.graphs.blocks import resolve_data_format
from sspq.graphs.quantized import QUANTIZED_WEIGHTS, quantize_variables
from sspq.models.updates import UpdateLast
from sspq.ops.conv import fast_pointwise
from sspq.quantizers.scope import WeightBits
from sspq.slq.integers import is_int

WEIGHT_DECAY = 1e-4
MOMENTUM = 0.9
DECAY_KERNELS = ".*/W"


class Classifier(ModelDesc, abc.ABC):
    """A quantized image classifier; a subclass defines ``logits`` and ``describe``.

    Inputs: ``input``, images ``[N, size, size, 3]`` as ``preprocessing`` says; ``label`` int32
    ``[N]``.
    Output tensors: ``logits`` and ``probabilities`` ``[N, num_classes]``, ``wrong-top1`` and
    ``wrong-top5`` ``[N]``, ``cross_entropy``, ``cost``.
    Cost: mean cross-entropy, in training plus ``weight_decay`` * l2_loss of the variables whose
    name ``weight_decay_pattern`` matches.

    Args:
        weight_bits: bits of the variables by name.
        num_classes: number of classes, at least 2.
        data_format: layout of the computation, "auto", "NCHW" or "NHWC". The variables are the
            same.
        preprocessing: steps from a decoded image to the input.
        weight_decay_pattern: regular expression, searched for in the variables' names.
        nesterov: whether the momentum of 0.9 is Nesterov's.
        base_lr: initial value of the variable ``learning_rate`` (default: 0.1).
        shift_lr_mult: factor on the learning rate of the shifts, see :func:`sspq.Shift2D`
            (default: 1).
        shift_normalize: whether each channel's gradient to its shift is normalized (default:
            False).

    These may be set before the graph is built:

    Attributes:
        weight_decay: factor on the L2 losses (default: 1e-4).
        gradient_factors: pairs (regular expression of whole names, factor) (default: none). With
            momentum, a factor on a gradient is one on the learning rate.
        wrap_optimizer: function that is applied to the optimizer, such as
            :meth:`sspq.training.slq.SLQ.optimizer`.

    Raises:
        ValueError: an argument is outside its range.
    """

    def __init__(
        self,
        weight_bits: WeightBits,
        num_classes: int,
        data_format: str,
        preprocessing: Preprocessing,
        weight_decay_pattern: str,
        nesterov: bool,
        base_lr: float = 0.1,
        shift_lr_mult: float = 1.0,
        shift_normalize: bool = False,
    ) -> None:
        super(Classifier, self).__init__()
        if not is_int(num_classes) or num_classes < 2:
            raise ValueError(f"`num_classes` must be an int of at least 2, got {num_classes!r}")
        self.weight_bits = weight_bits
        self.num_classes = int(num_classes)  # not of numpy, which JSON does not take
        self.data_format = resolve_data_format(data_format)
        self.preprocessing = preprocessing
        self.weight_decay = WEIGHT_DECAY
        self.weight_decay_pattern = weight_decay_pattern
        self.gradient_factors: List[Tuple[str, float]] = []
        self.nesterov = nesterov
        self.base_lr = base_lr
        self.shift_lr_mult = shift_lr_mult
        self.shift_normalize = shift_normalize
        self.wrap_optimizer: Callable[[Any], Any] = lambda optimizer: optimizer
        self._costs: List[Any] = []  # of the training towers

    def inputs(self) -> List[Any]:
        p = self.preprocessing
        return [
            tf.TensorSpec([None, p.size, p.size, 3], tf.as_dtype(p.dtype), "input"),
            tf.TensorSpec([None], tf.int32, "label"),
        ]

    @abc.abstractmethod
    def logits(self, image: Any) -> Any:
        """``[N, num_classes]`` of the input tensor ``image``."""

    @abc.abstractmethod
    def describe(self) -> Dict[str, Any]:
        """The facts that tell this model from another, for reports and run folders."""

    def build_graph(self, image: Any, label: Any) -> Any:
        with quantize_variables(self.weight_bits) as l2_losses, fast_pointwise():
            logits = tf.identity(self.logits(image), "logits")
        tf.nn.softmax(logits, name="probabilities")
        for k in (1, 5):
            hit = tf.nn.in_top_k(logits, label, min(k, self.num_classes))
            tf.cast(tf.logical_not(hit), tf.float32, name=f"wrong-top{k}")
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=label)
        cross_entropy = tf.reduce_mean(cross_entropy, name="cross_entropy")
        decay = regularize_cost(
            self.weight_decay_pattern, lambda v: l2_losses.of(v) * self.weight_decay
        )
        cost = tf.add(cross_entropy, decay, name="cost")
        context = get_current_tower_context()
        if context.is_training:
            self._costs.append(cost)
        if context.is_main_training_tower:
            _summarize(cost, cross_entropy)
        return cost

    def optimizer(self) -> Any:
        lr = tf.get_variable("learning_rate", initializer=self.base_lr, trainable=False)
        tf.summary.scalar("learning_rate-summary", lr)
        optimizer = tf.train.MomentumOptimizer(lr, MOMENTUM, use_nesterov=self.nesterov)
        factors = ScaleGradient(self.gradient_factors, verbose=False)
        processors = [factors, UpdateLast(self._costs)]
        return self.wrap_optimizer(apply_grad_processors(optimizer, processors))


def _summarize(cost: Any, cross_entropy: Any) -> None:
    add_moving_summary(cost, cross_entropy)
    for v in tf.trainable_variables():
        if v.op.name.endswith("/SP"):
            tf.summary.histogram(v.op.name, v)
    for v, quantized in tf.get_collection(QUANTIZED_WEIGHTS):
        tf.summary.histogram(v.op.name + "/quantized", quantized)
