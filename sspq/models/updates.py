"""The moment at which variables change within a training step."""

from typing import Any, List

from tensorpack.tfutils.gradproc import GradientProcessor

from sspq.compat import tf


class UpdateLast(GradientProcessor):
    """Lets no variable change before all gradients and the cost are computed.

    Otherwise an update may overtake an op that still reads the variable, and two runs of the same
    seed differ.
    """

    def __init__(self, costs: List[Any]) -> None:
        super(UpdateLast, self).__init__()
        self._costs = costs

    def _process(self, grads: Any) -> Any:
        gradients, variables = zip(*grads)
        graph = tf.get_default_graph()
        costs = [c for c in self._costs if c.graph is graph]
        return list(zip(tf.tuple(gradients, control_inputs=costs), variables))
