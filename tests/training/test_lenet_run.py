"""LeNet learns digits, and training and evaluation start from an ``.npz`` file."""

import numpy as np
import pytest
from tensorpack.input_source import QueueInput
from tensorpack.tfutils.varmanip import load_checkpoint_vars
from tensorpack.utils import logger

import sspq
from sspq.compat import tf
from sspq.data import digits
from sspq.data.flow import TestFlow, TrainFlow
from sspq.training import checkpoint, command, history, trainers
from sspq.training.fit import Training, fit
from sspq.training.run_folder import RunFolder
from sspq.training.validation import evaluate

BATCH, SEED, EPOCHS, RATE = 64, 2, 12, 0.02


def run(path, data, epochs, rate, load=None):
    """Trains LeNet; returns the history."""
    with tf.Graph().as_default():
        command.seed_everything(SEED)
        folder = RunFolder(path, {}, False)
        logger.set_logger_dir(path, action="k")
        training = Training(
            model=sspq.LeNet(),
            epochs=epochs,
            steps=len(TrainFlow(data, BATCH, SEED)),
            schedule=lambda epoch, current: rate if epoch <= 8 else rate / 10,
            training_input=lambda first: QueueInput(TrainFlow(data, BATCH, SEED, first)),
            validation_input=lambda: TestFlow(data, 200),
            load=load,
        )
        processes = trainers.processes("parameter-server")
        return fit(training, trainers.trainer("parameter-server", 1), folder, processes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The data, the folder of a run, and the trained parameters as an .npz file."""
    data, path = digits.load(), tmp_path_factory.mktemp("lenet")
    run(str(path / "run"), data, EPOCHS, RATE)
    values = load_checkpoint_vars(checkpoint.last_complete(str(path / "run")))
    parameters = {name: v for name, v in values.items() if name.endswith(("/W", "/b"))}
    assert sum(v.size for v in parameters.values()) == 657080
    np.savez(str(path / "lenet.npz"), **parameters)
    return data, path


def test_lenet_reads_98_of_100_digits(trained):
    data, path = trained
    rows = history.read(str(path / "run"))
    assert len(rows) == EPOCHS and rows[-1]["top1"] >= 98


def test_an_npz_file_is_evaluated_as_the_checkpoint_is(trained):
    data, path = trained
    results = []
    for load in (path / "run", path / "lenet.npz"):
        with tf.Graph().as_default():
            flow = TestFlow(data, 200)
            source = checkpoint.resolve(str(load))
            results.append(evaluate(sspq.LeNet(), flow, source, len(flow)))
    assert results[0] == results[1] and results[0]["top1"] >= 98


def test_training_goes_on_from_an_npz_file(trained, tmp_path):
    data, path = trained
    load = checkpoint.resolve(str(path / "lenet.npz"))
    rows = run(str(tmp_path / "run"), data, 1, 0.0, load)
    assert rows[-1]["top1"] == history.read(str(path / "run"))[-1]["top1"]
    after = load_checkpoint_vars(checkpoint.last_complete(str(tmp_path / "run")))
    for name, value in load_checkpoint_vars(load).items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
