"""Trains and evaluates one step of SSPQ34: S1, S2 or float32, on CIFAR-100 or on digits."""

import argparse
import os
import sys
import time
from typing import Any, Dict, List, Optional

from tensorpack.callbacks import (
    ClassificationError,
    ModelSaver,
    ScalarPrinter,
    ScalarStats,
    TFEventWriter,
)
from tensorpack.input_source import QueueInput
from tensorpack.predict import PredictConfig
from tensorpack.tfutils.sesscreate import NewSessionCreator
from tensorpack.tfutils.tower import TowerContext
from tensorpack.train import (
    SimpleTrainer,
    SyncMultiGPUTrainerParameterServer,
    TrainConfig,
    launch_train_with_config,
)
from tensorpack.utils import logger
from tensorpack.utils.gpu import get_num_gpu
from tensorpack.utils.utils import fix_rng_seed

from sspq import data as datasets
from sspq.compat import has_gpu, tf
from sspq.data.flow import TestFlow, TrainFlow
from sspq.files import write_json
from sspq.report.environment import versions
from sspq.report.size import information_density, model_size
from sspq.training import checkpoint, history
from sspq.training.cifar_model import CifarSSPQ34
from sspq.training.cifar_options import Step, check, parser, plan
from sspq.training.console import quieten
from sspq.training.history import History, MeanCost
from sspq.training.inference import InferenceRunner, OfflinePredictor
from sspq.training.run_folder import REPORT, RunFolder, die_with_parent
from sspq.training.schedule import LearningRate

TEST_BATCH = 200
KEEP = 3  # checkpoints of a run
# Shown after every epoch; the events hold everything.
PRINTED = ["learning_rate", "train-cost", "val-error-top1"]


def _session_creator() -> NewSessionCreator:
    """Tensorpack's, but with all cores for the ops themselves where they compute on the CPU."""
    creator = NewSessionCreator()
    if not has_gpu():
        creator.config.intra_op_parallelism_threads = 0
    return creator


def _model(args: argparse.Namespace, data: Any) -> CifarSSPQ34:
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


def _dataset_facts(data: Any) -> Dict[str, Any]:
    return {
        "name": data.name,
        "train_images": len(data.train_labels),
        "test_images": len(data.test_labels),
        "classes": data.num_classes,
    }


def _settings(step: Step, args: argparse.Namespace, model: Any, data: Any) -> Dict[str, Any]:
    result = dict(model.describe(), step=step.name, dataset=_dataset_facts(data))
    for name in ("batch", "seed", "eta_min", "max_epoch", "wup_length", "step_size"):
        result[name] = getattr(args, name)
    return result


def _train(
    step: Step, args: argparse.Namespace, model: Any, data: Any, folder: RunFolder
) -> List[history.Row]:
    epochs, schedule = plan(step, args)
    towers = max(1, get_num_gpu()) if has_gpu() else 1
    if args.batch % towers:
        raise ValueError("`--batch` must be divisible by %d GPUs, got %d" % (towers, args.batch))
    init: Optional[Any] = None
    first = 1
    folder.clear_leftovers()
    checkpoint.remove_old(folder.path, KEEP)
    resumed = checkpoint.last_complete(folder.path)
    steps = len(TrainFlow(data, args.batch, args.seed))
    if resumed:
        first = checkpoint.global_step(resumed) // steps + 1
        logger.info("Going on with epoch %d from %s" % (first, resumed))
        init = checkpoint.ExactRestore(resumed)
    elif args.load:
        # The rate and the step count are this step's own; all else comes from the checkpoint.
        init = checkpoint.ExactRestore(
            checkpoint.resolve(args.load), ignore=("global_step", "learning_rate")
        )
    rows = [r for r in history.read(folder.path) if r["epoch"] < first]
    if first > epochs:
        return rows
    flow = TrainFlow(data, args.batch // towers, args.seed, first_epoch=first)
    config = TrainConfig(
        model=model,
        data=QueueInput(flow),
        callbacks=[
            LearningRate(schedule),
            MeanCost(),
            InferenceRunner(
                TestFlow(data, TEST_BATCH),
                [
                    ClassificationError("wrong-top1", "val-error-top1"),
                    ClassificationError("wrong-top5", "val-error-top5"),
                    ScalarStats("cross_entropy"),
                ],
            ),
            History(folder.path),
            ModelSaver(max_to_keep=KEEP, checkpoint_dir=folder.path),
        ],
        monitors=[TFEventWriter(), ScalarPrinter(whitelist=PRINTED)],
        steps_per_epoch=steps,
        max_epoch=epochs,
        starting_epoch=first,
        session_init=init,
        session_creator=_session_creator(),
    )
    trainer = SimpleTrainer() if towers == 1 else SyncMultiGPUTrainerParameterServer(towers)
    launch_train_with_config(config, trainer)
    return history.read(folder.path)


def evaluate(model: Any, data: Any, prefix: str) -> Dict[str, float]:
    """Top-1 and top-5 in percent of a checkpoint on the test images."""
    predictor = OfflinePredictor(
        PredictConfig(
            model=model,
            session_init=checkpoint.ExactRestore(prefix, parameters_only=True),
            input_names=["input", "label"],
            output_names=["wrong-top1", "wrong-top5"],
            session_creator=_session_creator(),
        )
    )
    flow = TestFlow(data, TEST_BATCH)
    flow.reset_state()
    wrong = [0.0, 0.0]
    for images, labels in flow:
        for k, values in enumerate(predictor(images, labels)):
            wrong[k] += float(values.sum())
    count = len(data.test_labels)
    return {"top1": 100 * (1 - wrong[0] / count), "top5": 100 * (1 - wrong[1] / count)}


def _variables(model: Any) -> List[Any]:
    """The model's trainable variables, from the graph that was trained if there is one."""
    if not tf.trainable_variables():
        with TowerContext("", is_training=False):
            model.build_graph(*[tf.placeholder(s.dtype, s.shape) for s in model.inputs()])
    return [(v.op.name, tuple(v.shape.as_list())) for v in tf.trainable_variables()]


def _sizes(model: Any, top1: float) -> Dict[str, Any]:
    size = model_size(_variables(model), model.weight_bits)
    return {
        "trainable_parameters": size.parameters,
        "float32_bytes": size.float32_bytes,
        "quantized_bytes": size.quantized_bytes,
        "information_density": information_density(top1, size.quantized_bytes),
    }


def _report(
    step: Step, args: argparse.Namespace, model: Any, data: Any, rows: List[history.Row]
) -> Dict[str, Any]:
    if not rows:
        raise ValueError("%s has checkpoints but no history: start over" % args.log)
    last = rows[-1]
    return dict(
        _settings(step, args, model, data),
        top1=last["top1"],
        top5=last["top5"],
        epochs=len(rows),
        seconds=sum(r["seconds"] for r in rows),
        versions=versions(),
        **_sizes(model, last["top1"]),
    )


def _evaluation(args: argparse.Namespace, model: Any, data: Any) -> Dict[str, Any]:
    prefix = checkpoint.resolve(args.load)
    measured = evaluate(model, data, prefix)
    return dict(
        model.describe(),
        dataset=_dataset_facts(data),
        checkpoint=prefix,
        versions=versions(),
        **measured,
        **_sizes(model, measured["top1"]),
    )


def run(step: Step, args: argparse.Namespace) -> Dict[str, Any]:
    """Does what the options say; returns the report."""
    if args.gpu is not None:  # before TensorFlow looks for GPUs
        os.environ["CUDA_VISIBLE_DEVICES"] = args.gpu
    check(step, args)
    data = datasets.load(args.data, download=args.download)
    model = _model(args, data)
    fix_rng_seed(args.seed)
    tf.set_random_seed(args.seed)
    if args.eval:
        result = _evaluation(args, model, data)
        os.makedirs(args.log, exist_ok=True)
        write_json(os.path.join(args.log, "eval.json"), result)
        return result
    folder = RunFolder(args.log, _settings(step, args, model, data), args.resume)
    report = folder.report()
    if report is None:
        logger.set_logger_dir(args.log, action="k")
        rows = _train(step, args, model, data, folder)
        report = _report(step, args, model, data, rows)
        write_json(folder.file(REPORT), report)
    else:
        print("%s is finished already, see %s" % (step.name, folder.file(REPORT)))
    return report


def main(step: Step, description: str, argv: Optional[List[str]] = None) -> int:
    """The whole of a step's script; user errors give one line and exit status 2."""
    args = parser(step, description).parse_args(argv)
    die_with_parent()
    tf.logging.set_verbosity(tf.logging.ERROR)
    quieten()
    start = time.time()
    try:
        result = run(step, args)
    except ValueError as e:
        if os.environ.get("SSPQ_TRACEBACK") == "1":
            raise
        print("%s: %s" % (os.path.basename(sys.argv[0]), e), file=sys.stderr)
        return 2
    print(
        "%s  W%d A%d  top-1 %.2f %%  top-5 %.2f %%  (%.0f s)"
        % (
            step.name,
            args.bitw,
            args.bita,
            result["top1"],
            result["top5"],
            time.time() - start,
        )
    )
    return 0
