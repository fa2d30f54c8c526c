"""The paths of the CPU kernels: chosen by one table, which the documentation shows."""

import ctypes
import os
import re

import numpy as np
import pytest

from sspq import oplib
from sspq.compat import tf
from sspq.ops import shift2d

README = os.path.join(os.path.dirname(__file__), "..", "..", "custom_ops", "shift2d", "README.md")

# (layout, channels, stride, reach of the shifts, dtype), and the paths of both passes.
CASES = [
    (("NHWC", 32, 1, 0.9, "float32"), "window", "window"),
    (("NHWC", 32, 2, 0.9, "float32"), "strided", "window"),
    (("NHWC", 32, 2, 3, "float32"), "shifter", "shifter"),
    (("NHWC", 32, 3, 3, "float32"), "element", "shifter"),
    (("NHWC", 32, 1, 20, "float32"), "element", "element"),
    (("NHWC", 32, 1, 0.9, "float64"), "element", "element"),
    (("NHWC", 20, 1, 0.9, "float32"), "blocks, window", "blocks, window"),
    (("NCHW", 32, 1, 0.9, "float32"), "blocks, window", "blocks, window"),
    (("NCHW", 32, 1, 3, "float32"), "blocks, shifter", "blocks, shifter"),
    (("NCHW", 32, 1, 20, "float32"), "element", "element"),
]


def table():
    """The rows of the table in the code, as lines of Markdown."""
    paths = ctypes.CDLL(oplib.LIB_PATH).sspq_shift2d_paths
    paths.restype = ctypes.c_char_p
    return paths().decode().splitlines()


def run(layout, channels, stride, reach, dtype, shift=None):
    rng = np.random.RandomState(0)
    shape = {"NHWC": (1, 8, 9, channels), "NCHW": (1, channels, 8, 9)}[layout]
    strides = {"NHWC": (1, stride, stride, 1), "NCHW": (1, 1, stride, stride)}[layout]
    x = tf.constant(rng.randn(*shape).astype(dtype))
    if shift is None:
        shift = rng.uniform(-reach, reach, (2, channels))
    shift = tf.constant(shift.astype(dtype))
    y = shift2d(x, shift, strides, data_format=layout)
    with tf.Session() as session:  # kernels read the variable when they are made
        session.run([y] + tf.gradients(y, [x, shift]))


def traced(capfd, *case, **kwargs):
    """What the trace says of both passes."""
    run(*case, **kwargs)
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("shift2d ")]
    return dict(re.fullmatch(r"shift2d (\w+) .*?: (.*)", line).groups() for line in lines)


def test_the_documentation_shows_the_table_of_the_code():
    with open(README) as f:
        lines = f.read().splitlines()
    rows = [line for line in lines if re.match(r"\| (forward|backward) \|", line)]
    assert rows == table()


@pytest.mark.parametrize("case, forward, backward", CASES, ids=[str(c[0]) for c in CASES])
def test_the_trace_names_the_path_of_every_call(monkeypatch, capfd, case, forward, backward):
    monkeypatch.setenv("SSPQ_SHIFT2D_TRACE", "1")
    monkeypatch.delenv("SSPQ_CPU", raising=False)
    assert traced(capfd, *case) == {"forward": forward, "backward": backward}


def test_the_cases_above_reach_every_path():
    reached = {("forward", c[1].split(", ")[-1]) for c in CASES}
    reached |= {("backward", c[2].split(", ")[-1]) for c in CASES}
    assert reached == {tuple(re.findall(r"\w+", row)[:2]) for row in table()}


def test_lines_of_channels_of_one_call_may_take_different_paths(monkeypatch, capfd):
    monkeypatch.setenv("SSPQ_SHIFT2D_TRACE", "1")
    monkeypatch.delenv("SSPQ_CPU", raising=False)
    shift = np.random.RandomState(0).uniform(-3, 3, (2, 48))
    shift[0, 40] = 12
    paths = traced(capfd, "NHWC", 48, 1, 0, "float32", shift=shift)
    assert paths["forward"] == paths["backward"] == "2 of 3 shifter, 1 of 3 element"


def test_the_trace_names_shape_strides_and_version(monkeypatch, capfd):
    monkeypatch.setenv("SSPQ_SHIFT2D_TRACE", "1")
    monkeypatch.setenv("SSPQ_CPU", "baseline")
    run("NHWC", 32, 2, 0.9, "float32")
    assert (
        "shift2d forward float NHWC [1,8,9,32] strides 2x2, baseline: strided\n"
        in capfd.readouterr().err
    )


def test_nothing_is_traced_unless_it_is_asked_for(monkeypatch, capfd):
    monkeypatch.setenv("SSPQ_SHIFT2D_TRACE", "0")
    run("NHWC", 32, 1, 0.9, "float32")
    assert "shift2d " not in capfd.readouterr().err
