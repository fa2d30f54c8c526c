"""The run around SLQ or MLQ: options, all stages, evaluation, report."""

import argparse
import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from sspq import checkpoints
from sspq.experiments import script
from sspq.experiments.slq.networks import NETWORKS, open_data
from sspq.experiments.slq.options import Options, check, complete, options_of, parser
from sspq.files import read_json
from sspq.models import Classifier
from sspq.runs.folder import SETTINGS, RunFolder
from sspq.runs.history import Row
from sspq.runs.schema import NUMBER, check_fields
from sspq.runs.stages import read_stages
from sspq.training import distributed, results, run
from sspq.training.distributed import Processes
from sspq.training.engine import Training
from sspq.training.slq import SLQ


class Quantization(NamedTuple):
    """The callback that quantizes, and the names of the weights that it quantizes."""

    callback: SLQ
    layers: List[str]


MakeModel = Callable[[Options, int], Classifier]
MakeTraining = Callable[[Options, Processes], Tuple[Training, Optional[Quantization]]]


def _facts(
    args: argparse.Namespace, training: Training, quantization: Optional[Quantization]
) -> Dict[str, Any]:
    facts = dict(training.model.describe(), dataset=training.data.facts())
    for name in ("method", "batch", "seed", "trainer", "rate_step", "rate_factor", "val_every"):
        facts[name] = getattr(args, name)
    if NETWORKS[args.model].image_size:
        for name in ("symbolic", "min_area", "no_colour", "no_mirror"):
            facts[name] = getattr(args, name)
    if quantization is None:
        facts["stage_epochs"] = list(args.stage_epochs)
        return facts
    slq = quantization.callback
    facts["stage_epochs"] = list(slq.epochs)
    facts["slq"] = {
        "weights": slq.schedule.bits,
        "centres": slq.schedule.counts[-1],
        "counts": list(slq.schedule.counts),
        "partition": slq.schedule.partition,
        "layers": quantization.layers,
        "groups": args.groups,
    }
    return facts


def _measured(
    facts: Dict[str, Any], model: Classifier, rows: List[Row], folder: RunFolder
) -> results.Report:
    measured = results.results_from_history(rows)
    if "slq" not in facts:
        return results.result(model, measured)
    stages = read_stages(folder.path)
    measured["float32"] = stages[0]["accuracy"]["before_freezing"]
    measured["stages"] = [
        {k: stage[k] for k in ("stage", "epochs", "frozen_share", "bytes", "accuracy")}
        for stage in stages
    ]
    centres = {name: facts["slq"]["centres"] for name in facts["slq"]["layers"]}
    return results.result(model, measured, centres)


def _train(
    args: argparse.Namespace, options: Options, make: MakeTraining
) -> Optional[results.Report]:
    processes = distributed.processes(options.trainer)
    distributed.check_batch(options.batch, options.trainer, processes)
    training, quantization = make(options, processes)
    facts = _facts(args, training, quantization)
    return run.train(
        run.RunSettings(options.model, args.log, args.resume, args.seed, facts),
        training,
        processes,
        lambda rows, folder: _measured(facts, training.model, rows, folder),
    )


def _evaluate(log: str, options: Options, model: MakeModel) -> results.Report:
    prefix = checkpoints.resolve(str(options.load))
    data = open_data(options.images, Processes(), training=False)
    # A checkpoint does not say how small its weights are; a packed file does.
    file = os.path.join(log, "eval.json")
    network = model(options, data.num_classes)
    return run.measure(network, data, prefix, file, lambda model, measured: measured)


def check_activations(model: Classifier, options: Options) -> None:
    """Refuses bits of activations that the network does not have."""
    if model.describe()["bits"]["activations"] != options.network.bita:
        raise ValueError(
            f"`--bita` must be 32: {options.model} does not quantize activations, got "
            f"{options.network.bita!r}"
        )


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


def main(
    description: Optional[str],
    model: MakeModel,
    training: MakeTraining,
    argv: Optional[List[str]] = None,
) -> int:
    """The whole of the script: reads the command line, trains or evaluates, reports.

    Args:
        description: text of ``--help``.
        model: function that gives the network for a number of classes.
        training: function that gives what is trained, and how it is quantized.
        argv: command line (default: that of the process).

    Returns:
        The exit status.
    """
    args = parser(description).parse_args(argv)

    def work() -> Optional[results.Report]:
        complete(args)
        check(args)
        options = options_of(args)
        if args.load:
            _check_loaded(args.load)
        return _evaluate(args.log, options, model) if args.eval else _train(args, options, training)

    return script.main(f"{args.model} {args.method}", args, work)
