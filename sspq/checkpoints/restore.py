"""Loading checkpoints into a graph that they have to fit."""

import re
from typing import Any, Collection, Iterable, Optional, Set

from tensorpack.tfutils.sessinit import SessionInit
from tensorpack.tfutils.varmanip import SessionUpdate, load_checkpoint_vars
from tensorpack.utils import logger

from sspq.checkpoints.files import NPZ, CheckpointError, Shapes, shapes, some_names
from sspq.compat import tf
from sspq.slq.layer import STATE_PARTS, STATE_SCOPE


def mismatch(stored: Shapes, wanted: Shapes) -> Optional[str]:
    """The difference between the variables of a checkpoint and a graph, or None when they fit."""
    problems = []
    missing = set(wanted) - set(stored)
    unused = set(stored) - set(wanted)
    other = {n for n in set(wanted) & set(stored) if list(stored[n]) != list(wanted[n])}
    if missing:
        problems.append(f"it lacks {len(missing)} variables of the graph ({some_names(missing)})")
    if unused:
        problems.append(
            f"{len(unused)} of its variables are not in the graph ({some_names(unused)})"
        )
    if other:
        shapes = [f"{n} is {stored[n]}, expected {wanted[n]}" for n in other]
        problems.append(f"shapes differ ({some_names(shapes)})")
    return "; ".join(problems) or None


class ExactRestore(SessionInit):
    """Loads a checkpoint that must have exactly the graph's variables.

    An ``.npz`` file holds the model's own variables: those that training adds keep their initial
    values unless they are stored.

    Args:
        prefix: prefix of the checkpoint, or the ``.npz`` file.
        ignore: names of variables that keep their initial values and need not be stored (default:
            none).
        parameters_only: whether the model's variables alone are loaded; those that training adds
            keep their initial values and need not be stored (default: False).
    """

    def __init__(
        self, prefix: str, ignore: Iterable[str] = (), parameters_only: bool = False
    ) -> None:
        self.path = prefix
        self._ignored = set(ignore)
        self._parameters_only = parameters_only

    def _setup_graph(self) -> None:
        stored = shapes(self.path)
        variables = {v.op.name: v for v in tf.global_variables()}
        kept = set(self._ignored)
        if self._parameters_only:
            kept |= _training_only([*stored, *variables])
            kept |= _of_optimizers(stored, variables)
        elif self.path.endswith(NPZ):
            kept |= _training_only(variables) - set(stored)
        self._variables = {name: v for name, v in variables.items() if name not in kept}
        wrong = mismatch(
            {name: shape for name, shape in stored.items() if name not in kept},
            {name: v.shape.as_list() for name, v in self._variables.items()},
        )
        if wrong:
            raise CheckpointError(f"the checkpoint {self.path} belongs to another graph: {wrong}")
        if not self.path.endswith(NPZ):
            self._saver = tf.train.Saver(self._variables)

    def _run_init(self, sess: Any) -> None:
        logger.info(f"Loading {self.path}")
        if not self.path.endswith(NPZ):
            self._saver.restore(sess, self.path)
            return
        values = load_checkpoint_vars(self.path)
        SessionUpdate(sess, self._variables.values()).update(
            {
                v.name: values[name].astype(v.dtype.as_numpy_dtype)
                for name, v in self._variables.items()
            }
        )


def _of_optimizers(stored: Iterable[str], variables: Collection[str]) -> Set[str]:
    """Which of the names an optimizer adds: its slots lie below the variables that they are of."""
    return {
        n
        for n in stored
        if n not in variables
        and (n.rpartition("/")[0] in variables or _OF_OPTIMIZERS.fullmatch(n) is not None)
    }


# What belongs to no variable: of Adam and its like, and of tensorpack's AccumGradOptimizer.
_OF_OPTIMIZERS = re.compile(r"(.*/)?beta\d_power(_\d+)?|AccumGrad/counter")
_STATE_ENDINGS = tuple(STATE_SCOPE + part for part in STATE_PARTS)


def _training_only(names: Iterable[str]) -> Set[str]:
    """Which of the names a training graph adds to the model's variables."""
    return {
        n
        for n in names
        if n in ("global_step", "learning_rate")
        or n.endswith("/Momentum")
        or n.endswith(_STATE_ENDINGS)
        or n.startswith("EMA/")
        or (n.endswith("/EMA") and n.rsplit("/", 2)[-2] not in ("mean", "variance"))
    }
