"""``python -m sspq figures``: the papers' plots, and what a checkpoint has learned."""

import argparse
import os
from typing import Dict, List

import numpy as np

from sspq.analysis import results
from sspq.checkpoints.source import Checkpoint, Values, read_values
from sspq.commands.model_options import CHECKPOINT, add_settings, open_model, refuse_settings
from sspq.export.packed.pack import check_finite
from sspq.figures import accuracy, weights

_SHIFT = "/SP/SP"  # end of the names of shifts


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--reports",
        nargs="*",
        metavar="PATH",
        help="report.json files, folders that hold them, or patterns with **; without a PATH, the "
        "published results alone",
    )
    p.add_argument(
        "--published",
        metavar="FILE",
        help="CSV file of the published results (default: the file of this package)",
    )
    p.add_argument("--checkpoint", metavar="MODEL", help=CHECKPOINT)
    p.add_argument(
        "-o",
        "--output",
        default="figures",
        metavar="DIR",
        help="folder to write (default: %(default)s)",
    )
    add_settings(p)


def run(args: argparse.Namespace) -> None:
    if args.reports is None and args.checkpoint is None:
        raise ValueError("`--reports` or `--checkpoint` is missing: name what is to be drawn")
    if args.checkpoint is None:
        refuse_settings(args, "only for `--checkpoint`, which is missing")
    if args.reports is None and args.published is not None:
        raise ValueError("`--published` is for `--reports`, which is missing")
    drawn: List[str] = []
    if args.reports is not None:
        drawn += _draw_results(args)
    if args.checkpoint is not None:
        source = open_model(args)
        variables, quantized = read_values(source)
        check_finite(source, variables)
        drawn += _draw_shifts(args, variables)
        drawn += _draw_levels(args, source, quantized)
    for path in drawn:
        print(path)


def _draw_results(args: argparse.Namespace) -> List[str]:
    rows = results.published(args.published or results.PUBLISHED_CSV)
    rows += results.measured(results.find_reports(args.reports))
    return [
        accuracy.draw_accuracy(rows, _output(args, "top1-size.png")),
        accuracy.draw_density(rows, _output(args, "density.png")),
    ]


def _draw_shifts(args: argparse.Namespace, variables: Values) -> List[str]:
    shifts = {n[: -len(_SHIFT)]: v for n, v in variables.items() if n.endswith(_SHIFT)}
    if not shifts:
        print("no shifts: the model has none")
        return []
    return [weights.draw_shifts(shifts, _output(args, "shifts.png"))]


def _draw_levels(args: argparse.Namespace, source: Checkpoint, quantized: Values) -> List[str]:
    """Draws a picture of the quantized kernels for each number of bits."""
    if not quantized:
        print("no levels: the model quantizes no weights")
    kernels: Dict[int, Dict[str, np.ndarray]] = {}
    for name, values in quantized.items():
        kernels.setdefault(source.model.weight_bits.of(name), {})[name] = values
    drawn = []
    for bits, group in sorted(kernels.items()):
        if bits <= weights.LEVEL_BITS:
            path = _output(args, f"levels-{bits}bit.png")
            drawn.append(weights.draw_levels(group, bits, path))
        else:
            print(f"no levels of {len(group)} kernels: they have {bits} bits")
    return drawn


def _output(args: argparse.Namespace, name: str) -> str:
    """The path of a picture, in a folder that is made once there is something to draw."""
    os.makedirs(args.output, exist_ok=True)
    return os.path.join(args.output, name)
