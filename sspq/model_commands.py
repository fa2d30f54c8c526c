"""The commands of ``python -m sspq`` that are about one model."""

import argparse
import json
import os
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional

import numpy as np
from tabulate import tabulate

from sspq import models
from sspq.compat import tf
from sspq.export import container, frozen, images, onnx_graph, onnx_int8, predictor
from sspq.export.encoding import decode
from sspq.export.pack import RESTS, pack, unpack
from sspq.export.source import Checkpoint, check_fits, open_checkpoint
from sspq.files import replacing
from sspq.graphs.blocks import DATA_FORMATS
from sspq.quantizers.scope import VARIANTS
from sspq.report.layers import inference_graph
from sspq.report.size import MIB
from sspq.report.summary import summarize
from sspq.training import checkpoint
from sspq.training.classifier import Classifier
from sspq.training.console import quieten
from sspq.training.options import refuse

CHECKPOINT = "checkpoint: a run's folder, or a prefix such as model-100"
_MODEL = CHECKPOINT + "; or a packed or ONNX file"

# What `export` writes, by the ending of a file's name; a SavedModel is a folder of any name.
_ENDINGS = {"onnx": ".onnx", "graph": ".pb"}
_FORMATS = (*_ENDINGS, "savedmodel")

CALIBRATION_IMAGES = 128

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


def _settings(args: argparse.Namespace) -> Dict[str, Any]:
    given = {name: getattr(args, name, None) for name in _SETTINGS}
    return {name: value for name, value in given.items() if value is not None}


def refuse_settings(args: argparse.Namespace, why: str) -> None:
    """Raises ValueError if any option of :func:`add_settings` was given."""
    refuse(args, dict.fromkeys(("model", *_SETTINGS)), why)


def open_model(args: argparse.Namespace) -> Checkpoint:
    """What ``checkpoint`` and the options of :func:`add_settings` say."""
    return open_checkpoint(args.checkpoint, args.model, **_settings(args))


def _summary(args: argparse.Namespace) -> None:
    top1 = args.top1
    if top1 is not None and not 0 <= top1 <= 100:
        raise ValueError(f"`--top1` must be from 0 to 100, got {top1!r}")
    if args.checkpoint:
        source = open_model(args)
        graph = inference_graph(source.model)
        check_fits(source, graph)
        model, top1 = source.model, source.top1 if top1 is None else top1
    elif args.model:
        model, graph = models.build(args.model, **_settings(args)), None
    else:
        raise ValueError("`--model` or `--checkpoint` is missing: name what is to be summed up")
    summary = summarize(model, top1, graph)
    if args.format != "table":
        text = getattr(summary, "to_" + args.format)()
        print(text, end="" if text.endswith("\n") else "\n")
        return
    print(summary)
    published = models.compare_with_published(args.model) if args.model else None
    if published:
        print(published)


def _pack(args: argparse.Namespace) -> None:
    _check_ending(args.output, container.ENDING)
    least = 1 if args.data else 0
    if args.images < least:
        raise ValueError(
            f"`--images` must be at least {least}{' with `--data`' if args.data else ''}, got "
            f"{args.images}"
        )
    source = open_model(args)
    # Ahead of the packed file: without the images, an old one stays as it is.
    batches = _images_to_compare(source.model, args.data, args.images)
    packed = pack(source, args.fold_bn, args.rest, args.pack_linear_bits)
    size = container.write(args.output, packed, "xz" if args.entropy_coded else "plain")
    packed = container.read(args.output)
    print(_size_line(args.output, size, packed))
    if args.images:
        _compare(source, packed, batches, args)


def _images_to_compare(model: Classifier, data: str, count: int) -> Iterator[np.ndarray]:
    if not data:
        return images.noise(model, count)
    return images.first(images.test_batches(model, data), count)


def _compare(
    source: Checkpoint,
    packed: container.Packed,
    batches: Iterable[np.ndarray],
    args: argparse.Namespace,
) -> None:
    """Runs both on the same images and tells the difference of the logits."""
    before = predictor.of_checkpoint(source)
    settings = {k: v for k, v in _settings(args).items() if k == "data_format"}
    after = predictor.of_packed(packed, **settings)
    count, same, off, largest = 0, 0, 0.0, 0.0
    for batch in batches:
        one, other = [images.check_finite(p.logits(batch)) for p in (before, after)]
        count += len(batch)
        same += int((other.argmax(1) == one.argmax(1)).sum())
        off = max(off, np.abs(other - one).max())
        largest = max(largest, np.abs(one).max())
    what = "test images" if args.data else "images of noise"
    print(
        f"logits of {count} {what}{', all there are' if count < args.images else ''}: off by "
        f"at most {off:.2g}, of {largest:.2g}; the largest is the same in {same}"
    )


def _size_line(path: str, size: int, packed: container.Packed) -> str:
    """The file's size, beside that of its tensors with every code at its own bits."""
    tensors = packed.nbytes
    if size < tensors:
        beside = f"{100 * size / tensors:.1f} % of the tensors' {tensors}, by entropy coding"
    else:
        beside = f"tensors {tensors}, header {size - tensors}"
    return f"{path}: {size} bytes = {size / MIB:.3f} MiB: {beside}"


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


def _export(args: argparse.Namespace) -> None:
    chosen = _format(args)
    if args.file.endswith(container.ENDING):
        if args.model or _settings(args):
            raise ValueError(f"{args.file} says itself which model it is; drop the options")
        packed = container.read(args.file)
    else:
        packed = pack(open_checkpoint(args.file, args.model, **_settings(args)))
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


def _check_ending(output: str, ending: str) -> None:
    if not output.endswith(ending):
        raise ValueError(f"`--output` must end in {ending}, got {output!r}")


def _unpack(args: argparse.Namespace) -> None:
    _check_ending(args.output, checkpoint.NPZ)
    values = unpack(container.read(args.file)).values
    with replacing(args.output) as temporary, open(temporary, "wb") as f:
        np.savez(f, **values)
    print(
        f"{args.output}: {len(values)} variables, with the values that the graph computes "
        "with: load them with `--bitw 32`"
    )


def _inspect(args: argparse.Namespace) -> None:
    packed = container.read(args.file)
    unpack(packed)  # refuses what is not the model's
    tensors: Dict[str, Dict[str, Any]] = {
        name: {
            "scheme": t.scheme,
            "bits": t.bits,
            "shape": list(t.shape),
            "bytes": t.nbytes,
            "values": len(np.unique(decode(t))),
        }
        for name, t in packed.tensors.items()
    }
    size = os.path.getsize(args.file)
    if args.json:
        about = {"model": packed.model, "facts": packed.facts, "file_bytes": size}
        print(json.dumps(dict(about, tensor_bytes=packed.nbytes, tensors=tensors), indent=2))
        return
    rows = [
        (
            name,
            t["scheme"],
            t["bits"],
            "x".join(str(n) for n in t["shape"]),
            t["bytes"],
            t["values"],
        )
        for name, t in tensors.items()
    ]
    print(tabulate(rows, ("tensor", "scheme", "bits", "shape", "bytes", "values")))
    print(f"\n{json.dumps(packed.model)}\n{json.dumps(packed.facts)}")
    print(_size_line(args.file, size, packed))


def _eval(args: argparse.Namespace) -> None:
    chosen = predictor.load(args.file, args.model, **_settings(args))
    result = images.evaluate(chosen, images.test_batches(chosen.model, args.data))
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{args.file} ({chosen.kind})  top-1 {result['top1']:.2f} %  top-5 "
            f"{result['top5']:.2f} %"
        )


def _predict(args: argparse.Namespace) -> None:
    files = images.read_images(args.images)  # ahead of the model, which takes seconds to build
    chosen = predictor.load(args.file, args.model, **_settings(args))
    batch = images.batch_of(chosen.model, files, args.data)
    labels = _labels(args.labels, chosen.model.num_classes)
    for path, row in zip(args.images, images.probabilities(chosen.logits(batch))):
        print(path)
        for k in np.argsort(-row, kind="stable")[:5]:
            print(f"  {100 * row[k]:7.3f} %  {labels[k]}")


def _labels(path: Optional[str], count: int) -> List[str]:
    if path is None:
        return [str(k) for k in range(count)]
    with open(path) as f:
        names = f.read().splitlines()
    if len(names) != count:
        raise ValueError(
            f"`--labels`: {path} has {len(names)} lines, expected one for each of {count} classes"
        )
    return names


def add(commands: Any) -> None:
    """Adds the commands to the parser of ``python -m sspq``."""

    def command(name: str, run: Callable[[Any], None], help: str) -> argparse.ArgumentParser:
        p = commands.add_parser(name, help=help)
        p.set_defaults(run=quietly(run))
        return p

    p = command("summary", _summary, "parameters, bits, bytes and work of a model by layer")
    p.add_argument("--checkpoint", metavar="F", help=CHECKPOINT)
    p.add_argument("--top1", type=float, help="in percent, for the information density")
    formats = p.add_mutually_exclusive_group()
    for name in ("json", "csv", "markdown"):
        formats.add_argument(
            "--" + name, dest="format", action="store_const", const=name, default="table"
        )
    add_settings(p)

    p = command("pack", _pack, "checkpoint to packed file: quantized weights at their own bits")
    p.add_argument("checkpoint", help=CHECKPOINT)
    p.add_argument("-o", "--output", required=True, metavar="FILE", help="*" + container.SUFFIX)
    p.add_argument(
        "--fold-bn", action="store_true", help="batch normalization as a factor and an offset"
    )
    p.add_argument("--rest", choices=RESTS, default="float32", help="of what is not quantized")
    p.add_argument(
        "--linear-bits",
        dest="pack_linear_bits",
        type=int,
        help="round a float32 last layer to 2 to 8 bits",
    )
    p.add_argument(
        "--entropy-coded",
        action="store_true",
        help="the codes compressed by LZMA as well; worth it for SLQ's",
    )
    p.add_argument("--data", help="compare the logits of these test images, not of noise")
    p.add_argument("--images", type=int, default=8, help="to compare the logits of; 0: none")
    add_settings(p, linear_bits=False)

    p = command("export", _export, "checkpoint or packed file to ONNX or TensorFlow, of stock ops")
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

    p = command("unpack", _unpack, "packed file to .npz: the values that the graph computes with")
    p.add_argument("file", help="packed file")
    p.add_argument("-o", "--output", required=True, metavar="FILE", help="*.npz")

    p = command("inspect", _inspect, "what is in a packed file")
    p.add_argument("file", help="packed file")
    p.add_argument("--json", action="store_true", help="as JSON")

    p = command("eval", _eval, "top-1 and top-5 on held-out images")
    p.add_argument("file", metavar="MODEL", help=_MODEL)
    p.add_argument("--data", required=True, help="digits, CIFAR-100's or ImageNet's folder")
    p.add_argument("--json", action="store_true", help="as JSON")
    add_settings(p)

    p = command("predict", _predict, "the five most likely classes of image files")
    p.add_argument("file", metavar="MODEL", help=_MODEL)
    p.add_argument("images", nargs="+", metavar="IMAGE")
    p.add_argument("--data", help="for SSPQ34 and LeNet: the data set that it was trained on")
    p.add_argument("--labels", metavar="FILE", help="names of the classes, one a line")
    add_settings(p)


def quietly(run: Callable[[Any], None]) -> Callable[[Any], None]:
    """Without what TensorFlow and tensorpack print while they build a graph."""

    def quiet(args: Any) -> None:
        quieten()
        tf.logging.set_verbosity(tf.logging.ERROR)
        run(args)

    return quiet
