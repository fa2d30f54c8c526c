"""A run from its settings to its report, and the evaluation of a checkpoint."""

import os
from dataclasses import dataclass
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


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run, apart from network and images.

    Attributes:
        name: name for messages.
        log: folder for everything written.
        resume: whether a run that the folder holds is gone on with.
        seed: seed of initial values, order and augmentation.
        facts: everything that the result depends on beside the checkpoint that training begins
            with; the report begins with them.
    """

    name: str
    log: str
    resume: bool
    seed: int
    facts: Dict[str, Any]


def train(
    run: RunSettings,
    training: Training,
    processes: Processes,
    measured: Callable[[List[Row], RunFolder], Report],
) -> Optional[Report]:
    """Trains, unless the log folder holds the finished run, and writes the report.

    Args:
        run: folder and seed of the run, and what its report begins with.
        training: network, images and schedule.
        processes: processes that train together.
        measured: function that gives the rest of the report from the history and the folder.

    Returns:
        The report, in the chief.

    Raises:
        RunFolderError: the folder holds something else.
    """
    seed_everything(run.seed)
    settings = run.facts
    if processes.chief and training.load:
        # Not its path: folders may move, and be trained anew.
        loaded = checkpoints.fingerprint(checkpoints.resolve(training.load))
        settings = dict(settings, load_fingerprint=loaded)
    folder = RunFolder(run.log, settings, run.resume) if processes.chief else None
    report = folder.report() if folder else None
    if processes.agree(report is not None):
        if folder:
            print(f"{run.name} is finished already, see {folder.file(REPORT)}")
        return report
    if folder:
        logger.set_logger_dir(run.log, action="k")
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
        model: network, a :class:`sspq.models.classifier.Classifier`.
        data: images, see :class:`sspq.training.engine.Training`.
        prefix: prefix of the checkpoint.
        file: report to write; its folder is made.
        result: function that adds what follows from the model and what was measured (default:
            :func:`sspq.training.results.result`).

    Raises:
        CheckpointError: the checkpoint's run trained another network.
    """
    _check_network(model, prefix)
    os.makedirs(os.path.dirname(file) or ".", exist_ok=True)  # ahead of what may take an hour
    batches, count = data.batches(model.preprocessing)
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
    """A description with its bits one by one; empty if ``description`` is no object."""
    if not isinstance(description, dict):
        return {}
    bits = description.get("bits")
    of_parts = bits.items() if isinstance(bits, dict) else ()
    return dict(description, **{f"bits.{part}": value for part, value in of_parts})


def seed_everything(seed: int) -> None:
    """Seeds initial values and all else that is drawn. The data has seeds of its own."""
    fix_rng_seed(seed)
    tf.set_random_seed(seed)
