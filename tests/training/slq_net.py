"""A small network that is quantized stage by stage, and what is watched of it."""

import numpy as np
from tensorpack import (
    BatchNorm,
    FullyConnected,
    ModelDesc,
    ModelSaver,
    QueueInput,
    SimpleTrainer,
    TrainConfig,
    launch_train_with_config,
    logger,
    regularize_cost,
)
from tensorpack.callbacks import Callback, RunUpdateOps
from tensorpack.dataflow import DataFlow
from tensorpack.tfutils.optimizer import apply_grad_processors

from sspq import checkpoints
from sspq import slq as arrays
from sspq.compat import tf
from sspq.models.updates import UpdateLast

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


def momentum():
    return tf.train.MomentumOptimizer(0.05, 0.9)


def train(folder, slq, callbacks=(), make=momentum, trainer=None, epochs=None, seed=0, model=Net):
    """Trains, or goes on from the last checkpoint in ``folder``."""
    logger.set_logger_dir(str(folder), action="k")
    prefix = checkpoints.last_complete(str(folder))
    first = checkpoints.global_step(prefix) // STEPS + 1 if prefix else 1
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
            session_init=checkpoints.ExactRestore(prefix) if prefix else None,
        )
        launch_train_with_config(config, trainer or SimpleTrainer())


def values(folder, epoch):
    reader = tf.train.NewCheckpointReader(str(folder / (f"model-{(epoch * STEPS)}")))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def state_of(held, name):
    parts = ("index", "frozen", "centres", "frozen_centres", "loss")
    return arrays.LayerState(**{p: held[f"{name}/slq/{p}"] for p in parts})


def assert_held(steps, name, copies=("",)):
    """Frozen weights have their centres' bits after every step, and none is ever released."""
    before = np.zeros_like(steps[0][name + "/slq/frozen"])
    for held in steps:
        frozen, index, centres = [held[f"{name}/slq/{p}"] for p in ("frozen", "index", "centres")]
        wanted = centres.astype(np.float32)[index][frozen].tobytes()
        for tower in copies:
            assert held[tower + name][frozen].tobytes() == wanted
        assert not (before & ~frozen).any()
        before = frozen
    return before
