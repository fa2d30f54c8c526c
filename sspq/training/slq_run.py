"""Quantizes a network by SLQ or MLQ, all stages in one run, and evaluates it."""

import argparse
import os
from typing import Any, Dict, List, Optional

from tensorpack.utils import logger

from sspq.files import write_json
from sspq.training import checkpoint, command, slq_options, trainers
from sspq.training.fit import Training, fit
from sspq.training.processes import Processes
from sspq.training.run_folder import REPORT, RunFolder
from sspq.training.slq import SLQ
from sspq.training.slq_networks import NETWORKS, Data, model_of
from sspq.training.slq_report import StageReports, read_stages
from sspq.training.validation import Validation, evaluate


def _training(
    args: argparse.Namespace,
    model: Any,
    data: Data,
    slq: Optional[SLQ],
    folder: Optional[RunFolder],
) -> Training:
    towers = trainers.towers(args.trainer)
    epochs, schedule = slq_options.plan(args, slq)

    def callbacks(validation: Optional[Validation]) -> List[Any]:
        if slq is None or validation is None:
            return []
        return [slq, StageReports(model, slq, validation, folder.path if folder else None)]

    return Training(
        model=model,
        epochs=epochs,
        steps=data.steps(args.batch),
        schedule=schedule,
        training_input=lambda first: data.training(first, towers),
        validation_input=data.validation,
        failure=lambda: data.failure,
        load=checkpoint.resolve(args.load) if args.load else None,
        parameters_only=True,
        validate_every=args.val_every,
        callbacks=callbacks,
    )


def _report(
    settings: Dict[str, Any], model: Any, rows: List[Any], folder: RunFolder
) -> Dict[str, Any]:
    measured = command.of_history(rows)
    if "slq" not in settings:
        return dict(settings, **command.result(model, measured))
    stages = read_stages(folder.path)
    measured["float32"] = stages[0]["accuracy"]["before_freezing"]
    measured["stages"] = [
        {k: stage[k] for k in ("stage", "epochs", "frozen_share", "bytes", "accuracy")}
        for stage in stages
    ]
    centres = {name: settings["slq"]["centres"] for name in settings["slq"]["layers"]}
    return dict(settings, **command.result(model, measured, centres))


def _train(args: argparse.Namespace, processes: Processes) -> Optional[Dict[str, Any]]:
    count = trainers.towers(args.trainer)
    trainers.batch_of_each(args.batch, count * processes.ranks, "GPUs or processes")
    data = NETWORKS[args.model].data(args, processes, training=True)
    model = model_of(args, data.num_classes)
    slq = slq_options.quantization(args, model)
    if slq:
        model.wrap_optimizer = slq.optimizer
    settings = dict(
        model.describe(), dataset=data.facts(), **slq_options.settings(args, model, slq)
    )
    command.seed_everything(args.seed)
    folder = RunFolder(args.log, settings, args.resume) if processes.chief else None
    finished = processes.agree(folder.report() if folder else None)
    if finished is not None:
        if folder:
            print("%s is finished already, see %s" % (args.model, folder.file(REPORT)))
        return finished if folder else None
    if folder:
        logger.set_logger_dir(args.log, action="k")
    training = _training(args, model, data, slq, folder)
    rows = fit(training, trainers.trainer(args.trainer, count), folder, processes)
    if not folder:
        return None
    report = _report(settings, model, rows, folder)
    write_json(folder.file(REPORT), report)
    return report


def _evaluate(args: argparse.Namespace) -> Dict[str, Any]:
    data = NETWORKS[args.model].data(args, Processes(), training=False)
    model = model_of(args, data.num_classes)
    prefix = checkpoint.resolve(args.load)
    batches, count = data.batches()
    measured = evaluate(model, batches, prefix, count)
    report = dict(model.describe(), dataset=data.facts(), checkpoint=prefix, **measured)
    os.makedirs(args.log, exist_ok=True)
    write_json(os.path.join(args.log, "eval.json"), report)
    return report


def run(args: argparse.Namespace) -> Optional[Dict[str, Any]]:
    """Does what the options say; returns the report, in the chief process."""
    slq_options.complete(args)
    slq_options.check(args)
    if args.eval:
        return _evaluate(args)
    return _train(args, trainers.processes(args.trainer))


def main(description: Optional[str], argv: Optional[List[str]] = None) -> int:
    """The whole of the script."""
    args = slq_options.parser(description).parse_args(argv)
    return command.main("%s %s" % (args.model, args.method), args, lambda: run(args))
