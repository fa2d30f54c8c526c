"""Trains and evaluates one step of SSPQ34: S1, S2 or float32, on CIFAR-100 or on digits."""

import argparse
import os
from typing import Any, Dict, List, Optional

from sspq import checkpoints
from sspq.experiments import script
from sspq.experiments.cifar_options import Step, check, parser, plan
from sspq.experiments.inputs import ImagesInput
from sspq.models.cifar import CifarSSPQ34
from sspq.training import distributed, results, run
from sspq.training.distributed import Processes
from sspq.training.engine import Training

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


def _settings(
    step: Step, args: argparse.Namespace, model: CifarSSPQ34, data: ImagesInput
) -> Dict[str, Any]:
    result = dict(model.describe(), dataset=data.facts(), step=step.name)
    for name in ("batch", "seed", "eta_min", "max_epoch", "wup_length", "step_size"):
        result[name] = getattr(args, name)
    return result


def _train(
    step: Step,
    args: argparse.Namespace,
    model: CifarSSPQ34,
    data: ImagesInput,
    processes: Processes,
) -> Optional[Dict[str, Any]]:
    distributed.check_batch(args.batch, TRAINER, processes)
    epochs, schedule = plan(step, args)
    return run.train(
        step.name,
        args,
        Training(model, data, args.batch, epochs, schedule, TRAINER, args.load),
        _settings(step, args, model, data),
        processes,
        lambda rows, folder: results.result(model, results.results_from_history(rows)),
    )


def work(step: Step, args: argparse.Namespace) -> Optional[Dict[str, Any]]:
    """Does what the options say; returns the report."""
    check(step, args)
    prefix = checkpoints.resolve(args.load) if args.eval else ""
    processes = Processes() if args.eval else distributed.processes(TRAINER)
    data = ImagesInput(args, processes)
    model = _model(args, data)
    if args.eval:
        return run.measure(model, data, prefix, os.path.join(args.log, "eval.json"))
    return _train(step, args, model, data, processes)


def main(step: Step, description: str, argv: Optional[List[str]] = None) -> int:
    """The whole of a step's script."""
    args = parser(step, description).parse_args(argv)
    return script.main(step.name, args, lambda: work(step, args))
