"""This package's part of peers.py and memory.py: the networks of train.py, and a large MatMul.

    python benchmarks/peers_sspq.py PASS PIXELS BATCH THREADS STEP...

Steps are the names of the networks in train.py, and MatMul.
"""

import sys
from functools import partial
from typing import Any, Callable, Dict

import train
import turns

from sspq import oplib
from sspq.analysis.layers import SHIFT, read_layers
from sspq.compat import TF_VERSION, tf
from sspq.training.console import quieten

MATMUL = "MatMul"
EDGE = 4096


def matmul(threads: int) -> Callable[[], Any]:
    with tf.Graph().as_default():
        a, b = (tf.get_variable(name, [EDGE, EDGE]) for name in "ab")
        product = tf.matmul(a, b).op
        session = tf.Session(config=train.config(threads))
        session.run(tf.global_variables_initializer())
    return partial(session.run, product)


def multiply_adds(name: str, size: int) -> int:
    """Of one image; the pixels that shifts weigh are none."""
    layers = read_layers(train.model_of(name, size))
    return sum(layer.work or 0 for layer in layers if layer.kind != SHIFT)


def main() -> None:
    passes, names = sys.argv[1], sys.argv[5:]
    size, batch, threads = (int(a) for a in sys.argv[2:5])
    quieten()
    # A training step computes two gradients beside each product: of its input and of its kernel.
    products = 3 if passes == "training" else 1
    steps: Dict[str, Callable[[], Any]] = {}
    work: Dict[str, int] = {}
    for name in names:
        if name == MATMUL:
            steps[name], work[name] = matmul(threads), EDGE**3
        else:
            steps[name] = train.Network(name, passes, size, batch, threads).run
            work[name] = products * batch * multiply_adds(name, size)
    versions = {"version": TF_VERSION, "kernels": oplib.cpu_versions()[0]}
    turns.serve(steps, {"multiply_adds": work, **versions})


if __name__ == "__main__":
    main()
