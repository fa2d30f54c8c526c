"""Trains and evaluates one step of SSPQ34: S1, S2 or float32, on CIFAR-100 or on digits."""

import argparse
import os
from typing import Any, Dict, List, Optional

from tensorpack.utils import logger

from sspq.files import write_json
from sspq.training import checkpoint, command, trainers
from sspq.training.cifar_input import ImagesInput
from sspq.training.cifar_model import CifarSSPQ34
from sspq.training.cifar_options import Step, check, parser, plan
from sspq.training.fit import Training, fit
from sspq.training.run_folder import REPORT, RunFolder
from sspq.training.validation import evaluate

TRAINER = "parameter-server"  # with several GPUs


def _model(args: argparse.Namespace, data: ImagesInput) -> CifarSSPQ34:
    return CifarSSPQ34(
        args.bitw,
        args.bita,
        args.bitg,
        args.variant,
        data.num_classes,
        args.data_format,
        args.base_lr,
        args.shift_lr_mult,
        args.shift_normalize,
        not args.shift_no_decay,
    )


def _facts(model: Any, data: ImagesInput) -> Dict[str, Any]:
    return dict(model.describe(), dataset=data.facts())


def _settings(
    step: Step, args: argparse.Namespace, model: Any, data: ImagesInput
) -> Dict[str, Any]:
    result = dict(_facts(model, data), step=step.name)
    for name in ("batch", "seed", "eta_min", "max_epoch", "wup_length", "step_size"):
        result[name] = getattr(args, name)
    return result


def _training(
    step: Step, args: argparse.Namespace, model: Any, data: ImagesInput, towers: int
) -> Training:
    epochs, schedule = plan(step, args)
    trainers.batch_of_each(args.batch, towers)
    return Training(
        model=model,
        epochs=epochs,
        steps=data.steps(args.batch),
        schedule=schedule,
        training_input=lambda first: data.training(first, towers),
        validation_input=data.validation,
        failure=lambda: data.failure,
        load=checkpoint.resolve(args.load) if args.load else None,
    )


def _evaluate(args: argparse.Namespace, model: Any, data: ImagesInput) -> Dict[str, Any]:
    prefix = checkpoint.resolve(args.load)
    batches, count = data.batches()
    measured = evaluate(model, batches, prefix, count)
    result = dict(_facts(model, data), checkpoint=prefix, **command.result(model, measured))
    os.makedirs(args.log, exist_ok=True)
    write_json(os.path.join(args.log, "eval.json"), result)
    return result


def _train(step: Step, args: argparse.Namespace, model: Any, data: ImagesInput) -> Dict[str, Any]:
    settings = _settings(step, args, model, data)
    folder = RunFolder(args.log, settings, args.resume)
    report = folder.report()
    if report is not None:
        print("%s is finished already, see %s" % (step.name, folder.file(REPORT)))
        return report
    logger.set_logger_dir(args.log, action="k")
    towers = trainers.towers(TRAINER)
    training = _training(step, args, model, data, towers)
    rows = fit(training, trainers.trainer(TRAINER, towers), folder, trainers.processes(TRAINER))
    report = dict(settings, **command.result(model, command.of_history(rows)))
    write_json(folder.file(REPORT), report)
    return report


def run(step: Step, args: argparse.Namespace) -> Dict[str, Any]:
    """Does what the options say; returns the report."""
    check(step, args)
    data = ImagesInput(args)
    model = _model(args, data)
    command.seed_everything(args.seed)
    return _evaluate(args, model, data) if args.eval else _train(step, args, model, data)


def main(step: Step, description: str, argv: Optional[List[str]] = None) -> int:
    """The whole of a step's script."""
    args = parser(step, description).parse_args(argv)
    return command.main(step.name, args, lambda: run(step, args))
