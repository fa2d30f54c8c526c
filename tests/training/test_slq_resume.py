"""Quantization that is killed and resumed, and on several towers."""

import numpy as np
import pytest
from tensorpack import (
    AsyncMultiGPUTrainer,
    SyncMultiGPUTrainerParameterServer,
    SyncMultiGPUTrainerReplicated,
)
from tensorpack.callbacks import Callback

from sspq import slq as arrays
from sspq.training.slq.callback import SLQ
from tests.training.slq_net import LAYERS, STEPS, Watch, assert_held, train, values


class Stop(BaseException):
    """Stands for a kill."""


class Kill(Callback):
    """Ends the run, as it were, after a step."""

    def __init__(self, step):
        self._step = step

    def _trigger_step(self):
        if self.global_step == self._step:
            raise Stop()


# The first step of an epoch, right after its stage has begun, one within, and the last one.
@pytest.mark.parametrize("step", [STEPS + 1, 2 * STEPS + STEPS // 2, 3 * STEPS])
def test_a_killed_run_ends_with_the_bits_of_the_undisturbed_one(whole, tmp_path, step):
    with pytest.raises(Stop):
        train(tmp_path, SLQ(bits=4), [Kill(step)])
    train(tmp_path, SLQ(bits=4), seed=1)  # initial values that would show
    expected, found = values(whole[0], 4), values(tmp_path, 4)
    assert set(expected) == set(found)
    for name in expected:
        assert found[name].tobytes() == expected[name].tobytes(), name


def test_a_checkpoint_within_a_stage_goes_on_without_clustering(tmp_path, monkeypatch):
    train(tmp_path, SLQ(bits=3, epochs=2), epochs=1)
    monkeypatch.setattr(arrays, "next_stage", lambda *_: pytest.fail("it clusters again"))
    train(tmp_path, SLQ(bits=3, epochs=2), epochs=2)


TRAINERS = {
    "async": lambda: AsyncMultiGPUTrainer([0, 1]),
    "parameter-server": lambda: SyncMultiGPUTrainerParameterServer([0, 1]),
    "replicated": lambda: SyncMultiGPUTrainerReplicated([0, 1]),
}


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_frozen_weights_are_held_on_every_tower(tmp_path, name):
    watch = Watch()
    train(tmp_path, SLQ(bits=3), [watch], trainer=TRAINERS[name]())
    copies = ("", "tower1/") if name == "replicated" else ("",)
    assert ("tower1/fc1/W" in watch.steps[0]) == (name == "replicated")
    for layer in LAYERS:
        assert assert_held(watch.steps, layer, copies).all()
        if name == "replicated":
            for held in watch.steps:
                np.testing.assert_array_equal(held["tower1/" + layer], held[layer])
