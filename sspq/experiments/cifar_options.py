"""What a step of SSPQ34 can be told on the command line, and what follows from it."""

import argparse
import os
from typing import NamedTuple, Tuple

from sspq.experiments import options
from sspq.training.schedule import Schedule, constant, within

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
    p = options.parser(description)
    options.add_run(p, f"train_log/{step.name.lower()}")
    options.add_method(p)
    options.add_schedule(p, wup_length=30, step_size=30, eta_min=step.eta_min)
    p.add_argument("--max_epoch", type=int, default=step.max_epoch, help="last epoch of the cosine")
    p.add_argument("--base_lr", type=float, default=0.1, help="learning rate at the start")
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
    p.add_argument("--bitw", type=int, default=step.bitw, help="bits of the weights, 1 to 32")
    p.add_argument("--bita", type=int, default=step.bita, help="bits of the activations, 1 to 32")
    p.add_argument("--bitg", type=int, default=32, help="bits of the gradients, 1 to 32")
    p.add_argument("--shift-no-decay", action="store_true", help="no weight decay on shifts")
    return p


def plan(step: Step, args: argparse.Namespace) -> Tuple[int, Schedule]:
    """Epochs and learning rates.

    The released scripts train for 200 epochs whatever ``--max_epoch`` says, S1 at a constant rate;
    S2's cosine still ends at ``--max_epoch`` and so swings beyond it.
    """
    if args.max_epoch < 1:
        raise ValueError(f"`--max_epoch` must be at least 1, got {args.max_epoch!r}")
    if args.variant == "released" and step.name != "S2":
        return RELEASED_EPOCHS, constant
    epochs = RELEASED_EPOCHS if args.variant == "released" else args.max_epoch
    return epochs, within(epochs, args.wup_length, args.step_size, args.max_epoch, args.eta_min)


def check(step: Step, args: argparse.Namespace) -> None:
    """Refuses what cannot work, before anything is loaded or written."""
    plan(step, args)
    if not args.data:
        raise ValueError(
            "`--data` is missing: give the folder with CIFAR-100, or 'digits' for images that need "
            "no download"
        )
    options.check_rate(args.base_lr)
    options.check_run(args, step.needs_load)
