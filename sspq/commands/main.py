"""``python -m sspq``: what can be done without writing a script."""

import argparse
import importlib
import sys
from typing import Dict, List, Optional, Tuple

from sspq.errors import is_user_error, one_line_message, wants_traceback

# Command: (module that has its options and runs it, help text).
COMMANDS: Dict[str, Tuple[str, str]] = {
    "env": ("env", "print versions, op library, kernels and devices"),
    "report": ("report", "sum up a chain: table, report.json, pictures"),
    "demo-images": ("demo_images", "write a small ILSVRC folder of real images"),
    "convert-caffe": ("convert_caffe", "Caffe's AlexNet to the .npz of --load"),
    "summary": ("summary", "parameters, bits, bytes and work of a model by layer"),
    "pack": ("pack", "checkpoint to packed file: quantized weights at their own bits"),
    "export": ("export", "checkpoint or packed file to ONNX or TensorFlow, of stock ops"),
    "unpack": ("unpack", "packed file to .npz: the values that the graph computes with"),
    "inspect": ("inspect", "what is in a packed file"),
    "eval": ("evaluate", "top-1 and top-5 on held-out images"),
    "predict": ("predict", "the five most likely classes of image files"),
    "figures": ("figures", "published and own results, shifts and weight levels"),
}


def parser(argv: List[str]) -> argparse.ArgumentParser:
    """The parser of the command line ``argv``.

    Only the command that is named there is imported: others have no options, and ``--help`` does
    not wait for TensorFlow.
    """
    p = argparse.ArgumentParser(prog="python -m sspq", description=__doc__)
    commands = p.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    named = next((word for word in argv if not word.startswith("-")), None)
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name == named:
            chosen = importlib.import_module(f"sspq.commands.{module}")
            chosen.add_arguments(command)
            command.set_defaults(run=chosen.run)
    return p


def main(argv: Optional[List[str]] = None) -> int:
    """Runs one command; user errors give one line and exit status 2, Ctrl-C 130."""
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
        if not is_user_error(e) or wants_traceback():
            raise
        print(f"sspq: {one_line_message(e)}", file=sys.stderr)
        return 2
    return 0
