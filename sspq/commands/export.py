"""``python -m sspq export``: a checkpoint or packed file to ONNX or TensorFlow."""

import argparse

from sspq import models
from sspq.analysis.size import MIB
from sspq.checkpoints.source import open_checkpoint
from sspq.commands.model_options import CHECKPOINT_OR_PACKED, add_settings, settings_of
from sspq.export import tensorflow as frozen
from sspq.export.onnx import graph as onnx_graph
from sspq.export.onnx import int8 as onnx_int8
from sspq.export.packed import container
from sspq.export.packed.pack import pack
from sspq.inference import images

# Formats with the ending of their files; a SavedModel is a folder of any name.
_ENDINGS = {"onnx": ".onnx", "graph": ".pb"}
_FORMATS = (*_ENDINGS, "savedmodel")

_CALIBRATION_IMAGES = 128


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("file", metavar="MODEL", help=CHECKPOINT_OR_PACKED)
    p.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="file to write, ends in .onnx or .pb; folder to write with --format savedmodel",
    )
    p.add_argument(
        "--format",
        choices=_FORMATS,
        help="format of the output (default: onnx for .onnx, graph for .pb)",
    )
    p.add_argument(
        "--keep-shift",
        action="store_true",
        help="op SspqShift2D for the shifts, for a TensorFlow that has loaded libsspq.so "
        "(default: depthwise convolutions)",
    )
    p.add_argument(
        "--int8",
        action="store_true",
        help="ONNX graph that computes in 8-bit integers (default: in float32)",
    )
    p.add_argument(
        "--calibrate",
        metavar="DATA",
        help="images for --int8, whose activations give the ranges: digits, folder of CIFAR-100, "
        "or for networks of ImageNet a folder of image files",
    )
    p.add_argument(
        "--images",
        type=int,
        metavar="N",
        help=f"number of training images for --calibrate (default: {_CALIBRATION_IMAGES})",
    )
    add_settings(p)


def run(args: argparse.Namespace) -> None:
    chosen = _format(args)
    _check_options(args, chosen)
    packed = _read(args)
    if args.int8:
        count = _CALIBRATION_IMAGES if args.images is None else args.images
        model = models.rebuild(packed.model)
        batches = images.calibration_batches(model, args.calibrate, count)
        size = onnx_int8.save_int8(args.output, packed, batches)
    elif chosen == "onnx":
        size = onnx_graph.save(args.output, packed)
    elif chosen == "graph":
        size = frozen.save_graph(args.output, packed, args.keep_shift)
    else:
        size = frozen.save_model(args.output, packed, args.keep_shift)
    print(f"{args.output}: {size} bytes = {size / MIB:.3f} MiB")


def _format(args: argparse.Namespace) -> str:
    """The format that ``--format`` names, or else the ending of ``--output``."""
    of_ending = next((f for f, end in _ENDINGS.items() if args.output.endswith(end)), None)
    chosen = args.format or of_ending
    if chosen is None or (chosen in _ENDINGS or of_ending) and chosen != of_ending:
        raise ValueError(
            "`--output` must end in .onnx or .pb, or be a folder with --format savedmodel, got "
            f"{args.output}{f' with --format {args.format}' if args.format else ''}"
        )
    return chosen


def _check_options(args: argparse.Namespace, chosen: str) -> None:
    """Raises ValueError if an option does not apply to the format ``chosen``."""
    if chosen == "onnx" and args.keep_shift:
        raise ValueError("`--keep-shift` is for TensorFlow; ONNX has no such operator")
    if chosen != "onnx" and args.int8:
        raise ValueError(f"`--int8` is for ONNX, got {args.output}")
    if args.int8 and args.calibrate is None:
        raise ValueError("`--calibrate` is missing: `--int8` needs images for the activations")
    for name in ("calibrate", "images"):
        if not args.int8 and getattr(args, name) is not None:
            raise ValueError(f"`--{name}` is for `--int8`")


def _read(args: argparse.Namespace) -> container.Packed:
    """The packed file ``MODEL``, or the checkpoint packed."""
    if not args.file.endswith(container.ENDING):
        return pack(open_checkpoint(args.file, args.model, **settings_of(args)))
    if args.model or settings_of(args):
        raise ValueError(f"{args.file} names its model and settings itself; drop the options")
    return container.read(args.file)
