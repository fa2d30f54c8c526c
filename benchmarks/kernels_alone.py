"""The CPU kernels of shift2d without TensorFlow, on buffers that are used again and again."""

import os
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import setup  # noqa: E402
from custom_ops.program import build_program  # noqa: E402

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shift2d_kernels.cc")
LAYOUTS = ("NHWC", "NCHW")

# The same input at three strides: (batch, channels, size).
STRIDED = [(32, 128, 56), (32, 256, 28), (32, 512, 14)]


class Alone:
    """Seconds of every candidate by shape, stride, reach of the shifts and layout."""

    def __init__(self, threads, rounds):
        self._folder = tempfile.TemporaryDirectory()
        self._program = build_program(
            SOURCE, self._folder.name, setup.COMPILE_FLAGS, setup.instruction_set
        )
        self._options = [str(threads), str(rounds)]
        self._seconds = {}

    def seconds(self, shape, reach):
        """``shape`` is (batch, channels, size, stride)."""
        key = tuple(str(v) for v in shape) + (str(reach),)
        if key not in self._seconds:
            text = subprocess.run(
                [self._program] + self._options + list(key),
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            ).stdout
            rows = [line.split() for line in text.splitlines()]
            self._seconds[key] = {(r[0], r[1]): [float(v) for v in r[2:]] for r in rows}
        return self._seconds[key]

    def ratio(self, shape, layout, name, other, reach=0.99):
        """Median over the rounds of the time of ``name`` over that of ``other``."""
        seconds = self.seconds(shape, reach)
        pairs = zip(seconds[layout, name], seconds[layout, other])
        return statistics.median(a / b for a, b in pairs)

    def milliseconds(self, shape, layout, name, reach=0.99):
        return 1e3 * statistics.median(self.seconds(shape, reach)[layout, name])


# What is compared with a copy that reads and writes, together, as many bytes.
COPIES = {
    "forward": "copy_forward",
    "input_gradient": "copy_forward",
    "backward": "copy_backward",
}
NAMES = {"forward": "forward", "input_gradient": "gradient to x", "backward": "both gradients"}


def rows(alone, shapes):
    """One row a shape and layout, as plain values."""
    for shape in shapes:
        for layout in LAYOUTS:
            row = dict(zip(("batch", "channels", "size", "stride"), shape), layout=layout)
            row["copy_ms"] = alone.milliseconds(shape, layout, "copy_forward")
            for name, copy in COPIES.items():
                row[name] = alone.ratio(shape, layout, name, copy)
                far = alone.milliseconds(shape, layout, name, reach=3)
                row[name + "_far"] = far / alone.milliseconds(shape, layout, name)
            row["by_pixel"] = alone.ratio(shape, layout, "by_pixel", "forward")
            yield row


def targets(alone, all_rows):
    """(what, measured, least or most, bound) by layout, medians over the shapes."""
    for layout in LAYOUTS:
        chosen = [r for r in all_rows if r["layout"] == layout]

        def median(key, chosen=chosen):
            return statistics.median(r[key] for r in chosen)

        for name, bound in (("forward", 1.05), ("input_gradient", 1.25), ("backward", 1.25)):
            yield "kernel alone, %s: %s / copy" % (layout, NAMES[name]), median(name), "<=", bound
        small = max(r[name] for r in chosen if r["size"] in (7, 8) for name in COPIES)
        yield "kernel alone, %s: 7x7 and 8x8 planes / copy, worst" % layout, small, "<=", 1.6
        far = max(median(name + "_far") for name in COPIES)
        yield "kernel alone, %s: shifts to 3 pixels / within one" % layout, far, "<=", 1.3
        for stride in (2, 3):
            against = [
                alone.ratio(shape + (stride,), layout, name, copy)
                / alone.ratio(shape + (1,), layout, name, copy)
                for shape in STRIDED
                for name, copy in COPIES.items()
            ]
            what = "kernel alone, %s: stride %d / stride 1, each / its copy" % (layout, stride)
            yield what, statistics.median(against), "<=", 1.1
        yield "kernel alone, %s: pixel by pixel / forward" % layout, median("by_pixel"), ">=", 15
