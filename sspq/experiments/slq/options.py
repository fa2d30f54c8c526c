"""The options of ``examples/slq.py``, and what is refused about them."""

import argparse
import os
import re
from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple, Union

from sspq.analysis.layers import inference_graph
from sspq.experiments import options
from sspq.experiments.imagenet_options import LEAST_AREA, add_images, images_of
from sspq.experiments.inputs import ImagesSettings
from sspq.experiments.slq.networks import NETWORKS, DataSettings, ModelOptions
from sspq.slq import PARTITIONS, TERNARY, Schedule
from sspq.training import distributed
from sspq.training.slq.callback import schedule_of
from sspq.training.slq.variables import Layers, layer_test

METHODS = ("float32", "slq", "mlq")
RATE_FACTOR = 0.1


@dataclass(frozen=True)
class Options:
    """What the script is told on its command line.

    Attributes:
        model: one of :data:`sspq.experiments.slq.networks.NETWORKS`.
        method: one of :data:`METHODS`.
        network: arguments of the network.
        images: data set or ILSVRC folder.
        clusters: numbers of clusters by stage, and which of them are frozen first; None for
            float32.
        stage_epochs: number of epochs of every stage, or of each.
        layers: regular expression for, or test of, the names of the weights that are quantized.
        groups: groups of layers of MLQ, see :func:`groups_of`, or None.
        rate_step: number of epochs of a stage after which the learning rate falls.
        rate_factor: factor by which it falls.
        batch: number of images of a step, over all GPUs.
        load: checkpoint to start from or to evaluate, or None.
        trainer: one of :data:`sspq.training.distributed.NAMES`.
        val_every: number of epochs from one validation to the next.
    """

    model: str
    method: str
    network: ModelOptions
    images: DataSettings
    clusters: Optional[Schedule]
    stage_epochs: Union[int, Tuple[int, ...]]
    layers: Layers
    groups: Optional[Tuple[str, ...]]
    rate_step: int
    rate_factor: float
    batch: int
    load: Optional[str]
    trainer: str
    val_every: int


def parser(description: Optional[str]) -> argparse.ArgumentParser:
    """The options of the script."""
    p = options.parser(description)
    p.add_argument("--model", choices=sorted(NETWORKS), required=True, help="the network")
    p.add_argument(
        "--method",
        choices=METHODS,
        default="slq",
        help=(
            "method: slq; mlq, ternary weights layer by layer; float32, training of the network "
            "that they start from"
        ),
    )
    _add_quantization(p)
    options.add_run(p, None)
    p.set_defaults(batch=None)
    options.add_shift(p)
    p.add_argument("--shift-no-decay", action="store_true", help="no weight decay on shifts")
    p.add_argument("--bita", type=int, default=32, help="bits of a shift network's activations")
    p.add_argument(
        "--trainer",
        choices=distributed.NAMES,
        default="replicated",
        help="way in which several GPUs train together",
    )
    p.add_argument(
        "--val-every", type=int, default=1, help="number of epochs from one validation to the next"
    )
    p.add_argument(
        "--data",
        help=(
            "images: of lenet and sspq34 'digits' or the folder with CIFAR-100, else "
            "$CIFAR100_PATH; of the others the ILSVRC folder, else $Imagenet_Path"
        ),
    )
    p.add_argument(
        "--download", action="store_true", help="download of CIFAR-100 if it is not there"
    )
    p.add_argument(
        "--image-size",
        type=int,
        help="height and width of ILSVRC images in pixels; None: those of the network",
    )
    add_images(p)
    return p


def _add_quantization(p: argparse.ArgumentParser) -> None:
    p.add_argument("--bits", type=int, help="bits of the weights, 2 to 5; None: 5, or 2 of mlq")
    p.add_argument(
        "--partition",
        choices=PARTITIONS,
        help="clusters that are frozen first; None: those of the largest magnitude",
    )
    p.add_argument(
        "--layers",
        help="regular expression for the whole names of the weights that are quantized; by default "
        "all, of shift networks the 1x1 kernels of their blocks",
    )
    p.add_argument(
        "--groups",
        nargs="+",
        metavar="G",
        help=(
            "groups of layers of mlq: their number, or a regular expression for the names of "
            "each; None: each layer on its own"
        ),
    )
    p.add_argument(
        "--stage-epochs",
        type=int,
        nargs="+",
        metavar="N",
        help="number of epochs of every stage, or of each; of float32, of the whole run",
    )
    p.add_argument("--base_lr", type=float, help="learning rate at the beginning of each stage")
    p.add_argument(
        "--rate-step",
        type=int,
        help="number of epochs of a stage after which the learning rate falls",
    )
    p.add_argument(
        "--rate-factor",
        type=float,
        default=RATE_FACTOR,
        help="factor by which the learning rate falls",
    )


def complete(args: argparse.Namespace) -> None:
    """Fills in what was not given by the network's defaults."""
    network = NETWORKS[args.model]
    recipe = network.float32 if args.method == "float32" else network.stages
    defaults = {
        "batch": recipe.batch,
        "base_lr": recipe.base_lr,
        "stage_epochs": [recipe.epochs],
        "rate_step": recipe.rate_step,
        "image_size": network.image_size,
        "data": os.environ.get("Imagenet_Path" if network.image_size else "CIFAR100_PATH"),
        "log": f"train_log/{args.model}-{args.method}",
    }
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)


# Options that not all networks have, with their defaults.
_OF_FILES = {
    "image_size": 0,
    "meta_dir": None,
    "skip_bad": False,
    "symbolic": False,
    "processes": None,
    "min_area": LEAST_AREA,
    "no_colour": False,
    "no_mirror": False,
}
_OF_SHIFTS = {**options.SHIFT_DEFAULTS, "shift_no_decay": False}


def _check_network(args: argparse.Namespace) -> None:
    """Refuses options that the network does not have."""
    network = NETWORKS[args.model]
    if not network.image_size:
        options.refuse(args, _OF_FILES, f"for ILSVRC images only, which {args.model} does not take")
    if not network.shifts:
        options.refuse(args, _OF_SHIFTS, f"for shift networks only, which {args.model} is not")
    elif network.image_size and args.shift_no_decay:
        raise ValueError(f"`--shift-no-decay` is not for {args.model}, whose shifts never decay")
    if network.stretches and (args.min_area != LEAST_AREA or args.no_colour):
        raise ValueError(
            f"`--min-area` and `--no-colour` are not for {args.model}, whose images are cut out "
            "as Caffe does, whole and with their colours"
        )


def check(args: argparse.Namespace) -> None:
    """Refuses what cannot work, before anything is loaded or written."""
    options.check_run(args, needs_load=False)
    options.check_rate(args.base_lr)
    if args.method != "float32" and not args.load:
        raise ValueError(
            "`--load` is missing: give the float32 network that is to be quantized, a checkpoint, "
            "a log folder or an .npz file"
        )
    if args.method != "slq" and args.partition is not None:
        raise ValueError(f"`--partition` belongs to slq, got it for {args.method}")
    if args.method != "mlq" and args.groups is not None:
        raise ValueError(f"`--groups` belong to mlq, got them for {args.method}")
    if args.method == "float32" and args.layers is not None:
        raise ValueError("`--layers` belong to slq and mlq, got them for float32")
    _check_network(args)
    if args.val_every < 1:
        raise ValueError(f"`--val-every` must be at least 1, got {args.val_every!r}")
    if not args.data:
        raise ValueError("`--data` is missing: see --help")
    _schedule(args)


def _schedule(args: argparse.Namespace) -> Optional[Schedule]:
    if args.method == "slq":
        return schedule_of(5 if args.bits is None else args.bits, args.partition or "magnitude")
    own = TERNARY.bits if args.method == "mlq" else 32
    if args.bits not in (None, own):
        raise ValueError(f"`--bits` must be {own} for {args.method}, got {args.bits!r}")
    return TERNARY if args.method == "mlq" else None


def options_of(args: argparse.Namespace) -> Options:
    """The parsed and completed command line as the dataclasses that the script reads."""
    images: DataSettings
    if NETWORKS[args.model].image_size:
        images = images_of(args)
    else:
        images = options.pick(ImagesSettings, args)
    each = args.stage_epochs
    return Options(
        model=args.model,
        method=args.method,
        network=options.pick(ModelOptions, args, shift_decay=not args.shift_no_decay),
        images=images,
        clusters=_schedule(args),
        stage_epochs=each[0] if len(each) == 1 else tuple(each),
        layers=NETWORKS[args.model].layers if args.layers is None else args.layers,
        groups=None if args.groups is None else tuple(args.groups),
        rate_step=args.rate_step,
        rate_factor=args.rate_factor,
        batch=args.batch,
        load=args.load,
        trainer=args.trainer,
        val_every=args.val_every,
    )


def layers_of(model: Any, layers: Layers) -> List[str]:
    """Names of the model's weights that ``layers`` fits, in network order.

    Raises:
        ValueError: no weights have such names.
    """
    wanted = layer_test(layers)
    variables = inference_graph(model).get_collection("trainable_variables")
    found = [v.op.name for v in variables if wanted(v.op.name)]
    if not found:
        raise ValueError(
            f"`--layers`: {layers!r} fits none of the variables {[v.op.name for v in variables]}"
        )
    return found


def groups_of(given: Optional[Sequence[str]], layers: Sequence[str]) -> List[List[str]]:
    """The groups that ``--groups`` means: runs of layers of about the same length, or patterns.

    Raises:
        ValueError: the groups are more than the layers, a pattern is no regular expression, a layer
            fits no pattern or several, or a group has no layer.
    """
    if given is None:
        return [[name] for name in layers]
    if len(given) == 1 and given[0].isdigit():
        count = int(given[0])
        if not 1 <= count <= len(layers):
            raise ValueError(
                f"`--groups` must be from 1 to {len(layers)}, the number of layers, got {count}"
            )
        ends = [len(layers) * k // count for k in range(count + 1)]
        return [list(layers[a:b]) for a, b in zip(ends, ends[1:])]
    try:
        patterns = [re.compile(g) for g in given]
    except re.error as e:
        raise ValueError(f"`--groups` must be regular expressions, got {given!r}: {e}") from e
    groups: List[List[str]] = [[] for _ in patterns]
    for name in layers:
        fits = [i for i, p in enumerate(patterns) if p.fullmatch(name)]
        if len(fits) != 1:
            raise ValueError(
                f"`--groups`: {name} fits {len(fits)} of the patterns {list(given)}, expected one"
            )
        groups[fits[0]].append(name)
    if not all(groups):
        raise ValueError(f"`--groups`: {given[groups.index([])]!r} fits no layer")
    return groups
