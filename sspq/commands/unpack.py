"""``python -m sspq unpack``: a packed file to the values that the graph computes with."""

import argparse

import numpy as np

from sspq import checkpoints
from sspq.commands.output import check_ending
from sspq.export.packed import container
from sspq.export.packed.pack import unpack
from sspq.files import replacing


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("file", metavar="FILE", help="packed file")
    p.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="file to write, ends in .npz"
    )


def run(args: argparse.Namespace) -> None:
    check_ending(args.output, checkpoints.NPZ)
    values = unpack(container.read(args.file)).values
    with replacing(args.output) as temporary, open(temporary, "wb") as f:
        np.savez(f, **values)
    print(
        f"{args.output}: {len(values)} variables, with the values that the graph computes "
        "with: load them with `--bitw 32`"
    )
