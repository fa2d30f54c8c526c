"""Trains and evaluates one step of SSPQ34: S1, S2 or float32, on CIFAR-100 or on digits."""

import argparse
import os
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from tensorpack.callbacks import (
    ClassificationError,
    InferenceRunner,
    ModelSaver,
    ScalarPrinter,
    ScalarStats,
    TFEventWriter,
)
from tensorpack.input_source import QueueInput
from tensorpack.predict import OfflinePredictor, PredictConfig
from tensorpack.train import (
    SimpleTrainer,
    SyncMultiGPUTrainerParameterServer,
    TrainConfig,
    launch_train_with_config,
)
from tensorpack.utils import logger
from tensorpack.utils.gpu import get_num_gpu
from tensorpack.utils.utils import fix_rng_seed

from sspq.compat import has_gpu, tf
from sspq.data import dataset as datasets
from sspq.data.flow import TestFlow, TrainFlow
from sspq.files import write_json
from sspq.quantizers.scope import VARIANTS
from sspq.report.environment import versions
from sspq.report.size import information_density, model_size
from sspq.training import checkpoint, history
from sspq.training.cifar_model import CifarSSPQ34
from sspq.training.history import History, MeanCost
from sspq.training.run_folder import REPORT, RunFolder, die_with_parent
from sspq.training.schedule import LearningRate, Schedule, constant, stepwise_cosine

TEST_BATCH = 200
RELEASED_EPOCHS = 200


class Step(NamedTuple):
    """What tells S1 from S2: the defaults of a script."""

    name: str
    bitw: int
    bita: int
    eta_min: float
    max_epoch: int
    needs_load: bool


def parser(step: Step, description: str) -> argparse.ArgumentParser:
    """The options of a step's script."""
    p = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    p.add_argument("--gpu", help="comma-separated list of GPUs to use; all of CUDA's by default")
    p.add_argument(
        "--load", help="checkpoint to start from (S2: S1's) or to evaluate; a folder means its last"
    )
    p.add_argument(
        "--log", default="train_log/%s" % step.name.lower(), help="folder for everything written"
    )
    p.add_argument("--eta_min", type=float, default=step.eta_min, help="floor of the cosine")
    p.add_argument("--max_epoch", type=int, default=step.max_epoch, help="last epoch of the cosine")
    p.add_argument("--base_lr", type=float, default=0.1, help="learning rate at the start")
    p.add_argument("--wup_length", type=int, default=30, help="epochs ahead of the cosine")
    p.add_argument("--step_size", type=int, default=30, help="epochs between changes of the rate")
    p.add_argument(
        "--data",
        default=os.environ.get("CIFAR100_PATH"),
        help="folder with CIFAR-100, or 'digits'; else $CIFAR100_PATH",
    )
    p.add_argument(
        "--download",
        action="store_true",
        help="fetch CIFAR-100 into the --data folder if it is not there",
    )
    p.add_argument(
        "--variant",
        choices=VARIANTS,
        default="paper",
        help="the method as published, or as the released scripts compute it",
    )
    p.add_argument("--bitw", type=int, default=step.bitw, help="bits of the weights, 1 to 32")
    p.add_argument("--bita", type=int, default=step.bita, help="bits of the activations, 1 to 32")
    p.add_argument("--bitg", type=int, default=32, help="bits of the gradients, 1 to 32")
    p.add_argument("--batch", type=int, default=256, help="images a step, over all GPUs")
    p.add_argument("--seed", type=int, default=0, help="of initial values, order and augmentation")
    p.add_argument(
        "--resume", action="store_true", help="go on with the run in --log, if there is one"
    )
    p.add_argument(
        "--eval", action="store_true", help="only measure the checkpoint given by --load"
    )
    p.add_argument(
        "--data-format",
        choices=("auto", "NCHW", "NHWC"),
        default="auto",
        help="auto: NCHW with a GPU, NHWC without",
    )
    p.add_argument(
        "--shift-lr-mult", type=float, default=1.0, help="factor on the shifts' learning rate"
    )
    p.add_argument(
        "--shift-normalize", action="store_true", help="normalize each channel's shift gradient"
    )
    p.add_argument("--shift-no-decay", action="store_true", help="no weight decay on shifts")
    return p


def plan(step: Step, args: argparse.Namespace) -> Tuple[int, Schedule]:
    """Epochs and learning rates.

    The released scripts train for 200 epochs whatever ``--max_epoch`` says, S1 at a constant rate;
    S2's cosine still ends at ``--max_epoch`` and so swings beyond it.
    """
    if args.max_epoch < 1:
        raise ValueError("`--max_epoch` must be at least 1, got %r" % args.max_epoch)
    if args.variant == "released" and step.name != "S2":
        return RELEASED_EPOCHS, constant
    epochs = RELEASED_EPOCHS if args.variant == "released" else args.max_epoch
    if epochs <= args.wup_length:
        # The cosine never begins; its own check of the two lengths would be in the way.
        return epochs, stepwise_cosine(epochs, args.step_size, epochs + 1, args.eta_min)
    return epochs, stepwise_cosine(args.wup_length, args.step_size, args.max_epoch, args.eta_min)


def _check(step: Step, args: argparse.Namespace) -> None:
    if not args.data:
        raise ValueError(
            "`--data` is missing: give the folder with CIFAR-100, or 'digits' for images that need "
            "no download"
        )
    if args.batch < 1:
        raise ValueError("`--batch` must be at least 1, got %r" % args.batch)
    if args.base_lr <= 0:
        raise ValueError("`--base_lr` must be above 0, got %r" % args.base_lr)
    if (args.eval or step.needs_load) and not args.load:
        what = "a checkpoint to evaluate" if args.eval else "S1's checkpoint or log folder"
        raise ValueError("`--load` is missing: give %s" % what)
    if args.data_format == "NCHW" and not has_gpu():
        raise ValueError(
            "`--data-format NCHW` needs a GPU: TensorFlow's CPU kernels know NHWC only. "
            "The variables are the same, so use auto or NHWC"
        )


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
    flow = TrainFlow(data, args.batch // towers, args.seed, first_epoch=(first - 1) * towers + 1)
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
            ModelSaver(max_to_keep=3, checkpoint_dir=folder.path),
        ],
        monitors=[TFEventWriter(), ScalarPrinter()],
        steps_per_epoch=steps,
        max_epoch=epochs,
        starting_epoch=first,
        session_init=init,
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


def _size(model: Any) -> Any:
    with tf.Graph().as_default():
        from tensorpack.tfutils.tower import TowerContext

        with TowerContext("", is_training=False):
            model.build_graph(*[tf.placeholder(s.dtype, s.shape) for s in model.inputs()])
        variables = [(v.op.name, tuple(v.shape.as_list())) for v in tf.trainable_variables()]
    return model_size(variables, model.scope, model.bitw)


def _report(
    step: Step, args: argparse.Namespace, model: Any, data: Any, rows: List[history.Row]
) -> Dict[str, Any]:
    size = _size(model)
    last = rows[-1]
    return dict(
        _settings(step, args, model, data),
        top1=last["top1"],
        top5=last["top5"],
        trainable_parameters=size.parameters,
        float32_bytes=size.float32_bytes,
        quantized_bytes=size.quantized_bytes,
        information_density=information_density(last["top1"], size.quantized_bytes),
        epochs=len(rows),
        seconds=sum(r["seconds"] for r in rows),
        versions=versions(),
    )


def run(step: Step, args: argparse.Namespace) -> Dict[str, Any]:
    """Does what the options say; returns the report."""
    _check(step, args)
    plan(step, args)
    if args.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = args.gpu
    data = datasets.load(args.data, download=args.download)
    model = _model(args, data)
    fix_rng_seed(args.seed)
    tf.set_random_seed(args.seed)
    if args.eval:
        prefix = checkpoint.resolve(args.load)
        size = _size(model)
        result = dict(
            model.describe(), dataset=_dataset_facts(data), checkpoint=prefix, versions=versions()
        )
        result.update(evaluate(model, data, prefix))
        result["quantized_bytes"] = size.quantized_bytes
        result["information_density"] = information_density(result["top1"], size.quantized_bytes)
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
    start = time.time()
    try:
        result = run(step, args)
    except ValueError as e:
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
