"""``python -m sspq env``: versions, op library, kernels and devices."""

import argparse
import json

from sspq.analysis.environment import environment, format_environment


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="JSON instead of text")


def run(args: argparse.Namespace) -> None:
    state = environment()
    print(json.dumps(state, indent=2) if args.json else format_environment(state))
