"""``python -m sspq summary``: parameters, bits, bytes and work of a model by layer."""

import argparse

from sspq import models
from sspq.analysis.layers import inference_graph
from sspq.analysis.published import compare_with_published
from sspq.analysis.summary import summarize
from sspq.checkpoints.source import check_fits
from sspq.commands.model_options import CHECKPOINT, add_settings, open_model, settings_of


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--checkpoint", metavar="MODEL", help=CHECKPOINT)
    p.add_argument(
        "--top1",
        type=float,
        metavar="PERCENT",
        help="top-1 in percent, for the information density (default: that of the run's report)",
    )
    formats = p.add_mutually_exclusive_group()
    for name, text in (("json", "JSON"), ("csv", "CSV"), ("markdown", "Markdown")):
        formats.add_argument(
            "--" + name,
            dest="format",
            action="store_const",
            const=name,
            default="table",
            help=f"{text} instead of text",
        )
    add_settings(p)


def run(args: argparse.Namespace) -> None:
    top1 = args.top1
    if top1 is not None and not 0 <= top1 <= 100:
        raise ValueError(f"`--top1` must be from 0 to 100, got {top1!r}")
    if args.checkpoint:
        source = open_model(args)
        graph = inference_graph(source.model)
        check_fits(source, graph)
        model, top1 = source.model, source.top1 if top1 is None else top1
    elif args.model:
        model, graph = models.build(args.model, **settings_of(args)), None
    else:
        raise ValueError("`--model` or `--checkpoint` is missing: name what is to be summed up")
    summary = summarize(model, top1, graph)
    if args.format != "table":
        text = getattr(summary, "to_" + args.format)()
        print(text, end="" if text.endswith("\n") else "\n")
        return
    print(summary)
    published = compare_with_published(args.model) if args.model else None
    if published:
        print(published)
