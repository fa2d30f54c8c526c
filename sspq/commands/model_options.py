"""The options that choose a model and its settings."""

import argparse
from typing import Any, Dict

from sspq import models
from sspq.checkpoints.source import Checkpoint, open_checkpoint
from sspq.experiments.options import refuse
from sspq.graphs.blocks import DATA_FORMATS
from sspq.quantizers.scope import VARIANTS

CHECKPOINT = "checkpoint: a run's folder, or a prefix such as model-100"
MODEL = CHECKPOINT + "; or a packed or ONNX file"

# Options that go to the model's constructor.
_SETTINGS = ("bitw", "bita", "linear_bits", "num_classes", "image_size", "data_format", "variant")


def add_settings(p: argparse.ArgumentParser, linear_bits: bool = True) -> None:
    """Adds the options that choose a model and its settings."""
    p.add_argument(
        "--model",
        metavar="NAME",
        help=(
            f"one of {', '.join(sorted(models.MODELS))}; by default what run.json beside the "
            "checkpoint says"
        ),
    )
    p.add_argument("--bitw", type=int, help="bits of the weights, 1 to 32")
    p.add_argument("--bita", type=int, help="bits of the activations, 1 to 32")
    if linear_bits:
        p.add_argument("--linear-bits", type=int, help="bits of the last layer's kernel")
    p.add_argument("--num-classes", type=int)
    p.add_argument("--image-size", type=int, help="pixels of an edge")
    p.add_argument("--data-format", choices=DATA_FORMATS)
    p.add_argument("--variant", choices=VARIANTS)


def settings_of(args: argparse.Namespace) -> Dict[str, Any]:
    given = {name: getattr(args, name, None) for name in _SETTINGS}
    return {name: value for name, value in given.items() if value is not None}


def refuse_settings(args: argparse.Namespace, why: str) -> None:
    """Raises ValueError if any option of :func:`add_settings` was given."""
    refuse(args, dict.fromkeys(("model", *_SETTINGS)), why)


def open_model(args: argparse.Namespace) -> Checkpoint:
    """What ``checkpoint`` and the options of :func:`add_settings` say."""
    return open_checkpoint(args.checkpoint, args.model, **settings_of(args))
