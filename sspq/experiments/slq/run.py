"""Quantizes a network by SLQ or MLQ, all stages in one run, and evaluates it."""

import argparse
import os
from typing import Any, Dict, List, Optional

from sspq import checkpoints
from sspq.experiments import script
from sspq.experiments.slq import options as slq_options
from sspq.experiments.slq.networks import NETWORKS, model_of
from sspq.files import read_json
from sspq.runs.folder import SETTINGS, RunFolder
from sspq.runs.history import Row
from sspq.runs.schema import NUMBER, check_fields
from sspq.runs.stages import read_stages
from sspq.training import distributed, results, run
from sspq.training.distributed import Processes
from sspq.training.engine import Training
from sspq.training.slq.reports import StageReports
from sspq.training.validation import Validation


def _measured(
    settings: Dict[str, Any], model: Any, rows: List[Row], folder: RunFolder
) -> Dict[str, Any]:
    measured = results.results_from_history(rows)
    if "slq" not in settings:
        return results.result(model, measured)
    stages = read_stages(folder.path)
    measured["float32"] = stages[0]["accuracy"]["before_freezing"]
    measured["stages"] = [
        {k: stage[k] for k in ("stage", "epochs", "frozen_share", "bytes", "accuracy")}
        for stage in stages
    ]
    centres = {name: settings["slq"]["centres"] for name in settings["slq"]["layers"]}
    return results.result(model, measured, centres)


def _train(args: argparse.Namespace) -> Optional[Dict[str, Any]]:
    processes = distributed.processes(args.trainer)
    distributed.check_batch(args.batch, args.trainer, processes)
    data = NETWORKS[args.model].data(args, processes, training=True)
    model = model_of(args, data.num_classes)
    layers = slq_options.layers_of(args, model)
    slq = slq_options.quantization(args, layers)
    if slq:
        model.wrap_optimizer = slq.optimizer
    settings = dict(
        model.describe(), dataset=data.facts(), **slq_options.settings(args, slq, layers)
    )

    def callbacks(validation: Optional[Validation], folder: Optional[RunFolder]) -> List[Any]:
        if slq is None or validation is None:
            return []
        return [slq, StageReports(model, slq, validation, folder.path if folder else None)]

    epochs, schedule = slq_options.plan(args, slq)
    training = Training(
        model,
        data,
        args.batch,
        epochs,
        schedule,
        args.trainer,
        args.load,
        parameters_only=True,
        validate_every=args.val_every,
        callbacks=callbacks,
    )
    return run.train(
        args.model,
        args,
        training,
        settings,
        processes,
        lambda rows, folder: _measured(settings, model, rows, folder),
    )


def _evaluate(args: argparse.Namespace) -> Dict[str, Any]:
    prefix = checkpoints.resolve(args.load)
    data = NETWORKS[args.model].data(args, Processes(), training=False)
    model = model_of(args, data.num_classes)
    # A checkpoint does not say how small its weights are; a packed file does.
    file = os.path.join(args.log, "eval.json")
    return run.measure(model, data, prefix, file, lambda model, measured: measured)


def _check_loaded(path: str) -> None:
    """Refuses a run whose weights count only together with its quantizers.

    Raises:
        ValueError: ``path`` is such a run's, as the settings beside its checkpoints tell, or they
            do not tell.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    file = os.path.join(folder, SETTINGS)
    settings = read_json(file)
    if settings is None:
        return
    check_fields(file, settings, {"bits.weights": NUMBER})
    bits = settings["bits"]["weights"]
    if bits != 32:
        raise ValueError(
            f"`--load`: {path} was trained with weights of {bits} bits, expected a float32 network"
        )


def work(args: argparse.Namespace) -> Optional[Dict[str, Any]]:
    """Does what the options say; returns the report, in the chief process."""
    slq_options.complete(args)
    slq_options.check(args)
    if args.load:
        _check_loaded(args.load)
    return _evaluate(args) if args.eval else _train(args)


def main(description: Optional[str], argv: Optional[List[str]] = None) -> int:
    """The whole of the script."""
    args = slq_options.parser(description).parse_args(argv)
    return script.main(f"{args.model} {args.method}", args, lambda: work(args))
