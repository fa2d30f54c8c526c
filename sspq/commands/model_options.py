"""The options that choose a model and its settings."""

import argparse
from typing import Any, Dict

from sspq import models
from sspq.checkpoints.source import Checkpoint, open_checkpoint
from sspq.experiments.options import refuse
from sspq.graphs.blocks import DATA_FORMATS
from sspq.quantizers.scope import VARIANTS

CHECKPOINT = "checkpoint: folder of a run, or prefix such as model-100"
CHECKPOINT_OR_PACKED = CHECKPOINT + "; or packed file"
MODEL = CHECKPOINT + "; or packed file or ONNX file"

# Options that go to the model's constructor.
_SETTINGS = ("bitw", "bita", "linear_bits", "num_classes", "image_size", "data_format", "variant")


def add_settings(p: argparse.ArgumentParser, linear_bits: bool = True) -> None:
    """Adds the options that choose a model and its settings.

    Args:
        p: parser of a command.
        linear_bits: whether ``--linear-bits`` is one of them (default: True).
    """
    group = p.add_argument_group(
        "settings of the model",
        "The default of each is the value in run.json beside the checkpoint; with --model, the "
        "default of that network.",
    )
    group.add_argument(
        "--model",
        metavar="NAME",
        help=(
            f"name of the network, one of {', '.join(sorted(models.MODELS))} (default: the "
            "network that run.json describes)"
        ),
    )
    group.add_argument("--bitw", type=int, metavar="BITS", help="bits of the weights, 1 to 32")
    group.add_argument("--bita", type=int, metavar="BITS", help="bits of the activations, 1 to 32")
    if linear_bits:
        group.add_argument(
            "--linear-bits",
            type=int,
            metavar="BITS",
            help="bits of the kernel of the last layer, 1 to 32",
        )
    group.add_argument("--num-classes", type=int, metavar="N", help="number of classes, at least 2")
    group.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="height and width of the images"
    )
    group.add_argument(
        "--data-format",
        choices=DATA_FORMATS,
        help="layout of the images in the graph; auto: NCHW with a GPU, NHWC without",
    )
    group.add_argument(
        "--variant",
        choices=VARIANTS,
        help="choice of the quantized layers, as published or as the released scripts compute it",
    )


def settings_of(args: argparse.Namespace) -> Dict[str, Any]:
    """The settings that were given, by name of the constructor's argument."""
    given = {name: getattr(args, name, None) for name in _SETTINGS}
    return {name: value for name, value in given.items() if value is not None}


def refuse_settings(args: argparse.Namespace, why: str) -> None:
    """Raises ValueError if any option of :func:`add_settings` was given."""
    refuse(args, dict.fromkeys(("model", *_SETTINGS)), why)


def open_model(args: argparse.Namespace) -> Checkpoint:
    """The checkpoint ``--checkpoint`` with the model that the options of this module choose."""
    return open_checkpoint(args.checkpoint, args.model, **settings_of(args))
