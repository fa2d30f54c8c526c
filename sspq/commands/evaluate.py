"""``python -m sspq eval``: top-1 and top-5 of a model on held-out images."""

import argparse
import json

from sspq.commands.model_options import MODEL, add_settings, settings_of
from sspq.inference import images, predictor


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("file", metavar="MODEL", help=MODEL)
    p.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="held-out images: digits, or folder of CIFAR-100 or of ILSVRC",
    )
    p.add_argument("--json", action="store_true", help="JSON instead of text")
    add_settings(p)


def run(args: argparse.Namespace) -> None:
    chosen = predictor.load(args.file, args.model, **settings_of(args))
    result = images.evaluate(chosen, images.test_batches(chosen.model, args.data))
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{args.file} ({chosen.kind})  top-1 {result['top1']:.2f} %  top-5 "
            f"{result['top5']:.2f} %"
        )
