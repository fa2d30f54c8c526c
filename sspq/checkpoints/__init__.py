"""Checkpoints: their files, loading them into a graph, and the models that they belong to."""

from sspq.checkpoints.files import (
    NPZ,
    CheckpointError,
    damage,
    fingerprint,
    global_step,
    last_complete,
    prefixes,
    remove_old,
    resolve,
    shapes,
)
from sspq.checkpoints.restore import ExactRestore

__all__ = [
    "NPZ",
    "CheckpointError",
    "ExactRestore",
    "damage",
    "fingerprint",
    "global_step",
    "last_complete",
    "prefixes",
    "remove_old",
    "resolve",
    "shapes",
]
