"""Finding and checking the files of checkpoints."""

import glob
import hashlib
import os
import re
import zipfile
import zlib
from typing import Dict, Iterable, List, Optional

import numpy as np
from tensorpack.tfutils.varmanip import load_checkpoint_vars

from sspq.compat import tf

NPZ = ".npz"  # numpy's archive of arrays, here of variables by name
Shapes = Dict[str, List[int]]  # by name of the variable


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or belongs to another graph."""


def damage(prefix: str) -> Optional[str]:
    """The fault of the checkpoint ``prefix``, or None when every value in it can be read.

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
    return f"not numbers: {some_names(other)}" if other else None


def shapes(path: str) -> Shapes:
    """The shapes, by name, of the variables in what :func:`resolve` gives."""
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
        CheckpointError: no checkpoint is there, or it is damaged.
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


def some_names(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:5]) + (f" and {(len(names) - 5)} more" if len(names) > 5 else "")
