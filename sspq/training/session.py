"""Sessions for training and inference."""

from tensorpack.tfutils.sesscreate import NewSessionCreator

from sspq.compat import has_gpu


def session_creator() -> NewSessionCreator:
    """Tensorpack's, but with all cores for the ops themselves where they compute on the CPU."""
    creator = NewSessionCreator()
    if not has_gpu():
        creator.config.intra_op_parallelism_threads = 0
    return creator
