"""``python -m sspq demo-images``: a small ILSVRC folder of real images."""

import argparse

from sspq.data.ilsvrc import demo_tree


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("folder", metavar="DIR", help="folder to write")


def run(args: argparse.Namespace) -> None:
    print(f"The images of the demo are in {demo_tree.write(args.folder)}")
