"""Single- and multi-level quantization while a tensorpack model is trained.

Source: Xu, Wang, Zhou, Lin, Xiong, Deep Neural Network Compression with Single and Multiple Level
Quantization, AAAI 2018, arXiv:1803.03289.
"""

from dataclasses import replace
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from tensorpack.callbacks import Callback
from tensorpack.tfutils.optimizer import ProxyOptimizer
from tensorpack.utils import logger

from sspq import slq
from sspq.compat import tf
from sspq.slq import LayerState, Schedule
from sspq.slq.integers import is_int
from sspq.training.slq.variables import GraphLayer, Layers, copies_of, find_layers, layer_of

Weights = Dict[str, np.ndarray]
States = Dict[str, LayerState]


class StageError(ValueError):
    """The checkpoint's state is not the one that the epoch asks for."""


def schedule_of(bits: int, partition: str = "magnitude") -> Schedule:
    """The schedule of :data:`sspq.slq.SLQ`, with the clusters in another order if wanted.

    Raises:
        ValueError: :data:`sspq.slq.SLQ` has no such bits, or no partition has the name.
    """
    if bits not in slq.SLQ:
        raise ValueError(
            f"`bits` must be one of {sorted(slq.SLQ)}, or `schedule` be given, got {bits!r}"
        )
    return replace(slq.SLQ[bits], partition=partition)


def stage_epochs(epochs: Union[int, Sequence[int]], stages: int) -> Tuple[int, ...]:
    """The number of epochs of each of the ``stages``, from one number or one for each.

    Raises:
        ValueError: a number is below 1, or the numbers are not as many as the stages.
    """
    given: Any = epochs
    each: Tuple[int, ...] = (int(given),) * stages if is_int(given) else tuple(given)
    if len(each) != stages or not all(is_int(e) and e >= 1 for e in each):
        raise ValueError(
            f"`epochs` must be at least 1, one number or one for each of {stages} stages, got "
            f"{epochs!r}"
        )
    return each


def stages_of(
    layers: Sequence[str], schedule: Schedule, groups: Optional[Sequence[Sequence[str]]] = None
) -> Tuple[Tuple[str, ...], ...]:
    """The layers that advance at each stage.

    Raises:
        ValueError: ``groups`` do not hold each of the layers once.
    """
    if groups is None:
        return (tuple(layers),) * len(schedule.counts)
    return tuple(advance.layers for advance in slq.incremental_stages(layers, groups))


def _passed(stages: Sequence[Tuple[str, ...]], name: str) -> int:
    """The number of stages at which the layer has advanced."""
    return sum(name in stage for stage in stages)


class Observer:
    """Is told of every stage while it begins, in all processes."""

    def before(self, stage: int, weights: Weights) -> None:
        """Stage ``stage``, from 1, is about to freeze weights of the layers in ``weights``."""

    def after(self, stage: int, states: States) -> None:
        """It has frozen them; ``states`` are those of all layers that have begun."""


class SLQ(Callback):
    """Quantizes weights stage by stage: clusters, freezes a part, trains the rest.

    A callback and a wrapper of the optimizer, for any tensorpack model and trainer::

        slq = SLQ(bits=5, layers=".*/W", epochs=18)

        class Model(ModelDesc):
            def optimizer(self):
                return slq.optimizer(tf.train.MomentumOptimizer(1e-4, 0.9))

        TrainConfig(model=Model(), callbacks=[slq, ModelSaver()], max_epoch=slq.last_epoch, ...)

    A stage begins ahead of its first epoch, see :func:`sspq.slq.next_stage`. From then on frozen
    weights keep their centres' values bit by bit, whatever the optimizer does, on all towers. Other
    weights, biases and the parameters of batch normalization train on. After the last stage the
    variables hold the quantized weights: to infer needs nothing of this.

    The state is in variables beside the weights (:class:`sspq.training.slq.variables.GraphLayer`),
    checkpoints hold it. What a stage does depends on the checkpoint alone: a run that is killed and
    resumed at the beginning of an epoch goes on as it would have. Nothing is clustered when a
    checkpoint is loaded.

    Args:
        bits: bits of a weight, 2 to 5 as in :data:`sspq.slq.SLQ` (default: 5); others need a
            ``schedule``.
        layers: regular expression that the whole name of a trainable variable matches, or a test of
            the name (default: ``.*/W``).
        partition: order in which clusters are frozen, see :class:`sspq.slq.Schedule` (default:
            "magnitude").
        schedule: schedule that replaces the one of ``bits`` and ``partition`` (default: None).
        epochs: number of epochs of a stage; an int, or one for each stage (default: 1).
        groups: groups of layers' names, which pass through all their stages one group after the
            other (default: None, all layers pass together).
        observer: object that is told of the stages (default: None).

    Attributes:
        layers: by name, in network order, once the graph is built.
        epochs: number of epochs of each stage.
        observer: object that is told of the stages; may be set before training.

    Raises:
        ValueError: an argument is out of its range. When the graph is built: ``layers`` fits
            nothing, ``groups`` are not those layers, or the optimizer was not wrapped.
        BackendError: ``SSPQ_SLQ`` asks for what is not there, see :mod:`sspq.slq.backend`.
        StageError: in training, if the checkpoint is from a run with other ``epochs``.
    """

    _chief_only = False

    def __init__(
        self,
        bits: int = 5,
        layers: Layers = ".*/W",
        partition: str = "magnitude",
        schedule: Optional[Schedule] = None,
        epochs: Union[int, Sequence[int]] = 1,
        groups: Optional[Sequence[Sequence[str]]] = None,
        observer: Optional[Observer] = None,
    ) -> None:
        slq.backend_name()  # raises now, not at the first stage, if there is none
        self.schedule = schedule_of(bits, partition) if schedule is None else schedule
        self._pattern = layers
        self._groups = groups
        stages = len(self.schedule.counts) * (1 if groups is None else len(groups))
        self.epochs = stage_epochs(epochs, stages)
        self.observer = observer or Observer()
        self._optimizer: Any = None
        self.layers: Dict[str, GraphLayer] = {}

    @property
    def last_epoch(self) -> int:
        """The number of the epoch that ends the last stage."""
        return sum(self.epochs)

    def stage_of(self, epoch: int) -> int:
        """The stage, from 1, that an epoch belongs to; those after the last one belong to it."""
        ends = np.cumsum(self.epochs[:-1])
        return int(np.searchsorted(ends, epoch, side="left")) + 1

    def optimizer(self, optimizer: Any) -> Any:
        """``optimizer``, made to leave frozen weights alone; to be used in its place."""
        self._optimizer = _HoldingOptimizer(optimizer, self)
        return self._optimizer

    def layer_of(self, variable: Any) -> Optional[GraphLayer]:
        """The layer whose weights, or a copy of them, ``variable`` is; builds the layers' state."""
        if not self.layers:
            self.layers = find_layers(self._pattern, centres=self.schedule.counts[-1])
        return layer_of(variable, self.layers)

    def _setup_graph(self) -> None:
        if not self.layers:
            raise ValueError("SLQ needs the model to train with what its optimizer() returns")
        for layer in self.layers.values():
            layer.build_assignment(copies_of(layer, self.layers, self._optimizer))
        self._stages = stages_of(list(self.layers), self.schedule, self._groups)

    def _before_epoch(self) -> None:
        stage = self.stage_of(self.epoch_num)
        due = self._due(stage)
        if due:
            self._begin(stage, due)

    def _due(self, stage: int) -> List[str]:
        """The layers that have to advance; none in the midst of a stage."""
        flags = self.trainer.sess.run({n: x.frozen_centres for n, x in self.layers.items()})
        counts = (0,) + self.schedule.counts
        found = {name: counts.index(int(flag.sum())) for name, flag in flags.items()}
        wanted = {name: _passed(self._stages[:stage], name) for name in self.layers}
        for name in self.layers:
            if found[name] not in (wanted[name], _passed(self._stages[: stage - 1], name)):
                raise StageError(
                    f"{name} has passed {found[name]} of its {len(counts) - 1} stages; epoch "
                    f"{self.epoch_num} expects {wanted[name]}. The checkpoint is from a run "
                    "with other epochs or groups"
                )
        return [name for name in self.layers if found[name] < wanted[name]]

    def _begin(self, stage: int, due: Sequence[str]) -> None:
        sess = self.trainer.sess
        weights, states = self._read(due)
        self.observer.before(stage, weights)
        run, feeds = [], {}
        for name in due:
            states[name] = self._next(weights[name], states[name])
            shared = slq.share(weights[name], states[name])
            assign, fed = self.layers[name].assignment(shared, states[name])
            run.append(assign)
            feeds.update(fed)
        sess.run(run, feeds)
        frozen = sum(int(s.frozen.sum()) for s in states.values())
        logger.info(
            f"[SLQ] stage {stage} of {len(self._stages)} begins with epoch {self.epoch_num}: "
            f"{frozen} weights of {', '.join(due)} are frozen"
        )
        self.observer.after(stage, self.states())

    def _next(self, weights: np.ndarray, state: LayerState) -> LayerState:
        begun = state.frozen_centres.any()
        return slq.next_stage(
            weights, state if begun else slq.start(weights, self.schedule), self.schedule
        )

    def _read(self, names: Sequence[str]) -> Tuple[Weights, States]:
        found = self.trainer.sess.run({n: self.layers[n].fetches() for n in names})
        weights = {n: w for n, (w, _) in found.items()}
        return weights, {n: LayerState(**parts) for n, (_, parts) in found.items()}

    def states(self) -> States:
        """The layers' state as it is now, of those that have begun."""
        states = self._read(list(self.layers))[1]
        return {n: states[n] for n in self.layers if states[n].frozen_centres.any()}


class _HoldingOptimizer(ProxyOptimizer):
    """Gives frozen weights no gradient, and puts them back after every update.

    The first keeps them out of momentum and the like; the second holds them whatever else the
    optimizer does, such as a weight decay of its own.
    """

    def __init__(self, optimizer: Any, callback: SLQ) -> None:
        super(_HoldingOptimizer, self).__init__(optimizer, "SLQ")
        self._callback = callback

    def apply_gradients(
        self, grads_and_vars: Any, global_step: Any = None, name: Any = None
    ) -> Any:
        layers = {v: self._callback.layer_of(v) for _, v in grads_and_vars}
        frozen = {v: layer.frozen for v, layer in layers.items() if layer is not None}
        masked = [(_without(frozen[v], g) if v in frozen else g, v) for g, v in grads_and_vars]
        held = {v: tf.where(f, v, tf.zeros_like(v)) for v, f in frozen.items()}
        with tf.control_dependencies(list(held.values())):
            update = super(_HoldingOptimizer, self).apply_gradients(masked, global_step)
        with tf.control_dependencies([update]):
            back = [
                v.assign(tf.where(frozen[v], value, v.read_value())).op for v, value in held.items()
            ]
        return tf.group(update, *back, name=name)


def _without(frozen: Any, gradient: Any) -> Any:
    gradient = tf.convert_to_tensor(gradient)  # it may be sparse
    return tf.where(frozen, tf.zeros_like(gradient), gradient)


class MLQ(SLQ):
    """:class:`SLQ` with ternary weights, layer by layer: :data:`sspq.slq.TERNARY`.

    Args:
        groups: groups of layers' names; the layers of a group advance together, while all others
            train.
        layers, epochs, observer: arguments of :class:`SLQ`.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[str]],
        layers: Layers = ".*/W",
        epochs: Union[int, Sequence[int]] = 1,
        observer: Optional[Observer] = None,
    ) -> None:
        super(MLQ, self).__init__(
            layers=layers, schedule=slq.TERNARY, epochs=epochs, groups=groups, observer=observer
        )
