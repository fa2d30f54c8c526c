"""``python -m sspq``: what can be done without writing a script."""

import argparse
import json
import os
import sys
from typing import List, Optional

from sspq import figures_command, model_commands
from sspq.errors import USER_ERRORS, line_of, told_whole


def _env(args: argparse.Namespace) -> None:
    from sspq.report.environment import environment, format_environment

    state = environment()
    print(json.dumps(state, indent=2) if args.json else format_environment(state))


def _report(args: argparse.Namespace) -> None:
    from sspq.report import chain, slq

    if slq.is_slq(args.folder):
        print(slq.report_slq(args.folder))
        written = f"report.json, {slq.STAGES} and {slq.LAYERS}"
    else:
        print(chain.report_chain(args.folder))
        written = "report.json and curves.png"
    print(f"\n{written} are in {os.path.abspath(args.folder)}")


def _demo_images(args: argparse.Namespace) -> None:
    from sspq.data import demo_tree

    print(f"The demo's images are in {demo_tree.write(args.folder)}")


def _convert_caffe(args: argparse.Namespace) -> None:
    from sspq import caffe
    from sspq.training.console import quieten

    quieten()
    model, off = caffe.convert(
        args.caffemodel, args.prototxt, args.output, args.image_size, args.width
    )
    print(
        f"{args.output}: {model.NAME} for {model.num_classes} classes; logits as OpenCV's to "
        f"{off:.1g} of the largest"
    )


def main(argv: Optional[List[str]] = None) -> int:
    """Runs one command; user errors give one line and exit status 2, Ctrl-C 130."""
    parser = argparse.ArgumentParser(prog="python -m sspq", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    env = commands.add_parser("env", help="print versions, op library, kernels and devices")
    env.add_argument("--json", action="store_true", help="print JSON")
    env.set_defaults(run=_env)
    report = commands.add_parser("report", help="sum up a chain: table, report.json, curves.png")
    report.add_argument("folder", help="log folder of the chain, with s1/ and s2/ in it")
    report.set_defaults(run=_report)
    images = commands.add_parser("demo-images", help="write a small ILSVRC folder of real images")
    images.add_argument("folder", help="where to")
    images.set_defaults(run=_demo_images)
    convert = commands.add_parser("convert-caffe", help="Caffe's AlexNet to the .npz of --load")
    convert.add_argument("caffemodel", metavar="MODEL.caffemodel", help="the weights")
    convert.add_argument("prototxt", metavar="DEPLOY.prototxt", help="the network, to infer")
    convert.add_argument("-o", "--output", required=True, metavar="FILE", help="*.npz")
    convert.add_argument("--image-size", type=int, default=227, help="pixels, height and width")
    convert.add_argument("--width", type=float, default=1.0, help="factor on the channels")
    convert.set_defaults(run=_convert_caffe)
    model_commands.add(commands)
    figures_command.add(commands)
    args = parser.parse_args(argv)
    try:
        args.run(args)
    except USER_ERRORS as e:
        if told_whole():
            raise
        print(f"sspq: {line_of(e)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sspq: interrupted", file=sys.stderr)
        return 130
    return 0
