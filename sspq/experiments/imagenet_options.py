"""What a step of an ImageNet network can be told on the command line, and what follows from it."""

import argparse
import os
from typing import NamedTuple, Optional, Union

from sspq.data.ilsvrc.augment import RELEASED, Augmentation, CaffeAugmentation
from sspq.experiments import options
from sspq.graphs.imagenet import BLOCKS, GRAPHS, MODES, SHIFT_MODES
from sspq.training import distributed
from sspq.training.schedule import Schedule, warmed_up, within

BASE_LR = 0.1  # for as many images a step:
BASE_BATCH = 256
LEAST_AREA = RELEASED.area[0]
WARM_UP_EPOCHS = 5  # of larger batches


class Step(NamedTuple):
    """What tells one script from another: its defaults."""

    name: str
    graph: str
    epochs: int
    wup_length: int
    step_size: int
    eta_min: float
    needs_load: bool


def parser(step: Step, description: Optional[str]) -> argparse.ArgumentParser:
    """The options of a step's script."""
    p = options.parser(description)
    options.add_run(p, None)
    options.add_method(p)
    options.add_schedule(p, step.wup_length, step.step_size, step.eta_min)
    _add_training(p, step)
    _add_network(p, step)
    _add_data(p)
    return p


def _add_training(p: argparse.ArgumentParser, step: Step) -> None:
    p.add_argument("--epochs", type=int, default=step.epochs, help="of the whole run")
    p.add_argument(
        "--base_lr",
        type=float,
        help=(
            f"learning rate for {BASE_BATCH} images a step; follows the batch. Default: "
            f"{'that of the checkpoint' if step.needs_load else BASE_LR}"
        ),
    )
    p.add_argument(
        "--trainer",
        choices=distributed.NAMES,
        default="async",
        help="how several GPUs train together; horovod, under horovodrun, also on several machines",
    )
    p.add_argument(
        "--compression",
        choices=distributed.COMPRESSIONS,
        default="none",
        help="gradients on their way between horovod's processes; fp16 halves their bytes, and "
        "rounds them to 11 bits, those below 3e-8 to 0",
    )
    p.add_argument(
        "--val-every", type=int, default=1, help="epochs from one validation to the next"
    )
    p.add_argument(
        "--weight-decay-norm",
        action="store_true",
        help="weight decay on batch normalization's gamma and beta too",
    )
    p.add_argument(
        "--flops",
        action="store_true",
        help="only print multiply-adds, shift work and parameters by layer",
    )


def _add_network(p: argparse.ArgumentParser, step: Step) -> None:
    p.add_argument("--graph", choices=sorted(GRAPHS), default=step.graph, help="the network's")
    p.add_argument("--mode", choices=MODES, default="QresIBShift", help="the blocks' kind")
    p.add_argument(
        "-d", "--depth", type=int, choices=sorted(BLOCKS), default=50, help="layers, by name"
    )
    p.add_argument("--bitw", type=int, help="bits of the 1x1 kernels; by default the graph's")
    p.add_argument("--bita", type=int, help="bits of the activations; by default the graph's")
    p.add_argument("--linear-bits", type=int, default=32, help="bits of the last layer's kernel")
    p.add_argument("--image-size", type=int, default=224, help="pixels, height and width")


def _add_data(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--data",
        default=os.environ.get("Imagenet_Path"),
        help="the ILSVRC folder, with train and val in it; else $Imagenet_Path",
    )
    p.add_argument(
        "--fake", action="store_true", help="made-up images, to try the speed: 100 steps an epoch"
    )
    add_images(p)


def add_images(p: argparse.ArgumentParser) -> None:
    """How the images of an ILSVRC folder are read and augmented."""
    p.add_argument(
        "--meta-dir", help="folder of the official files that tell the classes' order and labels"
    )
    p.add_argument("--skip-bad", action="store_true", help="evaluate without the damaged files")
    p.add_argument(
        "--symbolic", action="store_true", help="read images by tf.data instead of processes"
    )
    p.add_argument("--processes", type=int, help="that read images; by default one a core")
    p.add_argument(
        "--min-area", type=float, default=LEAST_AREA, help="least part of an image that is cut out"
    )
    p.add_argument("--no-colour", action="store_true", help="leave colours as they are")
    p.add_argument("--no-mirror", action="store_true", help="do not mirror images")


def log_folder(step: Step, args: argparse.Namespace) -> str:
    """Where a run is written unless ``--log`` says. An evaluation keeps off a run's report."""
    return f"train_log/imagenet-{step.name.lower()}{'-eval' if args.eval else ''}"


def augmentation(
    args: argparse.Namespace, as_caffe: bool = False
) -> Union[Augmentation, CaffeAugmentation]:
    """What is done to training images."""
    if as_caffe:
        return CaffeAugmentation(not args.no_mirror)
    return Augmentation((args.min_area, 1.0), not args.no_colour, not args.no_mirror)


def initial_rate(args: argparse.Namespace) -> float:
    """The rate that the variable ``learning_rate`` gets unless a checkpoint tells another."""
    return (BASE_LR if args.base_lr is None else args.base_lr) * args.batch / BASE_BATCH


def schedule(step: Step, args: argparse.Namespace) -> Schedule:
    """Learning rates by epoch.

    The rate follows the batch over all GPUs and processes. Above 256 images a step it begins with
    the one of 256 and grows over 5 epochs. A step that goes on with a checkpoint's rate has no such
    beginning.
    """
    cosine = within(args.epochs, args.wup_length, args.step_size, args.epochs, args.eta_min)
    start, target = initial_rate(args) * BASE_BATCH / args.batch, initial_rate(args)
    if target <= start or keeps_rate(step, args):
        return cosine
    return warmed_up(cosine, start, target, WARM_UP_EPOCHS)


def keeps_rate(step: Step, args: argparse.Namespace) -> bool:
    """Whether training goes on with the checkpoint's learning rate."""
    return step.needs_load and args.base_lr is None


def check(step: Step, args: argparse.Namespace) -> None:
    """Refuses what cannot work, before anything is loaded or written."""
    for name in ("batch", "epochs", "val_every", "image_size"):
        value = getattr(args, name)
        if value < 1:
            option = name.replace("_", "-")
            raise ValueError(f"`--{option}` must be at least 1, got {value!r}")
    if args.processes is not None and args.processes < 0:
        raise ValueError(f"`--processes` must be at least 0, got {args.processes!r}")
    if args.base_lr is not None:
        options.check_rate(args.base_lr)
    if args.mode not in SHIFT_MODES:
        why = f"of shift networks, which mode {args.mode} is not"
        options.refuse(args, options.OF_SHIFTS, why)
    if args.trainer != "horovod":
        why = f"of `--trainer horovod`, got --trainer {args.trainer}"
        options.refuse(args, {"compression": "none"}, why)
    augmentation(args)
    schedule(step, args)
    if args.flops:
        return
    options.check_run(args, step.needs_load and not args.fake)
    if not args.data and not args.fake:
        raise ValueError(
            "`--data` is missing: give the ILSVRC folder by --data or $Imagenet_Path, or --fake "
            "for made-up images"
        )
    if args.fake and args.eval:
        raise ValueError("`--fake` has no images to evaluate on: give --data")
