"""The options of a step of an ImageNet network, and what is refused about them."""

import argparse
import os
from dataclasses import dataclass
from typing import Optional

from sspq.data.ilsvrc.augment import RELEASED
from sspq.experiments import options
from sspq.experiments.inputs import FolderSettings
from sspq.graphs.imagenet import BLOCKS, GRAPHS, MODES, SHIFT_MODES
from sspq.models.classifier import DECAY_KERNELS
from sspq.models.imagenet import DECAY_KERNELS_AND_NORMS
from sspq.training import distributed

BASE_LR = 0.1  # for as many images a step:
BASE_BATCH = 256
LEAST_AREA = RELEASED.area[0]


@dataclass(frozen=True)
class Defaults:
    """What tells one script from another: its name and the defaults of its options."""

    name: str
    graph: str
    epochs: int
    wup_length: int
    step_size: int
    eta_min: float
    needs_load: bool


@dataclass(frozen=True)
class NetworkOptions:
    """Arguments of :class:`sspq.ImageNetSSPQ`, apart from the number of classes and the rate."""

    graph: str
    depth: int
    mode: str
    bitw: Optional[int]
    bita: Optional[int]
    variant: str
    image_size: int
    data_format: str
    linear_bits: int
    weight_decay_pattern: str
    shift_lr_mult: float
    shift_normalize: bool


@dataclass(frozen=True)
class ScheduleOptions:
    """Number of epochs and arguments of :func:`sspq.training.schedule.stepwise_cosine`."""

    epochs: int
    wup_length: int
    step_size: int
    eta_min: float


@dataclass(frozen=True)
class Options:
    """What a step is told on its command line.

    Attributes:
        network: arguments of the network.
        schedule: number of epochs and step-wise cosine.
        images: ILSVRC folder; None for made-up images.
        base_lr: learning rate for 256 images a step; None for that of the checkpoint.
        batch: number of images of a step, over all GPUs and processes.
        load: checkpoint to start from or to evaluate, or None.
        trainer: one of :data:`sspq.training.distributed.NAMES`.
        compression: one of :data:`sspq.training.distributed.COMPRESSIONS`.
        val_every: number of epochs from one validation to the next.
    """

    network: NetworkOptions
    schedule: ScheduleOptions
    images: Optional[FolderSettings]
    base_lr: Optional[float]
    batch: int
    load: Optional[str]
    trainer: str
    compression: str
    val_every: int

    @property
    def rate(self) -> float:
        """Initial learning rate, unless a checkpoint gives it; it follows the batch."""
        return self.rate_of_base_batch * self.batch / BASE_BATCH

    @property
    def rate_of_base_batch(self) -> float:
        """Initial learning rate of a batch of 256 images."""
        return BASE_LR if self.base_lr is None else self.base_lr


def parser(defaults: Defaults, description: Optional[str]) -> argparse.ArgumentParser:
    """The options of a step's script."""
    p = options.parser(description)
    options.add_run(p, None)
    options.add_method(p)
    options.add_schedule(p, defaults.wup_length, defaults.step_size, defaults.eta_min)
    _add_training(p, defaults)
    _add_network(p, defaults)
    _add_data(p)
    return p


def _add_training(p: argparse.ArgumentParser, defaults: Defaults) -> None:
    p.add_argument(
        "--epochs", type=int, default=defaults.epochs, help="number of epochs of the whole run"
    )
    p.add_argument(
        "--base_lr",
        type=float,
        help=(
            f"learning rate for {BASE_BATCH} images a step; follows the batch. Default: "
            f"{'that of the checkpoint' if defaults.needs_load else BASE_LR}"
        ),
    )
    p.add_argument(
        "--trainer",
        choices=distributed.NAMES,
        default="async",
        help="way in which several GPUs train together; horovod, under horovodrun, also on several "
        "machines",
    )
    p.add_argument(
        "--compression",
        choices=distributed.COMPRESSIONS,
        default="none",
        help="coding of gradients between processes of horovod; fp16 halves their bytes, and "
        "rounds them to 11 bits, those below 3e-8 to 0",
    )
    p.add_argument(
        "--val-every", type=int, default=1, help="number of epochs from one validation to the next"
    )
    p.add_argument(
        "--weight-decay-norm",
        action="store_true",
        help="weight decay on gamma and beta of batch normalization too",
    )
    p.add_argument(
        "--flops",
        action="store_true",
        help="table of multiply-adds, shift work and parameters by layer, and no training",
    )


def _add_network(p: argparse.ArgumentParser, defaults: Defaults) -> None:
    p.add_argument(
        "--graph", choices=sorted(GRAPHS), default=defaults.graph, help="graph of the network"
    )
    p.add_argument("--mode", choices=MODES, default="QresIBShift", help="kind of the blocks")
    p.add_argument(
        "-d", "--depth", type=int, choices=sorted(BLOCKS), default=50, help="number of layers"
    )
    p.add_argument("--bitw", type=int, help="bits of the 1x1 kernels; None: those of the graph")
    p.add_argument("--bita", type=int, help="bits of the activations; None: those of the graph")
    p.add_argument("--linear-bits", type=int, default=32, help="bits of the last layer's kernel")
    p.add_argument(
        "--image-size", type=int, default=224, help="height and width of the images in pixels"
    )


def _add_data(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--data",
        default=os.environ.get("Imagenet_Path"),
        help="ILSVRC folder, with train and val in it; else $Imagenet_Path",
    )
    p.add_argument(
        "--fake", action="store_true", help="made-up images, to try the speed: 100 steps an epoch"
    )
    add_images(p)


def add_images(p: argparse.ArgumentParser) -> None:
    """Adds how the images of an ILSVRC folder are read and augmented."""
    p.add_argument(
        "--meta-dir", help="folder of the official files that tell the classes' order and labels"
    )
    p.add_argument("--skip-bad", action="store_true", help="evaluation without the damaged files")
    p.add_argument(
        "--symbolic", action="store_true", help="images read by tf.data instead of processes"
    )
    p.add_argument(
        "--processes", type=int, help="number of processes that read images; None: one a core"
    )
    p.add_argument(
        "--min-area", type=float, default=LEAST_AREA, help="least part of an image that is cut out"
    )
    p.add_argument("--no-colour", action="store_true", help="no change of colours in training")
    p.add_argument("--no-mirror", action="store_true", help="no mirrored images in training")


def log_folder(defaults: Defaults, args: argparse.Namespace) -> str:
    """Where a run is written unless ``--log`` says. An evaluation keeps off a run's report."""
    return f"train_log/imagenet-{defaults.name.lower()}{'-eval' if args.eval else ''}"


def options_of(args: argparse.Namespace) -> Options:
    """The parsed command line as the dataclasses that a script reads."""
    decays = DECAY_KERNELS_AND_NORMS if args.weight_decay_norm else DECAY_KERNELS
    return Options(
        network=options.pick(NetworkOptions, args, weight_decay_pattern=decays),
        schedule=options.pick(ScheduleOptions, args),
        images=None if args.fake else images_of(args),
        base_lr=args.base_lr,
        batch=args.batch,
        load=args.load,
        trainer=args.trainer,
        compression=args.compression,
        val_every=args.val_every,
    )


def images_of(args: argparse.Namespace) -> FolderSettings:
    """The options of :func:`add_images` as settings of an ILSVRC folder."""
    return options.pick(FolderSettings, args, colour=not args.no_colour, mirror=not args.no_mirror)


def check(defaults: Defaults, args: argparse.Namespace) -> None:
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
        why = f"for shift networks only, which mode {args.mode} is not"
        options.refuse(args, options.SHIFT_DEFAULTS, why)
    if args.trainer != "horovod":
        why = f"for `--trainer horovod` only, got --trainer {args.trainer}"
        options.refuse(args, {"compression": "none"}, why)
    images_of(args).augmentation(stretch=False)  # refuses what is no part of an image
    if args.flops:
        return
    options.check_run(args, defaults.needs_load and not args.fake)
    if not args.data and not args.fake:
        raise ValueError(
            "`--data` is missing: give the ILSVRC folder by --data or $Imagenet_Path, or --fake "
            "for made-up images"
        )
    if args.fake and args.eval:
        raise ValueError("`--fake` has no images to evaluate on: give --data")
