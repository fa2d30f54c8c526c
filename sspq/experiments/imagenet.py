"""The run around a step of the ImageNet networks: options, evaluation, report."""

import argparse
import os
from typing import Any, Callable, Dict, List, Optional

from sspq import checkpoints
from sspq.analysis.summary import summarize
from sspq.experiments import script
from sspq.experiments.imagenet_options import (
    Defaults,
    Options,
    check,
    log_folder,
    options_of,
    parser,
)
from sspq.experiments.inputs import FakeInput, FolderInput, classes_of
from sspq.models import ImageNetSSPQ
from sspq.runs.folder import REPORT, SETTINGS, RunFolderError
from sspq.runs.history import Row
from sspq.training import distributed, results, run
from sspq.training.distributed import Processes
from sspq.training.engine import Training
from sspq.training.schedule import Schedule

__all__ = ["Defaults", "Options", "main"]

MakeSchedule = Callable[[Options], Schedule]
MakeModel = Callable[[Options, int], ImageNetSSPQ]
MakeTraining = Callable[[Options, Processes], Training]


def _facts(name: str, args: argparse.Namespace, training: Training) -> Dict[str, Any]:
    facts = dict(training.model.describe(), dataset=training.data.facts(), step=name)
    for option in (
        "batch",
        "seed",
        "epochs",
        "eta_min",
        "wup_length",
        "step_size",
        "trainer",
        "symbolic",
        "min_area",
        "no_colour",
        "no_mirror",
        "val_every",
    ):
        facts[option] = getattr(args, option)
    if args.compression != "none":  # runs without have no word of it in their folders
        facts["compression"] = args.compression
    return facts


def _measured(training: Training, rows: List[Row]) -> results.Report:
    measured = results.results_from_history(rows)
    if isinstance(training.data, FakeInput):
        count = training.steps * training.batch * len(rows)
        measured["images_per_second"] = count / measured["seconds"]
    return results.result(training.model, measured)


def _check_rate_in(prefix: str) -> None:
    """Refuses a checkpoint without the learning rate that training is to go on with."""
    if "learning_rate" not in checkpoints.shapes(prefix):
        raise ValueError(f"`--base_lr` is missing: {prefix} holds no learning rate to go on with")


def _train(
    defaults: Defaults, args: argparse.Namespace, options: Options, make: MakeTraining
) -> Optional[results.Report]:
    processes = distributed.processes(options.trainer)
    distributed.check_batch(options.batch, options.trainer, processes)
    training = make(options, processes)
    if processes.chief and training.load and "learning_rate" not in training.not_loaded:
        _check_rate_in(checkpoints.resolve(training.load))
    facts = _facts(defaults.name, args, training)
    return run.train(
        run.RunSettings(defaults.name, args.log, args.resume, args.seed, facts),
        training,
        processes,
        lambda rows, _: _measured(training, rows),
    )


def _evaluate(log: str, options: Options, model: MakeModel) -> results.Report:
    if os.path.exists(os.path.join(log, SETTINGS)):
        raise RunFolderError(
            f"`--log`: {log} holds a training run, whose report would be lost; give another folder"
        )
    assert options.load is not None and options.images is not None  # check() has seen to it
    prefix = checkpoints.resolve(options.load)
    data = FolderInput(options.images, Processes(), training=False)
    network = model(options, data.num_classes)
    return run.measure(network, data, prefix, os.path.join(log, REPORT))


def main(
    defaults: Defaults,
    description: Optional[str],
    schedule: MakeSchedule,
    model: MakeModel,
    training: MakeTraining,
    argv: Optional[List[str]] = None,
) -> int:
    """The whole of a step's script: reads the command line, trains or evaluates, reports.

    Args:
        defaults: name and defaults of the step.
        description: text of ``--help``.
        schedule: function that gives the learning rates.
        model: function that gives the network for a number of classes.
        training: function that gives what is trained, on what, and for how long.
        argv: command line (default: that of the process).

    Returns:
        The exit status.
    """
    args = parser(defaults, description).parse_args(argv)
    if args.log is None:
        args.log = log_folder(defaults, args)

    def work() -> Optional[results.Report]:
        check(defaults, args)
        options = options_of(args)
        schedule(options)  # refuses what is no schedule
        if args.flops:
            print(summarize(model(options, classes_of(args.load))))
            return None
        if args.eval:
            return _evaluate(args.log, options, model)
        return _train(defaults, args, options, training)

    return script.main(defaults.name, args, work)
