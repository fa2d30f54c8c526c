"""``python -m sspq predict``: the most likely classes of image files."""

import argparse
from typing import List, Optional

import numpy as np

from sspq.commands.model_options import MODEL, add_settings, settings_of
from sspq.inference import images, predictor

_SHOWN = 5  # classes of each image


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("file", metavar="MODEL", help=MODEL)
    p.add_argument("images", nargs="+", metavar="IMAGE", help="image files, JPEG or PNG")
    p.add_argument(
        "--data",
        metavar="DATA",
        help="data set of the training, whose mean image SSPQ34 and LeNet subtract: digits, or "
        "folder of CIFAR-100",
    )
    p.add_argument(
        "--labels",
        metavar="FILE",
        help="file of the names of the classes, one a line (default: their numbers)",
    )
    add_settings(p)


def run(args: argparse.Namespace) -> None:
    files = images.read_images(args.images)  # ahead of the model, which takes seconds to build
    chosen = predictor.load(args.file, args.model, **settings_of(args))
    batch = images.batch_of(chosen.model, files, args.data)
    labels = _labels(args.labels, chosen.model.num_classes)
    for path, row in zip(args.images, images.probabilities(chosen.logits(batch))):
        print(path)
        for k in np.argsort(-row, kind="stable")[:_SHOWN]:
            print(f"  {100 * row[k]:7.3f} %  {labels[k]}")


def _labels(path: Optional[str], count: int) -> List[str]:
    """The names of the classes: the lines of a file, or numbers."""
    if path is None:
        return [str(k) for k in range(count)]
    with open(path) as f:
        names = f.read().splitlines()
    if len(names) != count:
        raise ValueError(
            f"`--labels`: {path} has {len(names)} lines, expected one for each of {count} classes"
        )
    return names
