"""The run around a step of SSPQ34 on CIFAR-100 or digits: options, evaluation, report."""

import argparse
import os
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, List, Optional, Tuple

from sspq import checkpoints
from sspq.experiments import options, script
from sspq.experiments.inputs import ImagesInput, ImagesSettings
from sspq.models import CifarSSPQ34
from sspq.training import distributed, results, run
from sspq.training.distributed import Processes
from sspq.training.engine import Training
from sspq.training.schedule import Schedule

TRAINER = "parameter-server"  # with several GPUs


@dataclass(frozen=True)
class Defaults:
    """What tells one script from another: its name and the defaults of its options."""

    name: str
    bitw: int
    bita: int
    eta_min: float
    max_epoch: int
    needs_load: bool


@dataclass(frozen=True)
class NetworkOptions:
    """Bits, variant and how the shifts are trained: arguments of :class:`sspq.CifarSSPQ34`."""

    bitw: int
    bita: int
    bitg: int
    variant: str
    data_format: str
    base_lr: float
    shift_lr_mult: float
    shift_normalize: bool
    shift_decay: bool


@dataclass(frozen=True)
class ScheduleOptions:
    """Arguments of the step-wise cosine, see :func:`sspq.training.schedule.stepwise_cosine`."""

    max_epoch: int
    wup_length: int
    step_size: int
    eta_min: float


@dataclass(frozen=True)
class Options:
    """What a step is told on its command line.

    Attributes:
        network: bits, variant and how the shifts are trained.
        schedule: step-wise cosine.
        images: data set.
        batch: number of images of a step, over all GPUs.
        load: checkpoint to start from or to evaluate, or None.
    """

    network: NetworkOptions
    schedule: ScheduleOptions
    images: ImagesSettings
    batch: int
    load: Optional[str]


Plan = Callable[[Options], Tuple[int, Schedule]]
MakeModel = Callable[[Options, int], CifarSSPQ34]
MakeTraining = Callable[[Options, Processes], Training]


def parser(defaults: Defaults, description: Optional[str]) -> argparse.ArgumentParser:
    """The options of a step's script."""
    p = options.parser(description)
    options.add_run(p, f"train_log/{defaults.name.lower()}")
    options.add_method(p)
    options.add_schedule(p, wup_length=30, step_size=30, eta_min=defaults.eta_min)
    p.add_argument(
        "--max_epoch", type=int, default=defaults.max_epoch, help="last epoch of the cosine"
    )
    p.add_argument("--base_lr", type=float, default=0.1, help="learning rate at the start")
    p.add_argument(
        "--data",
        default=os.environ.get("CIFAR100_PATH"),
        help="folder with CIFAR-100, or 'digits'; else $CIFAR100_PATH",
    )
    p.add_argument(
        "--download",
        action="store_true",
        help="download of CIFAR-100 into the --data folder if it is not there",
    )
    p.add_argument("--bitw", type=int, default=defaults.bitw, help="bits of the weights, 1 to 32")
    p.add_argument(
        "--bita", type=int, default=defaults.bita, help="bits of the activations, 1 to 32"
    )
    p.add_argument("--bitg", type=int, default=32, help="bits of the gradients, 1 to 32")
    p.add_argument("--shift-no-decay", action="store_true", help="no weight decay on shifts")
    return p


def options_of(args: argparse.Namespace) -> Options:
    """The parsed command line as the dataclasses that a script reads."""
    return Options(
        options.pick(NetworkOptions, args, shift_decay=not args.shift_no_decay),
        options.pick(ScheduleOptions, args),
        options.pick(ImagesSettings, args),
        args.batch,
        args.load,
    )


def check(defaults: Defaults, args: argparse.Namespace) -> None:
    """Refuses what cannot work, before anything is loaded or written."""
    if args.max_epoch < 1:
        raise ValueError(f"`--max_epoch` must be at least 1, got {args.max_epoch!r}")
    if not args.data:
        raise ValueError(
            "`--data` is missing: give the folder with CIFAR-100, or 'digits' for images that need "
            "no download"
        )
    options.check_rate(args.base_lr)
    options.check_run(args, defaults.needs_load)


def _facts(name: str, chosen: Options, training: Training) -> Dict[str, Any]:
    return dict(
        training.model.describe(),
        dataset=training.data.facts(),
        step=name,
        batch=chosen.batch,
        seed=chosen.images.seed,
        **asdict(chosen.schedule),
    )


def main(
    defaults: Defaults,
    description: Optional[str],
    plan: Plan,
    model: MakeModel,
    training: MakeTraining,
    argv: Optional[List[str]] = None,
) -> int:
    """The whole of a step's script: reads the command line, trains or evaluates, reports.

    Args:
        defaults: name and defaults of the step.
        description: text of ``--help``.
        plan: function that gives epochs and learning rates.
        model: function that gives the network for a number of classes.
        training: function that gives what is trained, on what, and for how long.
        argv: command line (default: that of the process).

    Returns:
        The exit status.
    """
    args = parser(defaults, description).parse_args(argv)

    def work() -> Optional[results.Report]:
        chosen = options_of(args)
        check(defaults, args)
        plan(chosen)  # refuses what is no schedule
        if args.eval:
            prefix = checkpoints.resolve(args.load)
            data = ImagesInput(chosen.images, Processes())
            file = os.path.join(args.log, "eval.json")
            return run.measure(model(chosen, data.num_classes), data, prefix, file)
        processes = distributed.processes(TRAINER)
        distributed.check_batch(args.batch, TRAINER, processes)
        trained = training(chosen, processes)
        facts = _facts(defaults.name, chosen, trained)
        return run.train(
            run.RunSettings(defaults.name, args.log, args.resume, args.seed, facts),
            trained,
            processes,
            lambda rows, _: results.result(trained.model, results.results_from_history(rows)),
        )

    return script.main(defaults.name, args, work)
