"""The options that the training scripts share, and what is refused about them.

Command lines end here: what the scripts and all below them read are frozen dataclasses, which
:func:`pick` makes of the options.
"""

import argparse
from dataclasses import fields
from typing import Any, Dict, Optional, Type, TypeVar

from sspq.compat import has_gpu
from sspq.graphs.blocks import DATA_FORMATS
from sspq.quantizers.scope import VARIANTS

T = TypeVar("T")


def pick(kind: Type[T], args: argparse.Namespace, **other: Any) -> T:
    """A dataclass whose fields are the options of their names, or are given as ``other``."""
    names = [f.name for f in fields(kind) if f.name not in other]  # type: ignore[arg-type]
    return kind(**{name: getattr(args, name) for name in names}, **other)


def parser(description: Optional[str]) -> argparse.ArgumentParser:
    """A parser without options, with what every script says about errors."""
    return argparse.ArgumentParser(
        description=description,
        epilog="A wrong input gives one line; with SSPQ_TRACEBACK=1 it shows where it arose.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


def add_run(p: argparse.ArgumentParser, log: Optional[str]) -> None:
    """Adds where a run begins, where it is written (``log`` by default), and what it runs on."""
    p.add_argument("--gpu", help="GPUs to use, separated by commas; None: all")
    p.add_argument(
        "--load",
        help="checkpoint to start from (S2: S1's) or to evaluate; a folder means its last; or .npz",
    )
    p.add_argument(
        "--log",
        "--log-dir",  # horovodrun takes --log for one of its own
        default=log,
        help="folder for everything written",
    )
    p.add_argument(
        "--resume", action="store_true", help="continue the run in --log, if there is one"
    )
    p.add_argument(
        "--eval",
        action="store_true",
        help="measure the checkpoint given by --load, and train nothing",
    )
    p.add_argument(
        "--data-format",
        choices=DATA_FORMATS,
        default="auto",
        help="layout of the computation; auto is NCHW with a GPU, NHWC without",
    )
    p.add_argument("--batch", type=int, default=256, help="number of images a step, over all GPUs")
    p.add_argument(
        "--seed", type=int, default=0, help="seed of initial values, order and augmentation"
    )


def add_method(p: argparse.ArgumentParser) -> None:
    """Adds the options about the method that both families of networks have."""
    p.add_argument(
        "--variant",
        choices=VARIANTS,
        default="paper",
        help="the method as published, or as the released scripts compute it",
    )
    add_shift(p)


# Options of add_shift and their defaults.
SHIFT_DEFAULTS: Dict[str, Any] = {"shift_lr_mult": 1.0, "shift_normalize": False}


def add_shift(p: argparse.ArgumentParser) -> None:
    """Adds how the shifts are trained."""
    p.add_argument("--shift-lr-mult", type=float, help="factor on the learning rate of the shifts")
    p.add_argument(
        "--shift-normalize",
        action="store_true",
        help="normalized gradients of each channel's shift",
    )
    p.set_defaults(**SHIFT_DEFAULTS)


def refuse(args: argparse.Namespace, defaults: Dict[str, Any], why: str) -> None:
    """Raises ValueError that names the options which are not at their ``defaults``."""
    given = [name for name, value in defaults.items() if getattr(args, name) != value]
    if given:
        options = ", ".join(f"`--{name.replace('_', '-')}`" for name in given)
        raise ValueError(f"{options}: {why}")


def add_schedule(
    p: argparse.ArgumentParser, wup_length: int, step_size: int, eta_min: float
) -> None:
    """Adds the arguments of the step-wise cosine."""
    p.add_argument(
        "--eta_min",
        type=float,
        default=eta_min,
        help="lower bound of the learning rate under the cosine",
    )
    p.add_argument(
        "--wup_length", type=int, default=wup_length, help="number of epochs ahead of the cosine"
    )
    p.add_argument(
        "--step_size",
        type=int,
        default=step_size,
        help="number of epochs between changes of the learning rate",
    )


def check_run(args: argparse.Namespace, needs_load: bool) -> None:
    """Refuses what cannot work in any script, before anything is loaded or written."""
    if args.batch < 1:
        raise ValueError(f"`--batch` must be at least 1, got {args.batch!r}")
    if (args.eval or needs_load) and not args.load:
        what = "a checkpoint to evaluate" if args.eval else "S1's checkpoint or log folder"
        raise ValueError(f"`--load` is missing: give {what}")
    if args.gpu and not has_gpu():
        raise ValueError(f"`--gpu`: TensorFlow sees none of the GPUs {args.gpu}")
    if args.data_format == "NCHW" and not has_gpu():
        raise ValueError(
            "`--data-format NCHW` needs a GPU: TensorFlow's CPU kernels know NHWC only. "
            "The variables are the same, so use auto or NHWC"
        )
    if not 0 <= args.seed < 2**32:
        raise ValueError(f"`--seed` must be in [0, 2**32), got {args.seed!r}")
    if not 0 <= args.shift_lr_mult < float("inf"):
        raise ValueError(
            f"`--shift-lr-mult` must be finite and at least 0, got {args.shift_lr_mult!r}"
        )


def check_rate(base_lr: float) -> None:
    """Refuses a learning rate that is not above 0."""
    if not 0 < base_lr < float("inf"):
        raise ValueError(f"`--base_lr` must be above 0, got {base_lr!r}")
