"""What ``examples/slq.py`` can be told on the command line, and what follows from it."""

import argparse
import os
import re
from typing import Any, Dict, List, Optional, Sequence, Tuple

from sspq.analysis.layers import inference_graph
from sspq.experiments import options
from sspq.experiments.imagenet_options import LEAST_AREA, add_images
from sspq.experiments.slq.networks import NETWORKS
from sspq.slq import PARTITIONS, TERNARY, Schedule
from sspq.training import distributed
from sspq.training.schedule import staged
from sspq.training.slq.callback import SLQ, schedule_of, stage_epochs
from sspq.training.slq.variables import layer_test

METHODS = ("float32", "slq", "mlq")
RATE_FACTOR = 0.1


def parser(description: Optional[str]) -> argparse.ArgumentParser:
    """The options of the script."""
    p = options.parser(description)
    p.add_argument("--model", choices=sorted(NETWORKS), required=True, help="the network")
    p.add_argument(
        "--method",
        choices=METHODS,
        default="slq",
        help="slq; mlq: ternary weights, layer by layer; float32: train what they start from",
    )
    _add_quantization(p)
    options.add_run(p, None)
    p.set_defaults(batch=None)
    options.add_shift(p)
    p.add_argument("--shift-no-decay", action="store_true", help="no weight decay on shifts")
    p.add_argument("--bita", type=int, default=32, help="bits of a shift network's activations")
    p.add_argument(
        "--trainer", choices=distributed.NAMES, default="replicated", help="several GPUs'"
    )
    p.add_argument("--val-every", type=int, default=1, help="epochs from validation to validation")
    p.add_argument(
        "--data",
        help="lenet, sspq34: 'digits' or the folder with CIFAR-100, else $CIFAR100_PATH; the "
        "others: the ILSVRC folder, else $Imagenet_Path",
    )
    p.add_argument("--download", action="store_true", help="fetch CIFAR-100 if it is not there")
    p.add_argument("--image-size", type=int, help="pixels of ILSVRC images, as the network has")
    add_images(p)
    return p


def _add_quantization(p: argparse.ArgumentParser) -> None:
    p.add_argument("--bits", type=int, help="of the weights: 5 by default, mlq has 2")
    p.add_argument(
        "--partition", choices=PARTITIONS, help="which clusters are frozen first; magnitude"
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
        help="mlq: how many groups of layers, or a regular expression for the names of each; by "
        "default each layer on its own",
    )
    p.add_argument(
        "--stage-epochs",
        type=int,
        nargs="+",
        metavar="N",
        help="epochs of every stage, or of each; of float32, all",
    )
    p.add_argument("--base_lr", type=float, help="learning rate at the beginning of each stage")
    p.add_argument("--rate-step", type=int, help="epochs of a stage after which it falls")
    p.add_argument("--rate-factor", type=float, default=RATE_FACTOR, help="by which it falls")


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
_OF_SHIFTS = {**options.OF_SHIFTS, "shift_no_decay": False}


def _check_network(args: argparse.Namespace) -> None:
    """Refuses options that are not of the network."""
    network = NETWORKS[args.model]
    if not network.image_size:
        options.refuse(args, _OF_FILES, f"of ILSVRC images, which {args.model} does not take")
    if not network.shifts:
        options.refuse(args, _OF_SHIFTS, f"of shift networks, which {args.model} is not")
    elif network.image_size and args.shift_no_decay:
        raise ValueError(f"`--shift-no-decay` is not of {args.model}: its shifts never decay")
    if network.as_caffe and (args.min_area != LEAST_AREA or args.no_colour):
        raise ValueError(
            f"`--min-area` and `--no-colour` are not of {args.model}: its images are cut out "
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
        raise ValueError(f"`--partition` is of slq, got it for {args.method}")
    if args.method != "mlq" and args.groups is not None:
        raise ValueError(f"`--groups` are of mlq, got them for {args.method}")
    if args.method == "float32" and args.layers is not None:
        raise ValueError("`--layers` are of slq and mlq, got them for float32")
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


def layers_of(args: argparse.Namespace, model: Any) -> List[str]:
    """Names of the weights that are to be quantized, in network order; of float32, none.

    Raises:
        ValueError: no weights have such names.
    """
    if args.method == "float32":
        return []
    wanted = layer_test(NETWORKS[args.model].layers if args.layers is None else args.layers)
    variables = inference_graph(model).get_collection("trainable_variables")
    found = [v.op.name for v in variables if wanted(v.op.name)]
    if not found:
        raise ValueError(
            f"`--layers`: {args.layers!r} fits none of the variables "
            f"{[v.op.name for v in variables]}"
        )
    return found


def groups_of(given: Optional[Sequence[str]], layers: Sequence[str]) -> List[List[str]]:
    """The groups that ``--groups`` means: runs of layers of about the same length, or patterns.

    Raises:
        ValueError: there are more groups than layers, or a pattern is none, or a layer fits no
            pattern or a group has no layer.
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


def quantization(args: argparse.Namespace, layers: Sequence[str]) -> Optional[SLQ]:
    """The callback that the options describe, for :func:`layers_of`; None for float32."""
    schedule = _schedule(args)
    if schedule is None:
        return None
    return SLQ(
        layers=frozenset(layers).__contains__,
        schedule=schedule,
        epochs=args.stage_epochs[0] if len(args.stage_epochs) == 1 else args.stage_epochs,
        groups=groups_of(args.groups, layers) if args.method == "mlq" else None,
    )


def plan(args: argparse.Namespace, slq: Optional[SLQ]) -> Tuple[int, Any]:
    """Epochs and learning rates."""
    stages = slq.epochs if slq else stage_epochs(args.stage_epochs, 1)
    return sum(stages), staged(args.base_lr, args.rate_factor, args.rate_step, stages)


def settings(args: argparse.Namespace, slq: Optional[SLQ], layers: Sequence[str]) -> Dict[str, Any]:
    """What the run's result depends on beside network and data; JSON values."""
    names = ("method", "batch", "seed", "trainer", "rate_step", "rate_factor", "val_every")
    found = {name: getattr(args, name) for name in names}
    if NETWORKS[args.model].image_size:
        for name in ("symbolic", "min_area", "no_colour", "no_mirror"):
            found[name] = getattr(args, name)
    found["stage_epochs"] = list(slq.epochs) if slq else list(args.stage_epochs)
    if slq:
        found["slq"] = {
            "weights": slq.schedule.bits,
            "centres": slq.schedule.counts[-1],
            "counts": list(slq.schedule.counts),
            "partition": slq.schedule.partition,
            "layers": list(layers),
            "groups": args.groups,
        }
    return found
