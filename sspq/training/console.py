"""What a training run shows on the terminal; its log file holds everything."""

import logging

# Tensorpack's sources that tell how a run is going. The others print every layer and every list of
# variables, hundreds of lines ahead of the first epoch.
_SHOWN = ("base.py", "monitor.py", "fit.py")


def quieten() -> None:
    """Keeps tensorpack's set-up messages off the terminal, but no warning and no result."""

    def shown(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or record.filename in _SHOWN

    for handler in logging.getLogger("tensorpack").handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(shown)
