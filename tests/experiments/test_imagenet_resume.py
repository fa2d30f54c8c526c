"""ImageNet training to the same bits: in one go, killed and resumed, with any number of readers."""

import pytest

from sspq.runs import history
from tests.experiments.imagenet_steps import run
from tests.experiments.killing import Killed, kill_when_saved
from tests.experiments.runs import assert_same, report, values

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_block_a_group")]


@pytest.mark.parametrize("options", [(), ("--symbolic",)])
def test_a_killed_run_goes_on_to_the_same_bits(tree, tmp_path, monkeypatch, options):
    options += ("--data", tree, "--epochs", 2, "--val-every", 2, "--resume")
    assert run("SSQ_S1", "--log", tmp_path / "whole", *options) == 0
    with monkeypatch.context() as patch:
        kill_when_saved(patch, 1)
        with pytest.raises(Killed):
            run("SSQ_S1", "--log", tmp_path / "killed", *options)
    assert len(history.read(str(tmp_path / "killed"))) == 1
    assert run("SSQ_S1", "--log", tmp_path / "killed", *options) == 0
    assert_same(values(tmp_path / "killed"), values(tmp_path / "whole"))
    r = report(tmp_path / "whole")
    assert r["symbolic"] == ("--symbolic" in options) and r["dataset"]["train_images"] == 12


def test_the_same_seed_gives_the_same_bits_however_many_processes_read(tree, tmp_path):
    for name, options in (("plain", ()), ("processes", ("--processes", 2))):
        log = ("--log", tmp_path / name)
        assert run("SSQ_S1", "--data", tree, "--epochs", 1, *log, *options) == 0
    assert_same(values(tmp_path / "processes"), values(tmp_path / "plain"))
