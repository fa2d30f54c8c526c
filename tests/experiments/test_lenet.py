"""LeNet learns digits, and training and evaluation start from an ``.npz`` file."""

import numpy as np
import pytest
from tensorpack.tfutils.varmanip import load_checkpoint_vars
from tensorpack.utils import logger

import sspq
from sspq import checkpoints
from sspq.compat import tf
from sspq.experiments.inputs import ImagesInput, ImagesSettings
from sspq.runs import history
from sspq.runs.folder import RunFolder
from sspq.training import distributed
from sspq.training.distributed import Processes
from sspq.training.engine import Training, fit
from sspq.training.run import seed_everything
from sspq.training.validation import evaluate

BATCH, SEED, EPOCHS, RATE = 64, 2, 12, 0.02
TRAINER = "parameter-server"


def run(path, data, epochs, rate, load=None):
    """Trains LeNet; returns the history."""
    with tf.Graph().as_default():
        seed_everything(SEED)
        folder = RunFolder(path, {}, False)
        logger.set_logger_dir(path, action="k")
        training = Training(
            model=sspq.LeNet(),
            data=data,
            batch=BATCH,
            epochs=epochs,
            schedule=lambda epoch, current: rate if epoch <= 8 else rate / 10,
            trainer=TRAINER,
            load=load,
        )
        return fit(training, folder, distributed.processes(TRAINER))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The data, the folder of a run, and the trained parameters as an .npz file."""
    settings = ImagesSettings("digits", seed=SEED)
    data, path = ImagesInput(settings, Processes()), tmp_path_factory.mktemp("lenet")
    run(str(path / "run"), data, EPOCHS, RATE)
    values = load_checkpoint_vars(checkpoints.last_complete(str(path / "run")))
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
            batches, count = data.batches(sspq.LeNet().preprocessing)
            source = checkpoints.resolve(str(load))
            results.append(evaluate(sspq.LeNet(), batches, source, count))
    assert results[0] == results[1] and results[0]["top1"] >= 98


def test_training_goes_on_from_an_npz_file(trained, tmp_path):
    data, path = trained
    load = str(path / "lenet.npz")
    rows = run(str(tmp_path / "run"), data, 1, 0.0, load)
    assert rows[-1]["top1"] == history.read(str(path / "run"))[-1]["top1"]
    after = load_checkpoint_vars(checkpoints.last_complete(str(tmp_path / "run")))
    for name, value in load_checkpoint_vars(load).items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
