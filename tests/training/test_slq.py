"""Stage by stage quantization in training: exact freezing, checkpoints, several towers."""

import numpy as np
import pytest
from tensorpack import (
    AsyncMultiGPUTrainer,
    BatchNorm,
    FullyConnected,
    ModelDesc,
    ModelSaver,
    QueueInput,
    SimpleTrainer,
    SyncMultiGPUTrainerParameterServer,
    SyncMultiGPUTrainerReplicated,
    TrainConfig,
    launch_train_with_config,
    logger,
    regularize_cost,
)
from tensorpack.callbacks import Callback, RunUpdateOps
from tensorpack.dataflow import DataFlow
from tensorpack.tfutils.optimizer import VariableAssignmentOptimizer, apply_grad_processors
from tensorpack.tfutils.tower import TowerContext

from sspq import slq as arrays
from sspq.compat import tf
from sspq.slq import Schedule
from sspq.training import checkpoint
from sspq.training.slq import MLQ, SLQ, StageError
from sspq.training.updates import UpdateLast

STEPS = 60
LAYERS = ("fc1/W", "fc2/W")


class Numbers(DataFlow):
    """Always the same batches, by number of the epoch and step."""

    def __init__(self, first_epoch=1):
        self._epoch = first_epoch - 1

    def __len__(self):
        return STEPS

    def __iter__(self):
        self._epoch += 1
        rng = np.random.RandomState(self._epoch)
        for _ in range(len(self)):
            x = rng.randn(8, 12).astype(np.float32)
            yield [x, (x[:, 0] * x[:, 1] > 0).astype(np.int32)]


class Net(ModelDesc):
    """Two layers with biases and batch normalization, with weight decay on everything."""

    def __init__(self, slq, make):
        super().__init__()
        self._slq, self._make, self._costs = slq, make, []

    def inputs(self):
        return [tf.TensorSpec([None, 12], tf.float32, "x"), tf.TensorSpec([None], tf.int32, "y")]

    def build_graph(self, x, y):
        x = tf.nn.relu(BatchNorm("bn", FullyConnected("fc1", x, 16)))
        logits = FullyConnected("fc2", x, 2)
        cost = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=y)
        )
        cost += regularize_cost(".*", lambda v: 0.05 * tf.nn.l2_loss(v))
        self._costs.append(cost)
        return cost

    def optimizer(self):
        optimizer = apply_grad_processors(self._make(), [UpdateLast(self._costs)])
        return self._slq.optimizer(optimizer) if self._slq else optimizer


class Watch(Callback):
    """What every variable holds after every step, on all towers."""

    def __init__(self):
        self.steps = []

    def _trigger_step(self):
        fetched = {v.op.name: v for v in tf.global_variables() + tf.local_variables()}
        self.steps.append(self.trainer.sess.run(fetched))


class Stop(BaseException):
    """Stands for a kill."""


class Kill(Callback):
    """Ends the run, as it were, after a step."""

    def __init__(self, step):
        self._step = step

    def _trigger_step(self):
        if self.global_step == self._step:
            raise Stop()


def momentum():
    return tf.train.MomentumOptimizer(0.05, 0.9)


def train(folder, slq, callbacks=(), make=momentum, trainer=None, epochs=None, seed=0, model=Net):
    """Trains, or goes on from the last checkpoint in ``folder``."""
    logger.set_logger_dir(str(folder), action="k")
    prefix = checkpoint.last_complete(str(folder))
    first = checkpoint.global_step(prefix) // STEPS + 1 if prefix else 1
    with tf.Graph().as_default():
        tf.set_random_seed(seed)
        config = TrainConfig(
            model=model(slq, make),
            data=QueueInput(Numbers(first)),
            callbacks=[slq, *callbacks, ModelSaver(max_to_keep=99)],
            monitors=[],
            extra_callbacks=[RunUpdateOps()],
            steps_per_epoch=STEPS,
            max_epoch=epochs or slq.last_epoch,
            starting_epoch=first,
            session_init=checkpoint.ExactRestore(prefix) if prefix else None,
        )
        launch_train_with_config(config, trainer or SimpleTrainer())


def values(folder, epoch):
    reader = tf.train.NewCheckpointReader(str(folder / ("model-%d" % (epoch * STEPS))))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def state_of(held, name):
    parts = ("index", "frozen", "centres", "frozen_centres", "loss")
    return arrays.LayerState(**{p: held["%s/slq/%s" % (name, p)] for p in parts})


def assert_held(steps, name, copies=("",)):
    """Frozen weights have their centres' bits after every step, and none is ever released."""
    before = np.zeros_like(steps[0][name + "/slq/frozen"])
    for held in steps:
        frozen, index, centres = [
            held["%s/slq/%s" % (name, p)] for p in ("frozen", "index", "centres")
        ]
        wanted = centres.astype(np.float32)[index][frozen].tobytes()
        for tower in copies:
            assert held[tower + name][frozen].tobytes() == wanted
        assert not (before & ~frozen).any()
        before = frozen
    return before


def shrinking():
    """An optimizer that moves weights which have no gradient: a decay of its own."""
    return VariableAssignmentOptimizer(momentum(), lambda v: 0.99 * v)


OPTIMIZERS = {
    "momentum": momentum,
    "nesterov": lambda: tf.train.MomentumOptimizer(0.05, 0.9, use_nesterov=True),
    "adam": lambda: tf.train.AdamOptimizer(0.01),
    "decoupled decay": shrinking,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All four stages at 4 bits: the folder, and the variables after each of 240 steps."""
    folder, watch = tmp_path_factory.mktemp("whole"), Watch()
    train(folder, SLQ(bits=4), [watch])
    return folder, watch.steps


def test_frozen_weights_keep_their_centre_s_bits_through_hundreds_of_steps(whole):
    _, steps = whole
    assert len(steps) == 4 * STEPS
    for name in LAYERS:
        assert assert_held(steps, name).all()


def test_frozen_weights_have_no_momentum(whole):
    _, steps = whole
    for held in steps:
        for name in LAYERS:
            frozen = held[name + "/slq/frozen"]
            assert not held[name + "/Momentum"][frozen].any()


def test_all_that_is_not_frozen_trains_on(whole):
    _, steps = whole
    for first, last in ((steps[i * STEPS], steps[(i + 1) * STEPS - 1]) for i in range(4)):
        for name in ("fc1/b", "fc2/b", "bn/gamma", "bn/beta", "bn/mean/EMA"):
            assert (first[name] != last[name]).any(), name
        for name in LAYERS:
            free = ~first[name + "/slq/frozen"]
            assert (first[name][free] != last[name][free]).all()


def test_each_stage_freezes_as_many_centres_as_its_schedule_says(whole):
    _, steps = whole
    for name in LAYERS:
        found = [held[name + "/slq/frozen_centres"].sum() for held in steps[::STEPS]]
        assert found == list(arrays.SLQ[4].counts)


def test_a_stage_is_what_the_arrays_algorithm_gives_for_the_checkpoint(whole):
    folder, _ = whole
    for epoch in (1, 2, 3):
        before, after = values(folder, epoch), values(folder, epoch + 1)
        for name in LAYERS:
            expected = arrays.next_stage(before[name], state_of(before, name), arrays.SLQ[4])
            found = state_of(after, name)
            for part in ("index", "frozen", "centres", "frozen_centres", "loss"):
                np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))


def test_after_the_last_stage_the_checkpoint_holds_the_quantized_weights(whole):
    folder, _ = whole
    held = values(folder, 4)
    for name in LAYERS:
        state = state_of(held, name)
        assert state.finished
        np.testing.assert_array_equal(held[name], arrays.share(held[name], state))
        assert len(np.unique(held[name])) <= 9


@pytest.mark.parametrize(
    "make", [OPTIMIZERS[k] for k in sorted(OPTIMIZERS)], ids=sorted(OPTIMIZERS)
)
def test_frozen_weights_are_held_whatever_the_optimizer_does(tmp_path, make):
    watch = Watch()
    train(tmp_path, SLQ(bits=3), [watch], make)
    for name in LAYERS:
        assert assert_held(watch.steps, name).all()


def test_without_the_wrapped_optimizer_weights_would_move(tmp_path):
    # What the tests above look at is no matter of course.
    class Careless(SLQ):
        def optimizer(self, optimizer):
            super().optimizer(optimizer)
            self.layer_of(tf.trainable_variables()[0])
            return optimizer

    with pytest.raises(ValueError, match="frozen weights are not at their centres any more"):
        train(tmp_path, Careless(bits=3))


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


def test_weights_of_an_earlier_run_are_evaluated_without_the_state(whole):
    folder, _ = whole
    with tf.Graph().as_default() as graph:
        with TowerContext("", is_training=False):
            model = Net(None, None)
            model.build_graph(*[tf.placeholder(s.dtype, s.shape) for s in model.inputs()])
        restore = checkpoint.ExactRestore(str(folder / "model-240"), parameters_only=True)
        restore._setup_graph()
        with tf.Session(graph=graph) as sess:
            restore._run_init(sess)
            found = sess.run({v.op.name: v for v in tf.trainable_variables()})
    expected = values(folder, 4)
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name])


def test_variables_that_are_no_state_are_still_refused(tmp_path):
    with tf.Graph().as_default(), tf.Session() as sess:
        for name in ("fc1/W", "fc1/W/slq/index", "fc1/W/slq/other"):
            tf.get_variable(name, [2])
        sess.run(tf.global_variables_initializer())
        prefix = tf.train.Saver().save(sess, str(tmp_path / "model"))
    with tf.Graph().as_default():
        tf.get_variable("fc1/W", [2])
        with pytest.raises(checkpoint.CheckpointError, match=r"1 of its .* \(fc1/W/slq/other\)"):
            checkpoint.ExactRestore(prefix, parameters_only=True)._setup_graph()


def test_layers_of_mlq_advance_group_by_group(tmp_path):
    watch = Watch()
    train(tmp_path, MLQ([["fc2/W"], ["fc1/W"]]), [watch])
    begun = [
        tuple(int(held[n + "/slq/frozen_centres"].sum()) for n in LAYERS)
        for held in watch.steps[::STEPS]
    ]
    assert begun == [(0, 2), (0, 3), (2, 3), (3, 3)]
    for name in LAYERS:
        assert assert_held(watch.steps, name).all()
        assert len(np.unique(values(tmp_path, 4)[name])) == 3
    # The first group is at its end before the second one begins.
    assert not watch.steps[0]["fc2/W/slq/frozen_centres"][0]


def test_the_loss_partition_freezes_other_centres_first(tmp_path):
    train(tmp_path, SLQ(bits=4, partition="loss"), epochs=1)
    held = values(tmp_path, 1)
    for name in LAYERS:
        state = state_of(held, name)
        largest = np.argsort(-state.loss, kind="stable")[:3]
        assert sorted(np.flatnonzero(state.frozen_centres)) == sorted(largest)


def test_only_the_layers_asked_for_are_quantized(tmp_path):
    train(tmp_path, SLQ(bits=3, layers="fc1/W"))
    names = [n for n in values(tmp_path, 2) if "/slq/" in n]
    assert len(names) == 5 and all(n.startswith("fc1/W/slq/") for n in names)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"bits": 6}, r"`bits` must be one of \[2, 3, 4, 5\], or `schedule` be given, got 6"),
        ({"partition": "size"}, "`partition` must be one of .* got 'size'"),
        ({"layers": "("}, "`layers` must be a regular expression"),
        ({"epochs": [1, 1, 1, 1, 1.5]}, "`epochs` must be at least 1, .* got .*1.5"),
        ({"epochs": 0}, "`epochs` must be at least 1, .* each of 5 stages, got 0"),
        ({"epochs": (1, 2)}, "one for each of 5 stages, got"),
        ({"layers": "conv.*"}, "`layers`: 'conv.*' fits none of the variables .*'fc1/W'"),
        ({"groups": [["fc1/W"]]}, "`groups` must hold each of the layers"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        train(tmp_path, SLQ(**arguments))


def test_a_model_without_the_wrapped_optimizer_is_refused(tmp_path):
    class Forgotten(SLQ):
        def optimizer(self, optimizer):
            return optimizer

    with pytest.raises(ValueError, match="what its optimizer\\(\\) returns"):
        train(tmp_path, Forgotten())


def test_a_checkpoint_of_other_epochs_is_refused(tmp_path):
    train(tmp_path, SLQ(bits=4, epochs=1), epochs=2)
    with pytest.raises(StageError, match="has passed 2 of its 4 stages; epoch 3 expects 1"):
        train(tmp_path, SLQ(bits=4, epochs=9))


def test_a_stage_lasts_its_epochs():
    slq = SLQ(bits=3, epochs=(2, 3))
    assert [slq.stage_of(e) for e in range(1, 8)] == [1, 1, 2, 2, 2, 2, 2] and slq.last_epoch == 5
    longer = SLQ(schedule=Schedule(6, (11, 33)), epochs=4)
    assert longer.epochs == (4, 4) and longer.schedule.partition == "magnitude"
