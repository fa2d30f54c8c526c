"""SSPQ34 as a tensorpack model description."""

from typing import Any, Dict, List

from tensorpack.graph_builder import ModelDesc
from tensorpack.models import regularize_cost
from tensorpack.tfutils.optimizer import apply_grad_processors
from tensorpack.tfutils.summary import add_moving_summary
from tensorpack.tfutils.tower import get_current_tower_context

from sspq.compat import tf
from sspq.graphs.blocks import clip_and_quantize, resolve_data_format
from sspq.graphs.cifar import sspq34
from sspq.graphs.quantized import QUANTIZED_WEIGHTS, quantize_variables
from sspq.quantizers.dorefa import get_dorefa
from sspq.quantizers.scope import weight_scope
from sspq.training.updates import UpdateLast

WEIGHT_DECAY = 1e-4
MOMENTUM = 0.9


class CifarSSPQ34(ModelDesc):
    """SSPQ34 for 32x32 images, with DoReFa quantizers; 162,244 parameters for 100 classes.

    Step S1 is ``bitw=8, bita=32``, step S2 ``bitw=8, bita=8``, float32 ``bitw=32, bita=32``.

    Inputs: ``input`` float32 ``[N, 32, 32, 3]``, RGB in 0..255; ``label`` int32 ``[N]``.
    Output tensors: ``logits`` and ``probabilities`` ``[N, num_classes]``, ``wrong-top1`` and
    ``wrong-top5`` ``[N]``, ``cross_entropy``, ``cost``.
    Cost: mean cross-entropy, in training plus 1e-4 * l2_loss of every trainable variable.

    Args:
        bitw, bita, bitg: bits of weights, activations and gradients, 1 to 32.
        variant: "paper" or "released", see :mod:`sspq.quantizers.scope`.
        num_classes: at least 2.
        data_format: "auto", "NCHW" or "NHWC". The variables are the same.
        base_lr: initial value of the variable ``learning_rate``.
        shift_lr_mult: factor on the learning rate of the shifts.
        shift_normalize: normalize each channel's gradient to its shift.
        shift_decay: whether weight decay takes in the shifts, as released.

    Raises:
        ValueError: an argument is outside its range.

    Source: SSPQ, IEEE Access 2020, doc 9260175; L-SSPQ, IEEE Access 2021, doc 9423989.
    """

    def __init__(
        self,
        bitw: int = 8,
        bita: int = 32,
        bitg: int = 32,
        variant: str = "paper",
        num_classes: int = 100,
        data_format: str = "auto",
        base_lr: float = 0.1,
        shift_lr_mult: float = 1.0,
        shift_normalize: bool = False,
        shift_decay: bool = True,
    ) -> None:
        super(CifarSSPQ34, self).__init__()
        if not isinstance(num_classes, int) or num_classes < 2:
            raise ValueError("`num_classes` must be an int of at least 2, got %r" % (num_classes,))
        self.fw, self.fa, self.fg = get_dorefa(bitw, bita, bitg)
        self.bitw, self.bita, self.bitg = bitw, bita, bitg
        self.variant = variant
        self.scope = weight_scope("cifar", variant)
        self.num_classes = num_classes
        self.data_format = resolve_data_format(data_format)
        self.base_lr = base_lr
        self.shift_lr_mult = shift_lr_mult
        self.shift_normalize = shift_normalize
        self.shift_decay = shift_decay
        self._costs: List[Any] = []  # of the training towers

    def inputs(self) -> List[Any]:
        return [
            tf.TensorSpec([None, 32, 32, 3], tf.float32, "input"),
            tf.TensorSpec([None], tf.int32, "label"),
        ]

    def build_graph(self, image: Any, label: Any) -> Any:
        activate = clip_and_quantize(self.fa)
        if self.bitg < 32:
            activate = _then(activate, self.fg)
        with quantize_variables(self.scope, self.fw):
            logits = sspq34(
                image,
                self.num_classes,
                activate,
                self.data_format,
                self.shift_normalize,
                self.shift_lr_mult,
            )
        logits = tf.identity(logits, "logits")
        tf.nn.softmax(logits, name="probabilities")
        for k in (1, 5):
            hit = tf.nn.in_top_k(logits, label, min(k, self.num_classes))
            tf.cast(tf.logical_not(hit), tf.float32, name="wrong-top%d" % k)
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=label)
        cross_entropy = tf.reduce_mean(cross_entropy, name="cross_entropy")
        decayed = ".*" if self.shift_decay else "^(?!.*/SP$)"
        decay = regularize_cost(decayed, lambda v: tf.nn.l2_loss(v) * WEIGHT_DECAY)
        cost = tf.add(cross_entropy, decay, name="cost")
        context = get_current_tower_context()
        if context.is_training:
            self._costs.append(cost)
        if context.is_main_training_tower:
            add_moving_summary(cost, cross_entropy)
            for v in tf.trainable_variables():
                if v.op.name.endswith("/SP"):
                    tf.summary.histogram(v.op.name, v)
            for v, quantized in tf.get_collection(QUANTIZED_WEIGHTS):
                tf.summary.histogram(v.op.name + "/quantized", quantized)
        return cost

    def optimizer(self) -> Any:
        lr = tf.get_variable("learning_rate", initializer=self.base_lr, trainable=False)
        tf.summary.scalar("learning_rate-summary", lr)
        optimizer = tf.train.MomentumOptimizer(lr, MOMENTUM)
        return apply_grad_processors(optimizer, [UpdateLast(self._costs)])

    def describe(self) -> Dict[str, Any]:
        """What tells this model from another, for reports and for refusing a foreign folder."""
        return {
            "model": "SSPQ34",
            "variant": self.variant,
            "bits": {"weights": self.bitw, "activations": self.bita, "gradients": self.bitg},
            "num_classes": self.num_classes,
            "base_lr": self.base_lr,
            "shift_lr_mult": self.shift_lr_mult,
            "shift_normalize": self.shift_normalize,
            "shift_decay": self.shift_decay,
        }


def _then(first: Any, second: Any) -> Any:
    return lambda x: second(first(x))
