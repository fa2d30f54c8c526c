"""The trainers of several GPUs, on the CPU."""

import pytest

from sspq.training import distributed
from tests.experiments.imagenet_steps import run
from tests.experiments.runs import report, values


@pytest.mark.slow
@pytest.mark.parametrize("name", ["async", "replicated", "parameter-server"])
def test_every_trainer_trains_with_two_towers(tree, tmp_path, monkeypatch, name):
    # Two copies of the model, which TensorFlow puts on the CPU for want of a GPU.
    monkeypatch.setattr(distributed, "towers", lambda trainer: 2)
    made = []
    make = distributed.trainer
    monkeypatch.setattr(distributed, "trainer", lambda *a: made.append(make(*a)) or made[-1])
    options = ("--data", tree, "--epochs", 1, "--log", tmp_path)
    assert run("SSQ_S1", *options, "--trainer", name) == 0
    assert len(values(tmp_path)) > 100
    kind = {"async": "AsyncMultiGPU", "replicated": "Replicated", "parameter-server": "Parameter"}
    assert kind[name] in type(made[0]).__name__
    r = report(tmp_path)
    assert r["trainer"] == name and values(tmp_path)["global_step"] == 3 and r["top1"] is not None
