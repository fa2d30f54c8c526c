"""What a step of SSPQ34 can be told on the command line, and what follows from it."""

import argparse
import os
from typing import NamedTuple, Tuple

from sspq.compat import has_gpu
from sspq.graphs.blocks import DATA_FORMATS
from sspq.quantizers.scope import VARIANTS
from sspq.training.schedule import Schedule, constant, stepwise_cosine

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
        description=description,
        epilog="A wrong input gives one line; with SSPQ_TRACEBACK=1 it shows where it arose.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
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
        choices=DATA_FORMATS,
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


def check(step: Step, args: argparse.Namespace) -> None:
    """Refuses what cannot work, before anything is loaded or written."""
    plan(step, args)
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
