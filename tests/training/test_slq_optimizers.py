"""Stage by stage quantization with all kinds of optimizers and variables."""

from types import SimpleNamespace

import numpy as np
import pytest
from tensorflow.contrib.opt import MovingAverageOptimizer, ShampooOptimizer
from tensorpack.tfutils.optimizer import VariableAssignmentOptimizer

from sspq.compat import tf
from sspq.training.slq.callback import SLQ
from sspq.training.slq.variables import layer_of
from tests.training.slq_net import LAYERS, Net, Watch, assert_held, momentum, train


class Plain(Net):
    """As tensorpack trains by itself: variables are updated as soon as they have a gradient."""

    def optimizer(self):
        return self._slq.optimizer(self._make())


class OfResources(Net):
    def build_graph(self, x, y):
        with tf.variable_scope(tf.get_variable_scope(), use_resource=True):
            return super().build_graph(x, y)


def shrinking():
    """An optimizer that moves weights which have no gradient: a decay of its own."""
    return VariableAssignmentOptimizer(momentum(), lambda v: 0.99 * v)


OPTIMIZERS = {
    "momentum": momentum,
    "nesterov": lambda: tf.train.MomentumOptimizer(0.05, 0.9, use_nesterov=True),
    "adam": lambda: tf.train.AdamOptimizer(0.01),
    "decoupled decay": shrinking,
}


@pytest.mark.parametrize(
    "make", [OPTIMIZERS[k] for k in sorted(OPTIMIZERS)], ids=sorted(OPTIMIZERS)
)
def test_frozen_weights_are_held_whatever_the_optimizer_does(tmp_path, make):
    watch = Watch()
    train(tmp_path, SLQ(bits=3), [watch], make)
    for name in LAYERS:
        assert assert_held(watch.steps, name).all()


UNPROCESSED = {
    "adagrad": lambda: tf.train.AdagradOptimizer(0.05),
    "ftrl": lambda: tf.train.FtrlOptimizer(0.05),
    "rmsprop": lambda: tf.train.RMSPropOptimizer(0.001),
    "slots of other shapes": lambda: ShampooOptimizer(0.05),
    "a wrapper without slots": lambda: MovingAverageOptimizer(momentum()),
}


@pytest.mark.parametrize("name", sorted(UNPROCESSED))
def test_any_optimizer_trains_what_is_not_frozen(tmp_path, name):
    watch = Watch()
    train(tmp_path, SLQ(bits=3), [watch], UNPROCESSED[name], model=Plain)
    for layer in LAYERS:
        assert assert_held(watch.steps, layer).all()
        assert all(np.isfinite(held[layer]).all() for held in watch.steps)


def test_resource_variables_are_held(tmp_path):
    watch = Watch()
    train(tmp_path, SLQ(bits=3), [watch], model=OfResources)
    for layer in LAYERS:
        assert assert_held(watch.steps, layer).all()


def test_a_variable_is_the_layer_of_its_whole_name_first():
    named = {n: SimpleNamespace(op=SimpleNamespace(name=n)) for n in ("W", "tower1/W", "tower0/V")}
    first = {"W": "W's", "tower0/V": "V's"}
    assert [layer_of(v, first) for v in named.values()] == ["W's", "W's", "V's"]
    assert layer_of(named["tower1/W"], dict(first, **{"tower1/W": "its own"})) == "its own"


def test_without_the_wrapped_optimizer_weights_would_move(tmp_path):
    # What the tests above look at is no matter of course.
    class Careless(SLQ):
        def optimizer(self, optimizer):
            super().optimizer(optimizer)
            self.layer_of(tf.trainable_variables()[0])
            return optimizer

    with pytest.raises(ValueError, match="frozen weights are not at their centres any more"):
        train(tmp_path, Careless(bits=3))
