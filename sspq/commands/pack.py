"""``python -m sspq pack``: a checkpoint to a packed file."""

import argparse
from typing import Iterable, Iterator, Optional

import numpy as np

from sspq.checkpoints.source import Checkpoint
from sspq.commands.model_options import CHECKPOINT, add_settings, open_model, settings_of
from sspq.commands.output import check_ending, size_line
from sspq.export.packed import container
from sspq.export.packed.pack import RESTS, pack
from sspq.inference import images, predictor
from sspq.models import Classifier


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("checkpoint", metavar="MODEL", help=CHECKPOINT)
    p.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help=f"file to write, ends in {container.ENDING}, such as model{container.SUFFIX}",
    )
    p.add_argument(
        "--fold-bn", action="store_true", help="batch normalization as a factor and an offset"
    )
    p.add_argument(
        "--rest",
        choices=RESTS,
        default="float32",
        help="type of the tensors that are not quantized (default: %(default)s)",
    )
    p.add_argument(
        "--linear-bits",
        dest="pack_linear_bits",
        type=int,
        metavar="BITS",
        help="bits to round a float32 last layer to, 2 to 8 (default: not rounded)",
    )
    p.add_argument(
        "--entropy-coded",
        action="store_true",
        help="LZMA compression of the codes as well; worth it for networks of SLQ",
    )
    p.add_argument(
        "--data",
        metavar="DATA",
        help="data set whose test images the logits are compared on: digits, or folder of "
        "CIFAR-100 or of ILSVRC (default: images of noise)",
    )
    p.add_argument(
        "--images",
        type=int,
        default=8,
        metavar="N",
        help="number of images to compare the logits of (default: %(default)s; 0: none)",
    )
    add_settings(p, linear_bits=False)


def run(args: argparse.Namespace) -> None:
    check_ending(args.output, container.ENDING)
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
    print(size_line(args.output, size, packed))
    if args.images:
        _compare(source, packed, batches, args)


def _images_to_compare(model: Classifier, data: Optional[str], count: int) -> Iterator[np.ndarray]:
    if not data:
        return images.noise(model, count)
    return images.first(images.test_batches(model, data), count)


def _compare(
    source: Checkpoint,
    packed: container.Packed,
    batches: Iterable[np.ndarray],
    args: argparse.Namespace,
) -> None:
    """Prints the largest difference of the logits of checkpoint and packed file."""
    before = predictor.of_checkpoint(source)
    settings = {k: v for k, v in settings_of(args).items() if k == "data_format"}
    after = predictor.of_packed(packed, **settings)
    count, same, off, largest = 0, 0, 0.0, 0.0
    for batch in batches:
        expected, logits = [images.check_finite(p.logits(batch)) for p in (before, after)]
        count += len(batch)
        same += int((logits.argmax(1) == expected.argmax(1)).sum())
        off = max(off, np.abs(logits - expected).max())
        largest = max(largest, np.abs(expected).max())
    kind = "test images" if args.data else "images of noise"
    print(
        f"logits of {count} {kind}{', all there are' if count < args.images else ''}: off by "
        f"at most {off:.2g}, of {largest:.2g}; the largest is the same in {same}"
    )
