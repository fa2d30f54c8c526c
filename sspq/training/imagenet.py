"""Trains and evaluates one step of the ImageNet networks."""

import argparse
import os
from typing import Any, Dict, List, Optional

from tensorpack.utils import logger

from sspq.files import write_json
from sspq.report.summary import summarize
from sspq.training import checkpoint, command, trainers
from sspq.training.fit import Training, fit
from sspq.training.imagenet_input import FakeInput, FolderInput, classes_of
from sspq.training.imagenet_model import DECAY_KERNELS_AND_NORMS, ImageNetSSPQ
from sspq.training.imagenet_options import (
    Step,
    check,
    initial_rate,
    keeps_rate,
    log_folder,
    parser,
    schedule,
)
from sspq.training.processes import Processes
from sspq.training.run_folder import REPORT, SETTINGS, RunFolder, RunFolderError
from sspq.training.validation import evaluate


def model_of(args: argparse.Namespace, num_classes: int) -> ImageNetSSPQ:
    """The network that the options describe."""
    model = ImageNetSSPQ(
        args.graph,
        args.depth,
        args.mode,
        args.bitw,
        args.bita,
        args.variant,
        num_classes,
        args.image_size,
        args.data_format,
        args.linear_bits,
    )
    model.base_lr = initial_rate(args)
    model.shift_lr_mult, model.shift_normalize = args.shift_lr_mult, args.shift_normalize
    if args.weight_decay_norm:
        model.weight_decay_pattern = DECAY_KERNELS_AND_NORMS
    return model


def _settings(step: Step, args: argparse.Namespace, model: Any, data: Any) -> Dict[str, Any]:
    result = dict(model.describe(), dataset=data.facts(), step=step.name)
    for name in (
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
        result[name] = getattr(args, name)
    return result


def _training(step: Step, args: argparse.Namespace, model: Any, data: Any, towers: int) -> Training:
    ignored = ("global_step",) if keeps_rate(step, args) else ("global_step", "learning_rate")
    fake = isinstance(data, FakeInput)
    return Training(
        model=model,
        epochs=args.epochs,
        steps=data.steps(args.batch),
        schedule=schedule(step, args),
        training_input=lambda first: data.training(first, towers),
        validation_input=None if fake else data.validation,
        failure=lambda: data.failure,
        load=checkpoint.resolve(args.load) if args.load else None,
        not_loaded=ignored,
        validate_every=args.val_every,
    )


def _train(step: Step, args: argparse.Namespace, processes: Processes) -> Optional[Dict[str, Any]]:
    towers = trainers.towers(args.trainer)
    trainers.batch_of_each(args.batch, towers * processes.ranks, "GPUs or processes")
    data: Any = (
        FakeInput(args, processes) if args.fake else FolderInput(args, processes, training=True)
    )
    model = model_of(args, data.num_classes)
    settings = _settings(step, args, model, data)
    command.seed_everything(args.seed)
    folder = RunFolder(args.log, settings, args.resume) if processes.chief else None
    finished = processes.agree(folder.report() if folder else None)
    if finished is not None:
        if folder:
            print("%s is finished already, see %s" % (step.name, folder.file(REPORT)))
        return finished if folder else None
    if folder:
        logger.set_logger_dir(args.log, action="k")
    training = _training(step, args, model, data, towers)
    rows = fit(training, trainers.trainer(args.trainer, towers), folder, processes)
    if not folder:
        return None
    measured = command.of_history(rows)
    if args.fake:
        images = training.steps * args.batch * len(rows)
        measured["images_per_second"] = images / measured["seconds"]
    report = dict(settings, **command.result(model, measured))
    write_json(folder.file(REPORT), report)
    return report


def _evaluate(args: argparse.Namespace) -> Dict[str, Any]:
    if os.path.exists(os.path.join(args.log, SETTINGS)):
        raise RunFolderError(
            "`--log`: %s holds a training run, whose report would be lost; give another folder"
            % args.log
        )
    prefix = checkpoint.resolve(args.load)
    data = FolderInput(args, Processes(), training=False)
    model = model_of(args, data.num_classes)
    batches, count = data.batches()
    measured = evaluate(model, batches, prefix, count)
    report = dict(model.describe(), dataset=data.facts(), checkpoint=prefix)
    report.update(command.result(model, measured))
    os.makedirs(args.log, exist_ok=True)
    write_json(os.path.join(args.log, REPORT), report)
    return report


def run(step: Step, args: argparse.Namespace) -> Optional[Dict[str, Any]]:
    """Does what the options say; returns the report, in the chief process, if there is one."""
    check(step, args)
    if args.flops:
        print(summarize(model_of(args, classes_of(args.load))))
        return None
    if args.eval:
        return _evaluate(args)
    return _train(step, args, trainers.processes(args.trainer))


def main(step: Step, description: Optional[str], argv: Optional[List[str]] = None) -> int:
    """The whole of a step's script."""
    args = parser(step, description).parse_args(argv)
    if args.log is None:
        args.log = log_folder(step, args)
    return command.main(step.name, args, lambda: run(step, args))
