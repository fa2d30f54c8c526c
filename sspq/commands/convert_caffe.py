"""``python -m sspq convert-caffe``: AlexNet of Caffe to an .npz file."""

import argparse

from sspq.export import caffe
from sspq.graphs.alexnet import IMAGE_SIZE


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("caffemodel", metavar="MODEL.caffemodel", help="file of the weights")
    p.add_argument(
        "prototxt", metavar="DEPLOY.prototxt", help="file of the network as it infers (deploy)"
    )
    p.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="file to write, ends in .npz"
    )
    p.add_argument(
        "--image-size",
        type=int,
        default=IMAGE_SIZE,
        metavar="PIXELS",
        help="height and width of the images (default: %(default)s)",
    )
    p.add_argument(
        "--width",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="factor on the numbers of channels (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    model, off = caffe.convert(
        args.caffemodel, args.prototxt, args.output, args.image_size, args.width
    )
    print(
        f"{args.output}: {model.NAME} for {model.num_classes} classes; logits as OpenCV's to "
        f"{off:.1g} of the largest"
    )
