"""Two processes really train one model over Gloo."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from sspq.runs import history
from tests.data import ilsvrc_tree as ilsvrc
from tests.experiments.imagenet_steps import run
from tests.experiments.runs import report, values

pytestmark = pytest.mark.slow
ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
HOROVODRUN = os.path.join(os.path.dirname(sys.executable), "horovodrun")


@pytest.fixture(scope="module", autouse=True)
def horovod():
    if not os.path.exists(HOROVODRUN):
        pytest.fail("there is no Horovod: bash scripts/install_horovod.sh")


def horovodrun(folder, *options):
    """Runs S1 in two processes; gives the exit status and all that they printed."""
    command = [HOROVODRUN, "--gloo", "-np", "2"]
    command += [sys.executable, "-m", "tests.experiments.horovod_rank", str(folder)]
    command += ["--trainer", "horovod"] + [str(o) for o in options]
    env = dict(os.environ, XDG_CACHE_HOME=str(folder), TF_CPP_MIN_LOG_LEVEL="2")
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=1200,
    )
    return done.returncode, done.stdout.decode()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    # An odd number to validate on, so that the processes' shares differ.
    return ilsvrc.make(tmp_path_factory.mktemp("images") / "tree", val=7)


@pytest.fixture(scope="module")
def trained(tree, tmp_path_factory):
    """The folder of two epochs with two processes: run/ and the weights of each process."""
    folder = tmp_path_factory.mktemp("horovod")
    status, output = horovodrun(
        folder, "--data", tree, "--epochs", 2, "--base_lr", 3.2, "--log-dir", folder / "run"
    )
    assert status == 0, output
    return folder


def weights(folder, rank, epoch):
    with np.load(str(folder / (f"rank{rank}-epoch{epoch}.npz"))) as f:
        return {name.replace("|", "/"): f[name] for name in f.files}


@pytest.mark.parametrize("epoch", [1, 2])
def test_both_processes_hold_the_same_weights_after_each_epoch(trained, epoch):
    one, other = weights(trained, 0, epoch), weights(trained, 1, epoch)
    trainable = [n for n in one if re.search(r"/(W|b|SP|gamma|beta|EMA)$", n)]
    assert len(trainable) > 100
    for name in trainable:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    before = weights(trained, 0, 1)
    assert epoch == 1 or not np.array_equal(before["linear/W"], one["linear/W"])


def test_fp16_sends_half_the_bytes_and_trains_nearly_the_same(tree, tmp_path):
    held = {}
    for compression, sent in (("none", "float32"), ("fp16", "float16")):
        folder = tmp_path / compression
        folder.mkdir()
        options = ("--data", tree, "--epochs", 1, "--base_lr", 0.064, "--compression", compression)
        status, output = horovodrun(folder, *options, "--log-dir", folder / "run")
        assert status == 0, output
        assert report(folder / "run").get("compression", "none") == compression
        held[compression], other = weights(folder, 0, 1), weights(folder, 1, 1)
        assert list(held[compression]["sent"]) == [sent]
        for name in ("linear/W", "linear/b", "conv0/W"):
            np.testing.assert_array_equal(held[compression][name], other[name], err_msg=name)
    # It begins at 0, so it is a sum of gradients.
    whole, rounded = held["none"]["linear/b"], held["fp16"]["linear/b"]
    assert not np.array_equal(rounded, whole)
    np.testing.assert_allclose(rounded, whole, atol=0.1 * np.abs(whole).max())


def test_only_rank_0_writes(trained):
    run = trained / "run"
    assert report(run)["trainer"] == "horovod" and report(run)["epochs"] == 2
    assert len([n for n in os.listdir(str(run)) if n.startswith("events.out")]) == 1
    assert sorted(os.listdir(str(trained))) == sorted(
        ["run", "sspq"] + [f"rank{r}-epoch{e}.npz" for r in (0, 1) for e in (1, 2)]
    )
    saved = values(run)
    for name, value in weights(trained, 0, 2).items():
        if name in saved:
            np.testing.assert_array_equal(saved[name], value, err_msg=name)


def test_the_rate_follows_the_total_batch_and_each_process_takes_its_share(trained):
    # 4 images a step over both: 3 steps for 12 images, and 3.2 * 4/256.
    rows = history.read(str(trained / "run"))
    assert [r["learning_rate"] for r in rows] == [pytest.approx(0.05)] * 2
    assert values(trained / "run")["global_step"] == 6


def test_validation_counts_the_images_of_both(trained, tree, tmp_path):
    arguments = ("--eval", "--load", trained / "run", "--data", tree, "--log", tmp_path)
    assert run("SSQ_S1", *arguments) == 0
    assert report(tmp_path)["top1"] == pytest.approx(report(trained / "run")["top1"])
    assert report(tmp_path)["dataset"]["test_images"] == 7


def test_an_odd_batch_is_refused_by_both(tree, tmp_path):
    status, output = horovodrun(
        tmp_path, "--data", tree, "--batch", 3, "--log-dir", tmp_path / "run"
    )
    assert status != 0 and "`--batch` must be divisible by 2 GPUs or processes, got 3" in output
    assert not (tmp_path / "run").exists()
