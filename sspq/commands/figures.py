"""``python -m sspq figures``: the papers' plots, and what a checkpoint has learned."""

import argparse
import os
from typing import Dict, List

import numpy as np

from sspq.analysis import results
from sspq.checkpoints.source import read_values
from sspq.commands.model_options import (
    CHECKPOINT,
    add_settings,
    open_model,
    refuse_settings,
)
from sspq.export.packed.pack import check_finite
from sspq.figures import accuracy, weights

_SHIFT = "/SP/SP"


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--reports",
        nargs="*",
        metavar="PATH",
        help="report.json files, folders with such, or patterns with **; none: published alone",
    )
    p.add_argument("--published", metavar="FILE", help="*.csv; by default this package's own")
    p.add_argument("--checkpoint", metavar="F", help=CHECKPOINT)
    p.add_argument("-o", "--output", default="figures", metavar="DIR", help="where to")
    add_settings(p)


def run(args: argparse.Namespace) -> None:
    if args.reports is None and args.checkpoint is None:
        raise ValueError("`--reports` or `--checkpoint` is missing: name what is to be drawn")
    if args.checkpoint is None:
        refuse_settings(args, "of a network, and `--checkpoint` is missing")
    if args.reports is None and args.published is not None:
        raise ValueError("`--published` is for `--reports`, which is missing")
    drawn: List[str] = []
    if args.reports is not None:
        rows = results.published(args.published or results.PUBLISHED_CSV)
        rows += results.measured(results.find_reports(args.reports))
        drawn.append(accuracy.draw_accuracy(rows, _in(args, "top1-size.png")))
        drawn.append(accuracy.draw_density(rows, _in(args, "density.png")))
    if args.checkpoint is not None:
        drawn += _draw_checkpoint(args)
    for path in drawn:
        print(path)


def _draw_checkpoint(args: argparse.Namespace) -> List[str]:
    source = open_model(args)
    variables, quantized = read_values(source)
    check_finite(source, variables)
    drawn = []
    shifts = {n[: -len(_SHIFT)]: v for n, v in variables.items() if n.endswith(_SHIFT)}
    if shifts:
        drawn.append(weights.draw_shifts(shifts, _in(args, "shifts.png")))
    else:
        print("no shifts: the model has none")
    kernels: Dict[int, Dict[str, np.ndarray]] = {}
    for name, values in quantized.items():
        kernels.setdefault(source.model.weight_bits.of(name), {})[name] = values
    for bits, group in sorted(kernels.items()):
        if bits <= weights.LEVEL_BITS:
            path = _in(args, f"levels-{bits}bit.png")
            drawn.append(weights.draw_levels(group, bits, path))
        else:
            print(f"no levels of {len(group)} kernels: they have {bits} bits")
    if not kernels:
        print("no levels: the model quantizes no weights")
    return drawn


def _in(args: argparse.Namespace, name: str) -> str:
    os.makedirs(args.output, exist_ok=True)  # not before there is something to draw
    return os.path.join(args.output, name)
