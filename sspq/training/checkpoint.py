"""Finding, checking and loading checkpoints."""

import glob
import hashlib
import os
import re
import zipfile
import zlib
from typing import Any, Collection, Dict, Iterable, List, Optional, Set

import numpy as np
from tensorpack.tfutils.sessinit import SessionInit
from tensorpack.tfutils.varmanip import SessionUpdate, load_checkpoint_vars
from tensorpack.utils import logger

from sspq.compat import tf
from sspq.training.slq_layer import STATE_PARTS, STATE_SCOPE

NPZ = ".npz"  # numpy's archive of arrays, here of variables by name
Shapes = Dict[str, List[int]]  # by name of the variable


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or belongs to another graph."""


def damage(prefix: str) -> Optional[str]:
    """What is wrong with the checkpoint ``prefix``, or None when every value in it can be read.

    Reading checks the file's own checksums, so a half-written or damaged file shows.
    """
    if prefix.endswith(NPZ):
        return _npz_damage(prefix)
    if not os.path.isfile(prefix + ".index"):
        return f"{prefix}.index is missing"
    try:
        reader = tf.train.NewCheckpointReader(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, ValueError, RuntimeError) as e:
        return str(getattr(e, "message", e))
    return None


def _npz_damage(path: str) -> Optional[str]:
    if not os.path.isfile(path):
        return "it is missing"
    if not zipfile.is_zipfile(path):
        return "it is no archive, or not a whole one"
    try:
        values = load_checkpoint_vars(path)
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as e:
        return str(e)
    other = [name for name, value in values.items() if value.dtype.kind not in "fiub"]
    return f"not numbers: {_some(other)}" if other else None


def shapes(path: str) -> Shapes:
    """Of the variables in what :func:`resolve` gives."""
    if path.endswith(NPZ):
        return {name: list(value.shape) for name, value in load_checkpoint_vars(path).items()}
    return dict(tf.train.NewCheckpointReader(path).get_variable_to_shape_map())


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


def resolve(path: str, name: str = "`--load`") -> str:
    """The checkpoint prefix or ``.npz`` file that a user means by ``path``.

    ``path`` is a folder (its newest complete checkpoint), a prefix such as ``model-100``, one of
    the files behind it, or an ``.npz`` file, which is its own prefix. ``name`` is what errors call
    it.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    if os.path.isdir(path):
        found = last_complete(path)
        if found is None:
            raise CheckpointError(f"{name}: no complete checkpoint in the folder {path}")
        return found
    prefix = path
    for ending in (".index", ".data-00000-of-00001"):
        if prefix.endswith(ending):
            prefix = prefix[: -len(ending)]
    wrong = damage(prefix)
    if wrong is None:
        return prefix
    if not glob.glob(glob.escape(prefix) + "*"):
        raise CheckpointError(f"{name}: there is no folder, checkpoint or file {path}")
    if prefix == path and os.path.isfile(path) and not path.endswith(NPZ):
        raise CheckpointError(
            f"{name}: {path} is no checkpoint; expected a run's folder, a prefix such as "
            "model-100, one of the files behind it, or an .npz file"
        )
    raise CheckpointError(f"{name}: {path} is not a complete checkpoint: {wrong}")


def fingerprint(prefix: str) -> str:
    """A digest of what :func:`resolve` gives: equal for equal values, wherever the files lie."""
    # TensorFlow's index holds a checksum of every variable.
    path = prefix if prefix.endswith(NPZ) else prefix + ".index"
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for part in iter(lambda: f.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()[:16]


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
        raise CheckpointError(f"{prefix} holds no global_step: it cannot be resumed")
    return int(np.asarray(reader.get_tensor("global_step")))


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:5]) + (f" and {(len(names) - 5)} more" if len(names) > 5 else "")


def mismatch(stored: Shapes, wanted: Shapes) -> Optional[str]:
    """How the variables of a checkpoint differ from a graph's, or None when they fit."""
    problems = []
    missing = set(wanted) - set(stored)
    unused = set(stored) - set(wanted)
    other = {n for n in set(wanted) & set(stored) if list(stored[n]) != list(wanted[n])}
    if missing:
        problems.append(f"it lacks {len(missing)} variables of the graph ({_some(missing)})")
    if unused:
        problems.append(f"{len(unused)} of its variables are not in the graph ({_some(unused)})")
    if other:
        shapes = [f"{n} is {stored[n]}, expected {wanted[n]}" for n in other]
        problems.append(f"shapes differ ({_some(shapes)})")
    return "; ".join(problems) or None


class ExactRestore(SessionInit):
    """Loads a checkpoint that must have exactly the graph's variables.

    An ``.npz`` file holds the model's own variables: those that training adds keep their initial
    values unless they are stored.

    Args:
        prefix: of the checkpoint, or the ``.npz`` file.
        ignore: names of variables that keep their initial values. They need not be stored.
        parameters_only: look at model variables alone. Those that training adds keep their
            initial values, and need not be stored.
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
