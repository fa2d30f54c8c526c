"""``python -m sspq convert-caffe``: Caffe's AlexNet to an .npz file."""

import argparse

from sspq.export import caffe


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("caffemodel", metavar="MODEL.caffemodel", help="the weights")
    p.add_argument("prototxt", metavar="DEPLOY.prototxt", help="the network, to infer")
    p.add_argument("-o", "--output", required=True, metavar="FILE", help="*.npz")
    p.add_argument("--image-size", type=int, default=227, help="pixels, height and width")
    p.add_argument("--width", type=float, default=1.0, help="factor on the channels")


def run(args: argparse.Namespace) -> None:
    model, off = caffe.convert(
        args.caffemodel, args.prototxt, args.output, args.image_size, args.width
    )
    print(
        f"{args.output}: {model.NAME} for {model.num_classes} classes; logits as OpenCV's to "
        f"{off:.1g} of the largest"
    )
