"""The frame of every training script: quiet terminal, GPUs, errors, exit status."""

import argparse
import ctypes
import os
import signal
import sys
import time
from typing import Callable, Optional

from sspq.errors import end_program
from sspq.training.console import quieten
from sspq.training.results import Report


def _line(name: str, report: Report, seconds: float) -> str:
    weights = report.get("slq", report["bits"])["weights"]
    parts = [f"{name}  W{weights} A{report['bits']['activations']}"]
    if report.get("top1") is not None:
        parts.append(f"top-1 {report['top1']:.2f} %  top-5 {report['top5']:.2f} %")
    return "  ".join(parts + [f"({seconds:.0f} s)"])


def main(name: str, args: argparse.Namespace, run: Callable[[], Optional[Report]]) -> int:
    """Runs a script's work; user errors give one line and exit status 2.

    Args:
        name: name of the step.
        args: parsed command line; ``gpu`` is set before TensorFlow looks for GPUs.
        run: function that does the work and returns the report, or None if there is none to print.
    """
    die_with_parent()
    quieten()
    if args.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = args.gpu
    start = time.time()
    script = os.path.basename(sys.argv[0])
    try:
        report = run()
    except KeyboardInterrupt:
        how = "" if args.eval else f"; --resume goes on with {args.log}"
        print(f"{script}: interrupted{how}", file=sys.stderr)
        return 130
    except Exception as e:
        return end_program(e, script, args.batch)
    if report is not None:
        print(_line(name, report, time.time() - start))
    return 0


# Set by the chain's shell script, so that a step does not outlive a killed chain.
DIE_WITH_PARENT = "SSPQ_DIE_WITH_PARENT"


def die_with_parent() -> None:
    """Asks Linux to kill this process when its parent dies, if the environment says so."""
    if os.environ.get(DIE_WITH_PARENT) == "1" and sys.platform.startswith("linux"):
        pr_set_pdeathsig = 1  # from <linux/prctl.h>
        parent = os.getppid()
        ctypes.CDLL("libc.so.6", use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call
            os.kill(os.getpid(), signal.SIGKILL)
