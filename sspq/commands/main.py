"""``python -m sspq``: the command line of the package."""

import argparse
import importlib
import sys
from typing import Dict, List, NamedTuple, Optional

from sspq.errors import end_program


class Command(NamedTuple):
    """A command: the module of this package that has its options and runs it, and its help."""

    module: str
    help: str


COMMANDS: Dict[str, Command] = {
    "env": Command("env", "versions, op library, kernels and devices"),
    "report": Command("report", "table, report.json and pictures of a chain of runs"),
    "demo-images": Command("demo_images", "small ILSVRC folder of real images"),
    "convert-caffe": Command("convert_caffe", "AlexNet of Caffe to an .npz file for --load"),
    "summary": Command("summary", "parameters, bits, bytes and work of a model by layer"),
    "pack": Command("pack", "checkpoint to packed file: quantized weights at their own bits"),
    "export": Command("export", "checkpoint or packed file to ONNX or TensorFlow, of stock ops"),
    "unpack": Command("unpack", "packed file to .npz: the values that the graph computes with"),
    "inspect": Command("inspect", "content of a packed file"),
    "eval": Command("evaluate", "top-1 and top-5 of a model on held-out images"),
    "predict": Command("predict", "five most likely classes of image files"),
    "figures": Command("figures", "plots of results, and of the shifts and levels of a checkpoint"),
}


def parser(argv: List[str]) -> argparse.ArgumentParser:
    """The parser of the command line ``argv``.

    Only the command that ``argv`` names is imported: the others have no options, and ``--help``
    does not wait for TensorFlow.
    """
    p = argparse.ArgumentParser(
        prog="python -m sspq",
        description="Reports, files and predictions of quantized networks, without a script.",
        epilog="`python -m sspq COMMAND --help` shows the options of a command.",
    )
    commands = p.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    named = next((word for word in argv if not word.startswith("-")), None)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.help, description=command.help)
        if name == named:
            chosen = importlib.import_module(f"sspq.commands.{command.module}")
            chosen.add_arguments(sub)
            sub.set_defaults(run=chosen.run)
    return p


def main(argv: Optional[List[str]] = None) -> int:
    """Runs one command.

    Args:
        argv: words of the command line (default: those of the process).

    Returns:
        The exit status: 0; 2 for a user error, which gives one line; 130 for Ctrl-C.
    """
    try:
        argv = sys.argv[1:] if argv is None else argv
        args = parser(argv).parse_args(argv)
        from sspq.training.console import quieten

        quieten()
        args.run(args)
    except KeyboardInterrupt:
        print("sspq: interrupted", file=sys.stderr)
        return 130
    except Exception as e:
        return end_program(e, "sspq")
    return 0
