"""The state of single- and multi-level quantization in a training graph, layer by layer."""

import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple, Union

import numpy as np

from sspq.compat import tf
from sspq.slq import LayerState
from sspq.slq.layer import STATE_SCOPE

# A pattern that a variable's whole name must match, or a test of the name.
Layers = Union[str, Callable[[str], bool]]


_TOWER = re.compile(r"^tower\d+/")


def layer_test(layers: Layers) -> Callable[[str], bool]:
    """Tells by a variable's name whether it is to be quantized.

    Raises:
        ValueError: ``layers`` is no regular expression.
    """
    if callable(layers):
        return layers
    try:
        pattern = re.compile(layers)
    except (re.error, TypeError) as e:
        raise ValueError(f"`layers` must be a regular expression, got {layers!r}: {e}") from e
    return lambda name: pattern.fullmatch(name) is not None


class Copy(NamedTuple):
    """A layer's weights on one tower.

    Attributes:
        weights: the variable.
        slots: the optimizer's variables for it, of its shape, such as its momentum.
    """

    weights: Any
    slots: Tuple[Any, ...]


class GraphLayer:
    """A layer's state as variables that checkpoints hold, beside its weights.

    They are ``slq/index`` (uint8) and ``slq/frozen`` (bool), in the weights' shape, and, for K
    centres, ``slq/centres`` and ``slq/loss`` (float64) and ``slq/frozen_centres`` (bool): those of
    :class:`sspq.slq.LayerState`. All are zero before the layer's first stage.

    Args:
        weights: the variable, float32 and of a known shape.
        centres: K.

    Raises:
        ValueError: the variable is of another type or of unknown shape.
    """

    def __init__(self, weights: Any, centres: int) -> None:
        self.name = weights.op.name
        self.weights = weights
        shape = weights.shape
        if weights.dtype.base_dtype != tf.float32 or not shape.is_fully_defined():
            raise ValueError(
                f"SLQ quantizes float32 variables of a known shape, but {self.name} is "
                f"{weights.dtype.base_dtype.name} {shape}"
            )
        shape = shape.as_list()
        # Training steps read `frozen` alone. The others stay off GPUs, which have no uint8.
        self.frozen = self._variable("frozen", shape, tf.bool, weights.device)
        self._state = {
            "frozen": self.frozen,
            "index": self._variable("index", shape, tf.uint8, "/cpu:0"),
            "centres": self._variable("centres", [centres], tf.float64, "/cpu:0"),
            "frozen_centres": self._variable("frozen_centres", [centres], tf.bool, "/cpu:0"),
            "loss": self._variable("loss", [centres], tf.float64, "/cpu:0"),
        }
        self.frozen_centres = self._state["frozen_centres"]

    def _variable(self, part: str, shape: List[int], dtype: Any, device: str) -> Any:
        # Outside whatever scopes and control dependencies the optimizer is called in.
        with tf.name_scope(None), tf.control_dependencies(None), tf.device(device):
            return tf.Variable(
                tf.zeros(shape, dtype),
                trainable=False,
                collections=[tf.GraphKeys.GLOBAL_VARIABLES],
                name=self.name + STATE_SCOPE + part,
            )

    def fetches(self) -> Any:
        """For ``Session.run``: the weights and the arguments of their :class:`LayerState`."""
        return self.weights, self._state

    def build_assignment(self, copies: Sequence[Copy]) -> None:
        """Adds to the graph what :meth:`assignment` runs."""
        self._fed = {
            part: tf.placeholder(v.dtype.base_dtype, v.shape) for part, v in self._state.items()
        }
        self._fed_weights = tf.placeholder(tf.float32, self.weights.shape)
        assigned = [v.assign(self._fed[part]).op for part, v in self._state.items()]
        for copy in copies:
            assigned.append(copy.weights.assign(self._fed_weights).op)
            for slot in copy.slots:
                # Not 0: Adagrad divides by its own, and would make NaN of a gradient of 0.
                kept = tf.where(self._fed["frozen"], slot.initial_value, slot)
                assigned.append(slot.assign(kept).op)
        self._assign = tf.group(*assigned)

    def assignment(self, weights: np.ndarray, state: LayerState) -> Tuple[Any, Dict[Any, Any]]:
        """The operation to run, and its feeds, to set state and weights on all towers.

        Slots of frozen weights get their initial values, which for momentum are 0.
        """
        feeds = {placeholder: getattr(state, part) for part, placeholder in self._fed.items()}
        feeds[self._fed_weights] = weights
        return self._assign, feeds


def find_layers(layers: Layers, centres: int) -> Dict[str, GraphLayer]:
    """State for each trainable variable that is to be quantized, by name, in network order.

    Raises:
        ValueError: no variable is to be quantized, or one cannot be.
    """
    wanted = layer_test(layers)
    # Replicated trainers make local variables of the copies on other towers.
    saved: Set[str] = {v.op.name for v in tf.global_variables()}
    trainable = [v for v in tf.trainable_variables() if v.op.name in saved]
    found = [GraphLayer(v, centres) for v in trainable if wanted(v.op.name)]
    if not found:
        names = [v.op.name for v in trainable]
        raise ValueError(f"`layers`: {layers!r} fits none of the variables {names}")
    return {layer.name: layer for layer in found}


def layer_of(variable: Any, layers: Dict[str, GraphLayer]) -> Optional[GraphLayer]:
    """The layer whose weights, or a copy of them on another tower, ``variable`` is."""
    name = variable.op.name
    return layers.get(name) or layers.get(_TOWER.sub("", name))


def copies_of(layer: GraphLayer, layers: Dict[str, GraphLayer], optimizer: Any) -> List[Copy]:
    """The layer's weights on all towers."""
    variables = [v for v in tf.trainable_variables() if layer_of(v, layers) is layer]
    try:
        names = optimizer.get_slot_names()
    except AttributeError:  # some of TensorFlow's wrappers of optimizers have none of their own
        names = []
    found = [(v, [optimizer.get_slot(v, name) for name in names]) for v in variables]
    return [
        Copy(v, tuple(s for s in slots if s is not None and s.shape == v.shape))
        for v, slots in found
    ]
