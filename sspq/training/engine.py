"""Trains a classifier from where its log folder or another checkpoint left off."""

from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np
from tensorpack.callbacks import ModelSaver, PeriodicCallback, ScalarPrinter, TFEventWriter
from tensorpack.train import TrainConfig, launch_train_with_config
from tensorpack.utils import logger

from sspq import checkpoints
from sspq.compat import has_gpu, tf
from sspq.runs import history
from sspq.runs.folder import RunFolder
from sspq.training import distributed
from sspq.training.callbacks import History, MeanCost
from sspq.training.distributed import Processes
from sspq.training.inference import InferenceRunner
from sspq.training.schedule import LearningRate, Schedule
from sspq.training.session import session_creator
from sspq.training.validation import Validation

KEEP = 3  # checkpoints of a run
# Shown after every epoch; the events hold everything.
PRINTED = ["learning_rate", "train-cost", "validation-top1"]


class TrainingStoppedError(ValueError):
    """Training ended ahead of its last epoch."""


@dataclass
class Training:
    """A network to train, with its images and its schedule.

    Attributes:
        model: network, a :class:`sspq.models.classifier.Classifier`.
        data: images to train and validate on, prepared as ``model.preprocessing`` says, such as
            those of :mod:`sspq.experiments.inputs`.
        batch: number of images of a step, over all towers and processes.
        epochs: number of epochs.
        schedule: learning rate by epoch, see :mod:`sspq.training.schedule`.
        trainer: one of :data:`sspq.training.distributed.NAMES`.
        load: checkpoint to start from, see :func:`sspq.checkpoints.resolve` (default: None, the
            initial values).
        not_loaded: variables that are not taken from ``load`` (default: the global step and the
            learning rate).
        parameters_only: whether the model's variables alone are taken from ``load``, neither
            momentum nor anything else that an earlier training left (default: False).
        validate_every: number of epochs from one validation to the next; the last epoch is always
            validated (default: 1).
        compression: one of :data:`sspq.training.distributed.COMPRESSIONS`, of Horovod's gradients
            (default: "none").
        callbacks: function that gives further callbacks for the run's :class:`Validation`, if it
            has one, and its folder, in the chief; they run ahead of those that save (default:
            none).
    """

    model: Any
    data: Any
    batch: int
    epochs: int
    schedule: Schedule
    trainer: str
    load: Optional[str] = None
    not_loaded: Sequence[str] = ("global_step", "learning_rate")
    parameters_only: bool = False
    validate_every: int = 1
    compression: str = "none"
    callbacks: Callable[[Optional[Validation], Optional[RunFolder]], Sequence[Any]] = (
        lambda validation, folder: ()
    )

    def __post_init__(self) -> None:
        # Of an epoch; a batch that is too large is refused here.
        self.steps = self.data.steps(self.batch)


def fit(training: Training, folder: Optional[RunFolder], processes: Processes) -> List[history.Row]:
    """Trains to the last epoch, on from the newest whole checkpoint in ``folder``.

    Args:
        training: network, images and schedule.
        folder: folder for checkpoints and history; None in processes that are not the chief.
        processes: processes that train together.

    Returns:
        The history of all epochs; empty but in the chief.

    Raises:
        TrainingStoppedError: the data came to an end. The error that ended it, if known, is raised
            instead.
    """
    first, init = _start(training, folder) if folder else (1, None)
    first = processes.agree(first)
    if first <= training.epochs:
        _train(training, folder, processes, first, init)
    failure = training.data.failure
    rows = history.read(folder.path) if folder else []
    if folder and (not rows or rows[-1]["epoch"] < training.epochs):
        failure = failure or TrainingStoppedError(
            f"training stopped after {len(rows)} of {training.epochs} epochs: its data came to "
            "an end"
        )
    if failure:
        raise failure
    return rows


def _start(training: Training, folder: RunFolder) -> Tuple[int, Optional[Any]]:
    """The epoch to begin with, and what to load."""
    folder.clear_leftovers()
    checkpoints.remove_old(folder.path, KEEP)
    resumed = checkpoints.last_complete(folder.path)
    if resumed:
        first = checkpoints.global_step(resumed) // training.steps + 1
        logger.info(f"Going on with epoch {first} from {resumed}")
        return first, checkpoints.ExactRestore(resumed)
    if training.load:
        return 1, checkpoints.ExactRestore(
            checkpoints.resolve(training.load), training.not_loaded, training.parameters_only
        )
    return 1, None


def _train(
    training: Training,
    folder: Optional[RunFolder],
    processes: Processes,
    first: int,
    init: Optional[Any],
) -> None:
    # Operations that draw, for dropout or rounded gradients, begin anew with the process: a run
    # that is resumed must not draw again what it has had.
    seed = tf.get_default_graph().seed
    if seed is not None and first > 1:
        tf.set_random_seed(int(np.random.RandomState([seed, first]).randint(2**31 - 1)))
    # Processes that are not the chief skip what is marked as the chief's, as most callbacks are.
    callbacks: List[Any] = [LearningRate(training.schedule), MeanCost()]
    data, towers = training.data, distributed.towers(training.trainer)
    validation, images = None, data.validation(training.model.preprocessing)
    if images is not None:
        validation = Validation(processes)
        device = 0 if has_gpu() else -1  # tensorpack's number of the CPU
        runner = validation.runner = InferenceRunner(images, validation, device=device)
        every = PeriodicCallback(runner, every_k_epochs=training.validate_every)
        callbacks.append(every.set_chief_only(False))
    callbacks += training.callbacks(validation, folder)
    if folder:
        callbacks.append(History(folder.path, validation))
        callbacks.append(ModelSaver(max_to_keep=KEEP, checkpoint_dir=folder.path))
    config = TrainConfig(
        model=training.model,
        data=data.training(training.model.preprocessing, training.batch, first, towers),
        callbacks=callbacks,
        monitors=[TFEventWriter(), ScalarPrinter(whitelist=PRINTED)] if folder else [],
        steps_per_epoch=training.steps,
        max_epoch=training.epochs,
        starting_epoch=first,
        session_init=init,
        session_creator=session_creator(),
    )
    launch_train_with_config(
        config, distributed.trainer(training.trainer, towers, training.compression)
    )
