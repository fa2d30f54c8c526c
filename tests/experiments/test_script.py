"""What a training script says when it fails."""

import argparse
import logging

import pytest

from sspq.compat import tf
from sspq.experiments.script import main
from sspq.training.console import quieten

TOO_LARGE = "out of memory with a `--batch` of 256, a smaller batch takes less: "


def exhausted(text):
    return tf.errors.ResourceExhaustedError(None, None, text + "\n\t[[node conv0]]\nHint: ...")


@pytest.mark.parametrize(
    "error, told",
    [
        (MemoryError("Unable to allocate 28.7 GiB"), TOO_LARGE + "Unable to allocate 28.7 GiB"),
        (exhausted("OOM when allocating tensor"), TOO_LARGE + "OOM when allocating tensor"),
        (exhausted("log/model-3; No space left on device"), "log/model-3; No space left on device"),
    ],
)
def test_what_there_is_too_little_of_is_told_in_one_line(error, told, capsys, monkeypatch):
    def run():
        raise error

    args = argparse.Namespace(gpu=None, batch=256, eval=False, log="log")
    assert main("S1", args, run) == 2
    assert capsys.readouterr().err.split(": ", 1)[1] == told + "\n"
    monkeypatch.setenv("SSPQ_TRACEBACK", "1")
    with pytest.raises(type(error)):
        main("S1", args, run)


def test_tensorpack_tells_the_step_at_which_training_failed(caplog, monkeypatch):
    quieten()
    logger = logging.getLogger("tensorpack")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    for text, values in (("Training failed at global_step=", (7,)), ("%d of %d", (7, 8))):
        logger.error(text, *values)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["Training failed at global_step= 7", "7 of 8"]
