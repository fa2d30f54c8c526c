"""Sessions for training and inference."""

import ctypes
import sys

from tensorpack.tfutils.sesscreate import NewSessionCreator

from sspq.compat import has_gpu

# Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_memory() -> None:
    """Has this process keep the memory that it frees, in one heap, for what it allocates next.

    Glibc gives large blocks back to the system, and TensorFlow frees all tensors of a step in the
    course of it: to have their pages made and cleared again takes 5 % of a training step of
    L-SSPQ50 at 224 pixels. The peak is the same. Without glibc it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((_TRIM_THRESHOLD, -1), (_MMAP_MAX, 0), (_ARENA_MAX, 1)):
            mallopt(parameter, value)


def session_creator() -> NewSessionCreator:
    """Tensorpack's, but with all cores for the ops themselves where they compute on the CPU."""
    creator = NewSessionCreator()
    if not has_gpu():
        creator.config.intra_op_parallelism_threads = 0
        keep_memory()
    return creator
