"""Trains and evaluates one step of the ImageNet networks."""

import argparse
import os
from typing import Any, Dict, List, Optional

from sspq import checkpoints
from sspq.analysis.summary import summarize
from sspq.experiments import script
from sspq.experiments.imagenet_inputs import FakeInput, FolderInput, classes_of
from sspq.experiments.imagenet_options import (
    Step,
    check,
    initial_rate,
    keeps_rate,
    log_folder,
    parser,
    schedule,
)
from sspq.models.imagenet import DECAY_KERNELS_AND_NORMS, ImageNetSSPQ
from sspq.runs.folder import REPORT, SETTINGS, RunFolderError
from sspq.runs.history import Row
from sspq.training import distributed, results, run
from sspq.training.distributed import Processes
from sspq.training.engine import Training


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
    if args.compression != "none":  # a run from before there was a choice can be gone on with
        result["compression"] = args.compression
    return result


def _measured(args: argparse.Namespace, model: Any, data: Any, rows: List[Row]) -> Dict[str, Any]:
    measured = results.results_from_history(rows)
    if args.fake:
        images = data.steps(args.batch) * args.batch * len(rows)
        measured["images_per_second"] = images / measured["seconds"]
    return results.result(model, measured)


def _train(step: Step, args: argparse.Namespace) -> Optional[Dict[str, Any]]:
    processes = distributed.processes(args.trainer)
    distributed.check_batch(args.batch, args.trainer, processes)
    data: Any = (
        FakeInput(args, processes) if args.fake else FolderInput(args, processes, training=True)
    )
    if processes.chief and args.load and keeps_rate(step, args):
        prefix = checkpoints.resolve(args.load)
        if "learning_rate" not in checkpoints.shapes(prefix):
            raise ValueError(
                f"`--base_lr` is missing: {prefix} holds no learning rate to go on with"
            )
    model = model_of(args, data.num_classes)
    training = Training(
        model,
        data,
        args.batch,
        args.epochs,
        schedule(step, args),
        args.trainer,
        args.load,
        ("global_step",) if keeps_rate(step, args) else ("global_step", "learning_rate"),
        validate_every=args.val_every,
        compression=args.compression,
    )
    return run.train(
        step.name,
        args,
        training,
        _settings(step, args, model, data),
        processes,
        lambda rows, folder: _measured(args, model, data, rows),
    )


def _evaluate(args: argparse.Namespace) -> Dict[str, Any]:
    if os.path.exists(os.path.join(args.log, SETTINGS)):
        raise RunFolderError(
            f"`--log`: {args.log} holds a training run, whose report would be lost; give "
            "another folder"
        )
    prefix = checkpoints.resolve(args.load)
    data = FolderInput(args, Processes(), training=False)
    model = model_of(args, data.num_classes)
    return run.measure(model, data, prefix, os.path.join(args.log, REPORT))


def work(step: Step, args: argparse.Namespace) -> Optional[Dict[str, Any]]:
    """Does what the options say; returns the report, in the chief process, if there is one."""
    check(step, args)
    if args.flops:
        print(summarize(model_of(args, classes_of(args.load))))
        return None
    return _evaluate(args) if args.eval else _train(step, args)


def main(step: Step, description: Optional[str], argv: Optional[List[str]] = None) -> int:
    """The whole of a step's script."""
    args = parser(step, description).parse_args(argv)
    if args.log is None:
        args.log = log_folder(step, args)
    return script.main(step.name, args, lambda: work(step, args))
