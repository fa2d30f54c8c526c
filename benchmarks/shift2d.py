"""Times shift2d inside TensorFlow beside what would do the same or a similar job.

    python benchmarks/shift2d.py [--threads 2] [--rounds 15] [--json FILE]

For every shape, layout and pass the candidates run in turn in one process, and each row gives the
median over the rounds of `other / shift2d`: above 1 the op is faster.

    kernel    depthwise convolution with the 3x3 kernel built from the shift (same result, the best
              that TensorFlow's own ops can do)
    depthwise tf.nn.depthwise_conv2d 3x3 with free weights, what the shift replaces in a network
    multiply  an elementwise multiply of the input tensor by a scalar

TensorFlow's CPU kernels run depthwise convolutions in NHWC only, so the NCHW rows compare with the
NHWC figure of the same shape, measured in the same round.
"""

import argparse
import json
import statistics
import time
from typing import Dict, List, Tuple

import numpy as np

import sspq
from sspq.compat import tf

# (network, batch, channels, size, stride): the shifts of L-SSPQ50 and of SSPQ34 for CIFAR.
SHAPES = [
    ("L-SSPQ50", 32, 64, 56, 1),
    ("L-SSPQ50", 32, 128, 56, 2),
    ("L-SSPQ50", 32, 128, 28, 1),
    ("L-SSPQ50", 32, 256, 28, 2),
    ("L-SSPQ50", 32, 256, 14, 1),
    ("L-SSPQ50", 32, 512, 14, 2),
    ("L-SSPQ50", 32, 512, 7, 1),
    ("SSPQ34", 256, 16, 32, 1),
    ("SSPQ34", 256, 32, 32, 2),
    ("SSPQ34", 256, 32, 16, 1),
    ("SSPQ34", 256, 64, 16, 2),
    ("SSPQ34", 256, 64, 8, 1),
    ("SSPQ34", 256, 128, 8, 2),
    ("SSPQ34", 256, 128, 4, 1),
]
OTHERS = ("kernel", "depthwise", "multiply")


def shift_as_depthwise(x, shift, stride):
    """The same map from TensorFlow's own ops, for shifts within one pixel."""
    taps = tf.constant([[-1.0], [0.0], [1.0]])
    along = tf.nn.relu(1 - tf.abs(taps[:, :, None] - tf.transpose(shift)[None, :, :]))
    kernel = along[:, None, :, 1] * along[None, :, :, 0]
    padding = "SAME"
    if stride > 1:  # SAME would put the window elsewhere
        x, padding = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), "VALID"
    return tf.nn.depthwise_conv2d(x, kernel[..., None], [1, stride, stride, 1], padding)


def variable(rng, shape, scale=1.0):
    value = (rng.uniform(-1, 1, shape) * scale).astype(np.float32)
    holder = tf.placeholder(tf.float32, shape)
    v = tf.get_variable("v%d" % len(tf.global_variables()), initializer=holder, trainable=False)
    return v, (v.initializer, holder, value)


def build(batch, channels, size, stride):
    """Ops by (name, pass), checked to agree where they should."""
    rng = np.random.RandomState(0)
    nhwc, nchw = (batch, size, size, channels), (batch, channels, size, size)
    out = (size - 1) // stride + 1
    values = [
        variable(rng, nhwc),
        variable(rng, nchw),
        variable(rng, (2, channels), 0.99),
        variable(rng, (3, 3, channels, 1)),
        variable(rng, (batch, out, out, channels)),
        variable(rng, (batch, channels, out, out)),
        variable(rng, ()),
    ]
    (x, xp, shift, weights, gy, gyp, scalar), inits = zip(*values)
    ys = {
        "NHWC": (sspq.shift2d(x, shift, (1, stride, stride, 1), data_format="NHWC"), x, shift, gy),
        "NCHW": (sspq.shift2d(xp, shift, (1, 1, stride, stride)), xp, shift, gyp),
        "kernel": (shift_as_depthwise(x, shift, stride), x, shift, gy),
        "depthwise": (
            tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], "SAME"),
            x,
            weights,
            gy,
        ),
        "multiply": (x * scalar, x, scalar, None),
    }
    ops = {}
    for name, (y, a, b, g) in ys.items():
        ops[name, "forward"] = y.op
        # The forward op is run as well: a training step needs both.
        gradients = tf.gradients(y, [a, b], y if g is None else g)
        ops[name, "forward+backward"] = [t.op for t in [y] + gradients]
    same = tf.reduce_max(tf.abs(ys["NHWC"][0] - ys["kernel"][0]))
    return ops, inits, same


def time_in_turn(sess, ops, rounds):
    """Seconds by op, one list entry a round. Short ops are repeated within a round."""
    repeat = {}
    for key, op in ops.items():
        sess.run(op)
        start = time.perf_counter()
        sess.run(op)
        repeat[key] = max(1, int(0.01 / (time.perf_counter() - start)))
    seconds: Dict[Tuple[str, str], List[float]] = {key: [] for key in ops}
    for _ in range(rounds):
        for key, op in ops.items():
            start = time.perf_counter()
            for _ in range(repeat[key]):
                sess.run(op)
            seconds[key].append((time.perf_counter() - start) / repeat[key])
    return seconds


def measure(shape, threads, rounds):
    network, batch, channels, size, stride = shape
    with tf.Graph().as_default():
        ops, inits, same = build(batch, channels, size, stride)
        config = tf.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1
        )
        with tf.Session(config=config) as sess:
            sess.run([i[0] for i in inits], {i[1]: i[2] for i in inits})
            difference = sess.run(same)
            if difference > 1e-5:
                raise RuntimeError("shift2d and its depthwise equivalent differ by %g" % difference)
            seconds = time_in_turn(sess, ops, rounds)
    for passes in ("forward", "forward+backward"):
        for layout in ("NHWC", "NCHW"):
            own = seconds[layout, passes]
            row = {
                "network": network,
                "batch": batch,
                "channels": channels,
                "size": size,
                "stride": stride,
                "layout": layout,
                "pass": passes,
                "ms": 1e3 * statistics.median(own),
            }
            for other in OTHERS:
                row[other] = statistics.median(o / s for o, s in zip(seconds[other, passes], own))
            yield row


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", help="also write the rows to this file")
    args = parser.parse_args()

    print(
        "TensorFlow %s, %d threads, medians of %d rounds"
        % (tf.__version__, args.threads, args.rounds)
    )
    header = "%-9s %5s %9s %6s %-6s %-16s %8s" % (
        "network", "batch", "C x size", "stride", "layout", "pass", "ms"
    )  # fmt: skip
    print(header + "".join("%11s" % ("/ " + o) for o in OTHERS))
    rows = []
    for shape in SHAPES:
        for row in measure(shape, args.threads, args.rounds):
            rows.append(row)
            print(
                "%(network)-9s %(batch)5d %(channels)4dx%(size)-4d %(stride)6d %(layout)-6s "
                "%(pass)-16s %(ms)8.2f" % row + "".join("%11.2f" % row[o] for o in OTHERS),
                flush=True,
            )
    print()
    for passes in ("forward", "forward+backward"):
        for layout in ("NHWC", "NCHW"):
            chosen = [r for r in rows if r["pass"] == passes and r["layout"] == layout]
            print(
                "%-16s %s  " % (passes, layout)
                + "  ".join(
                    "%s: median %.2f, least %.2f"
                    % (o, statistics.median(r[o] for r in chosen), min(r[o] for r in chosen))
                    for o in OTHERS
                )
            )
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"threads": args.threads, "rounds": args.rounds, "rows": rows}, f, indent=1)


if __name__ == "__main__":
    main()
