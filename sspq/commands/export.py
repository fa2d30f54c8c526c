"""``python -m sspq export``: a checkpoint or packed file to ONNX or TensorFlow."""

import argparse

from sspq import models
from sspq.analysis.size import MIB
from sspq.checkpoints.source import open_checkpoint
from sspq.commands.model_options import (
    CHECKPOINT,
    add_settings,
    settings_of,
)
from sspq.export import tensorflow as frozen
from sspq.export.onnx import graph as onnx_graph
from sspq.export.onnx import int8 as onnx_int8
from sspq.export.packed import container
from sspq.export.packed.pack import pack
from sspq.inference import images

# What `export` writes, by the ending of a file's name; a SavedModel is a folder of any name.
_ENDINGS = {"onnx": ".onnx", "graph": ".pb"}
_FORMATS = (*_ENDINGS, "savedmodel")

CALIBRATION_IMAGES = 128


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("file", metavar="MODEL", help=CHECKPOINT + "; or a packed file")
    p.add_argument("-o", "--output", required=True, metavar="FILE", help="*.onnx, *.pb or a folder")
    p.add_argument(
        "--format", choices=_FORMATS, help="by default as the output ends; savedmodel is a folder"
    )
    p.add_argument(
        "--keep-shift",
        action="store_true",
        help="for TensorFlow that has loaded libsspq.so: shifts stay the op SspqShift2D",
    )
    p.add_argument("--int8", action="store_true", help="ONNX that computes in 8-bit integers")
    p.add_argument(
        "--calibrate",
        metavar="DATA",
        help="for --int8: digits, CIFAR-100's folder, or for ImageNet a folder of image files",
    )
    p.add_argument(
        "--images",
        type=int,
        help=f"to calibrate on, by default {CALIBRATION_IMAGES} of the training images",
    )
    add_settings(p)


def run(args: argparse.Namespace) -> None:
    chosen = _format(args)
    if args.file.endswith(container.ENDING):
        if args.model or settings_of(args):
            raise ValueError(f"{args.file} says itself which model it is; drop the options")
        packed = container.read(args.file)
    else:
        packed = pack(open_checkpoint(args.file, args.model, **settings_of(args)))
    if args.int8:
        count = CALIBRATION_IMAGES if args.images is None else args.images
        model = models.rebuild(packed.model)
        batches = images.calibration_batches(model, args.calibrate, count)
        size = onnx_int8.save_int8(args.output, packed, batches)
    elif chosen == "onnx":
        size = onnx_graph.save(args.output, packed)
    else:
        save = frozen.save_graph if chosen == "graph" else frozen.save_model
        size = save(args.output, packed, args.keep_shift)
    print(f"{args.output}: {size} bytes = {size / MIB:.3f} MiB")


def _format(args: argparse.Namespace) -> str:
    """What `export` writes: as `--format` says, or the ending of `--output`."""
    of_ending = next((f for f, e in _ENDINGS.items() if args.output.endswith(e)), None)
    chosen = args.format or of_ending
    if chosen is None or (chosen in _ENDINGS or of_ending) and chosen != of_ending:
        raise ValueError(
            "`--output` must end in .onnx or .pb, or be a folder with --format savedmodel, got "
            f"{args.output}{f' with --format {args.format}' if args.format else ''}"
        )
    if chosen == "onnx" and args.keep_shift:
        raise ValueError("`--keep-shift` is for TensorFlow; ONNX has no such operator")
    if chosen != "onnx" and args.int8:
        raise ValueError(f"`--int8` is for ONNX, got {args.output}")
    if args.int8 and args.calibrate is None:
        raise ValueError("`--calibrate` is missing: `--int8` needs images for the activations")
    for name in ("calibrate", "images"):
        if not args.int8 and getattr(args, name) is not None:
            raise ValueError(f"`--{name}` is for `--int8`")
    return chosen
