"""A run from its settings to its report, and the evaluation of a checkpoint."""

import argparse
import os
from typing import Any, Callable, Dict, List, Optional

from tensorpack.utils import logger
from tensorpack.utils.utils import fix_rng_seed

from sspq import checkpoints
from sspq.compat import tf
from sspq.files import read_json, write_json
from sspq.runs.folder import REPORT, SETTINGS, RunFolder
from sspq.runs.history import Row
from sspq.training import results
from sspq.training.distributed import Processes
from sspq.training.engine import Training, fit
from sspq.training.validation import evaluate

Report = results.Report

# What makes two networks compute differently from the same variables, and the options for it.
_OPTIONS = {
    "model": "the script, or its --graph, --mode, --depth or --model",
    "variant": "--variant",
    "bits.weights": "--bitw",
    "bits.activations": "--bita",
    "bits.gradients": "--bitg",
    "bits.linear": "--linear-bits",
    "num_classes": "--data",
    "image_size": "--image-size",
}


def train(
    name: str,
    args: argparse.Namespace,
    training: Training,
    settings: Dict[str, Any],
    processes: Processes,
    measured: Callable[[List[Row], RunFolder], Report],
) -> Optional[Report]:
    """Trains, unless the log folder holds the finished run, and writes the report.

    Args:
        name: of the run, for messages.
        args: the script's options; ``log``, ``resume`` and ``seed`` are read.
        training: what to do.
        settings: everything that the result depends on beside ``training.load``; the report
            begins with them.
        processes: that train together.
        measured: the rest of the report, of the history and the folder.

    Returns:
        The report, in the chief.

    Raises:
        RunFolderError: the folder holds something else.
    """
    seed_everything(args.seed)
    if processes.chief and training.load:
        # Not its path: folders may move, and be trained anew.
        loaded = checkpoints.fingerprint(checkpoints.resolve(training.load))
        settings = dict(settings, load_fingerprint=loaded)
    folder = RunFolder(args.log, settings, args.resume) if processes.chief else None
    report = folder.report() if folder else None
    if processes.agree(report is not None):
        if folder:
            print(f"{name} is finished already, see {folder.file(REPORT)}")
        return report
    if folder:
        logger.set_logger_dir(args.log, action="k")
    rows = fit(training, folder, processes)
    if folder:
        report = dict(settings, **measured(rows, folder))
        write_json(folder.file(REPORT), report)
    return report


def measure(
    model: Any,
    data: Any,
    prefix: str,
    file: str,
    result: Callable[[Any, Report], Report] = results.result,
) -> Report:
    """Evaluates a checkpoint and writes the report.

    Args:
        model: a :class:`sspq.models.classifier.Classifier`.
        data: see :class:`sspq.training.engine.Training`.
        prefix: of the checkpoint.
        file: to write; its folder is made.
        result: adds what follows from the model and what was measured.

    Raises:
        CheckpointError: the checkpoint's run trained another network.
    """
    _check_network(model, prefix)
    os.makedirs(os.path.dirname(file) or ".", exist_ok=True)  # ahead of what may take an hour
    batches, count = data.batches()
    measured = evaluate(model, batches, prefix, count)
    report = dict(
        model.describe(), dataset=data.facts(), checkpoint=prefix, **result(model, measured)
    )
    write_json(file, report)
    return report


def _check_network(model: Any, prefix: str) -> None:
    """Refuses a model that the ``run.json`` beside the checkpoint, if there is one, contradicts.

    The variables of networks with other bits may be the same, so that they would load, and give a
    wrong accuracy.
    """
    if prefix.endswith(checkpoints.NPZ):  # its values may be quantized already
        return
    path = os.path.join(os.path.dirname(prefix), SETTINGS)
    trained, chosen = _network(read_json(path)), _network(model.describe())
    other = [
        f"{name} is {trained[name]!r} there and {chosen[name]!r} now ({option})"
        for name, option in _OPTIONS.items()
        if name in trained and name in chosen and trained[name] != chosen[name]
    ]
    if other:
        raise checkpoints.CheckpointError(
            f"`--load`: the options describe another network than {path}: {', '.join(other)}; "
            "give those that it was trained with, or use `python -m sspq eval`, which takes "
            "them from there"
        )


def _network(description: Any) -> Dict[str, Any]:
    """A description with its bits one by one; empty if it is none."""
    if not isinstance(description, dict):
        return {}
    bits = description.get("bits")
    of_parts = bits.items() if isinstance(bits, dict) else ()
    return dict(description, **{f"bits.{part}": value for part, value in of_parts})


def seed_everything(seed: int) -> None:
    """Initial values and all else that is drawn. The data has seeds of its own."""
    fix_rng_seed(seed)
    tf.set_random_seed(seed)
