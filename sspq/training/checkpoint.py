"""Finding, checking and loading checkpoints."""

import glob
import os
import re
from typing import Any, Dict, Iterable, List, Optional, Set

import numpy as np
from tensorpack.tfutils.sessinit import SaverRestore

from sspq.compat import tf
from sspq.training.slq_layer import STATE_PARTS, STATE_SCOPE

Shapes = Dict[str, List[int]]  # by name of the variable


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or belongs to another graph."""


def damage(prefix: str) -> Optional[str]:
    """What is wrong with the checkpoint ``prefix``, or None when every value in it can be read.

    Reading checks the file's own checksums, so a half-written or damaged file shows.
    """
    if not os.path.isfile(prefix + ".index"):
        return "%s.index is missing" % prefix
    try:
        reader = tf.train.NewCheckpointReader(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, ValueError, RuntimeError) as e:
        return str(getattr(e, "message", e))
    return None


def prefixes(folder: str) -> List[str]:
    """Prefixes of all checkpoints in ``folder``, whole or not, the newest first.

    From the files themselves: TensorFlow's state file forgets, after a restart, what was saved
    before.
    """
    steps = {}
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        match = re.match(r"model-(\d+)\.index$", name)
        if match:
            steps[int(match.group(1))] = os.path.join(folder, name[: -len(".index")])
    return [steps[step] for step in sorted(steps, reverse=True)]


def last_complete(folder: str) -> Optional[str]:
    """The prefix of the newest checkpoint in ``folder`` that can be read whole, or None."""
    return next((p for p in prefixes(folder) if damage(p) is None), None)


def resolve(path: str) -> str:
    """The checkpoint prefix that a user means by ``path``.

    ``path`` is a folder (its newest complete checkpoint), a prefix such as ``model-100``, or one of
    the files behind it.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    if os.path.isdir(path):
        found = last_complete(path)
        if found is None:
            raise CheckpointError("`--load`: no complete checkpoint in the folder %s" % path)
        return found
    prefix = path
    for ending in (".index", ".data-00000-of-00001"):
        if prefix.endswith(ending):
            prefix = prefix[: -len(ending)]
    wrong = damage(prefix)
    if wrong is not None:
        raise CheckpointError("`--load`: %s is not a complete checkpoint: %s" % (path, wrong))
    return prefix


def remove_old(folder: str, keep: int) -> None:
    """Removes all but the newest ``keep`` complete checkpoints; damaged ones go as well."""
    for prefix in prefixes(folder):
        if keep > 0 and damage(prefix) is None:
            keep -= 1
            continue
        # The index goes first: without it the rest no longer counts as a checkpoint.
        for path in [prefix + ".index"] + sorted(glob.glob(glob.escape(prefix) + ".data-*")):
            if os.path.exists(path):
                os.remove(path)


def global_step(prefix: str) -> int:
    """The number of training steps that the checkpoint has seen."""
    reader = tf.train.NewCheckpointReader(prefix)
    if not reader.has_tensor("global_step"):
        raise CheckpointError("%s holds no global_step: it cannot be resumed" % prefix)
    return int(np.asarray(reader.get_tensor("global_step")))


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:5]) + (" and %d more" % (len(names) - 5) if len(names) > 5 else "")


def mismatch(stored: Shapes, wanted: Shapes) -> Optional[str]:
    """How the variables of a checkpoint differ from a graph's, or None when they fit."""
    problems = []
    missing = set(wanted) - set(stored)
    unused = set(stored) - set(wanted)
    other = {n for n in set(wanted) & set(stored) if list(stored[n]) != list(wanted[n])}
    if missing:
        problems.append("it lacks %d variables of the graph (%s)" % (len(missing), _some(missing)))
    if unused:
        problems.append(
            "%d of its variables are not in the graph (%s)" % (len(unused), _some(unused))
        )
    if other:
        shapes = ["%s is %s, expected %s" % (n, stored[n], wanted[n]) for n in other]
        problems.append("shapes differ (%s)" % _some(shapes))
    return "; ".join(problems) or None


class ExactRestore(SaverRestore):
    """Loads a checkpoint that must have exactly the graph's variables.

    Args:
        prefix: of the checkpoint.
        ignore: names of variables that keep their initial values. They need not be stored.
        parameters_only: look at model variables alone. Those that training adds keep their
            initial values, and need not be stored.
    """

    def __init__(
        self, prefix: str, ignore: Iterable[str] = (), parameters_only: bool = False
    ) -> None:
        super(ExactRestore, self).__init__(prefix)
        self._kept = set(ignore)
        self._parameters_only = parameters_only

    def _setup_graph(self) -> None:
        stored = tf.train.NewCheckpointReader(self.path).get_variable_to_shape_map()
        if self._parameters_only:
            self._kept |= _training_only([*stored, *(v.op.name for v in tf.global_variables())])
        wrong = mismatch(
            {name: shape for name, shape in stored.items() if name not in self._kept},
            {name: v.shape.as_list() for name, v in self._get_restore_dict().items()},
        )
        if wrong:
            raise CheckpointError(
                "the checkpoint %s belongs to another graph: %s" % (self.path, wrong)
            )
        super(ExactRestore, self)._setup_graph()

    def _get_restore_dict(self) -> Dict[str, Any]:
        # The base class would warn of what is left out on purpose.
        return {v.op.name: v for v in tf.global_variables() if v.op.name not in self._kept}


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
