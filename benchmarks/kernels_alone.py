"""The CPU kernels of shift2d without TensorFlow, on buffers that are used again and again."""

import os
import statistics
import subprocess
import sys
import tempfile
from typing import Dict, List, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

LAYOUTS = ("NHWC", "NCHW")

# Run by an interpreter of its own, since modules of two checkouts have the same names.
BUILD = """
import sys
sys.path.insert(0, sys.argv[1])
import setup
from custom_ops.program import build_program
source = sys.argv[1] + "/benchmarks/shift2d_kernels.cc"
print(build_program(source, sys.argv[2], setup.COMPILE_FLAGS + sys.argv[3:], setup.instruction_set))
"""

# (batch, channels, size, stride)
Shape = Tuple[int, int, int, int]


class Program:
    """``shift2d_kernels.cc``, compiled with the kernels of a checkout.

    Args:
        threads: number of threads.
        rounds: number of rounds of every measurement.
        flags: flags of the compiler beside those of the op library.
        root: folder of the checkout, this one by default.
    """

    def __init__(
        self, threads: int, rounds: int, flags: Tuple[str, ...] = (), root: str = ROOT
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._program = subprocess.run(
            [sys.executable, "-c", BUILD, os.path.abspath(root), self._folder.name, *flags],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout.strip()
        self._options = [str(threads), str(rounds)]

    def seconds(self, shape: Shape, reach: float) -> Dict[Tuple[str, str], List[float]]:
        """Seconds of every round by layout and candidate."""
        arguments = [str(v) for v in shape] + [str(reach)]
        text = subprocess.run(
            [self._program] + self._options + arguments,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout
        rows = [line.split() for line in text.splitlines()]
        return {(r[0], r[1]): [float(v) for v in r[2:]] for r in rows}


# What is compared with a copy that reads and writes, together, as many bytes.
COPIES = {"forward": "copy_forward", "backward": "copy_backward"}


def rows(threads, rounds, shapes):
    """One row a shape and layout, as plain values."""
    program = Program(threads, rounds)
    for shape in shapes:
        near, far = program.seconds(shape, 0.99), program.seconds(shape, 3)
        for layout in LAYOUTS:
            row = dict(zip(("batch", "channels", "size", "stride"), shape), layout=layout)
            row["copy_ms"] = 1e3 * statistics.median(near[layout, "copy_forward"])
            for name, copy in COPIES.items():
                for key, seconds in ((name, near), (name + "_far", far)):
                    pairs = zip(seconds[layout, name], seconds[layout, copy])
                    row[key] = statistics.median(a / b for a, b in pairs)
            pairs = zip(near[layout, "by_pixel"], near[layout, "forward"])
            row["by_pixel"] = statistics.median(a / b for a, b in pairs)
            yield row
