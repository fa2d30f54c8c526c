"""What a training run shows on the terminal; its log file holds everything."""

import logging

from tensorpack.utils import logger as _  # noqa: F401  whose handlers get the filters

from sspq.compat import tf

# Tensorpack's sources that tell how a run is going. The others print every layer and every list of
# variables, hundreds of lines ahead of the first epoch.
_SHOWN = ("base.py", "monitor.py", "fit.py")


def quieten() -> None:
    """Keeps set-up messages of tensorpack and TensorFlow off the terminal, but no result."""
    tf.logging.set_verbosity(tf.logging.ERROR)
    logger = logging.getLogger("tensorpack")
    logger.addFilter(_whole)
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(_shown)


def _shown(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.filename in _SHOWN


def _whole(record: logging.LogRecord) -> bool:
    """Gives the text a place for its values.

    Tensorpack's "Training failed at global_step=" has none, so that logging would print a traceback
    of its own instead.
    """
    if record.args and "%" not in str(record.msg):
        record.msg = str(record.msg) + " %s" * len(record.args)
    return True
