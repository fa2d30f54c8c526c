"""``python -m sspq report``: table, report.json and pictures of a chain of runs."""

import argparse
import os

from sspq.figures import chain, slq


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "folder",
        metavar="DIR",
        help="log folder of a chain, with s1/ and s2/ in it, or of a run of SLQ or MLQ",
    )


def run(args: argparse.Namespace) -> None:
    if slq.is_slq(args.folder):
        print(slq.report_slq(args.folder))
        written = f"report.json, {slq.STAGES} and {slq.LAYERS}"
    else:
        print(chain.report_chain(args.folder))
        written = f"report.json and {chain.CURVES}"
    print(f"\n{written} are in {os.path.abspath(args.folder)}")
