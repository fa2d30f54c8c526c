"""Times shift2d on the CPU beside what would do the same or a similar job.

    python benchmarks/shift2d.py [--threads 2] [--rounds 15] [--only PART] [--json FILE]

First inside TensorFlow. For every shape, layout and pass the candidates run in turn in one process,
and each row gives the median over the rounds of `other / shift2d`: above 1 the op is faster.

    kernel    depthwise convolution with the 3x3 kernel built from the shift (same result, the best
              that TensorFlow's own ops can do)
    depthwise tf.nn.depthwise_conv2d 3x3 with free weights, what the shift replaces in a network
    multiply  an elementwise multiply of the input tensor by a scalar

TensorFlow's CPU kernels run depthwise convolutions in NHWC only, so the NCHW rows compare with the
NHWC figure of the same shape, measured in the same round.

Then the kernels alone, without TensorFlow, on buffers that are used again and again: shift2d over a
copy (memcpy, the same threads) that reads and writes together as many bytes, for shifts within a
pixel and, `far`, to three; and `by pixel`, a plain loop that works every pixel out on its own, over
shift2d. These have no targets.

A table says for every target whether the median over TARGET_SHAPES meets it.
"""

import argparse
import json
import os
import statistics
import time
from typing import Dict, List, Tuple

import kernels_alone
import numpy as np
from shift2d_shapes import SHAPES, TARGET_SHAPES

import sspq
from sspq import oplib
from sspq.compat import tf

SHAPE_KEYS = ("batch", "channels", "size", "stride")
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
    v = tf.get_variable(f"v{len(tf.global_variables())}", initializer=holder, trainable=False)
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
                raise RuntimeError(f"shift2d and its depthwise equivalent differ by {difference:g}")
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


def tensorflow_targets(rows):
    """(what, measured, the least that is aimed at), medians over TARGET_SHAPES."""
    chosen = [r for r in rows if tuple(r[k] for k in SHAPE_KEYS) in TARGET_SHAPES]

    def pick(layout, passes):
        return [r for r in chosen if r["layout"] == layout and r["pass"] == passes]

    bounds = [("forward", "kernel", 3.5), ("forward+backward", "kernel", 4.5)]
    bounds += [("forward", "multiply", 1 / 1.5)]
    for passes, other, bound in bounds:
        value = statistics.median(r[other] for r in pick("NHWC", passes))
        yield f"in TensorFlow, NHWC: {other} / {passes}", value, bound


def print_targets(targets):
    print(f"{f'median over {len(TARGET_SHAPES)} shapes':<62} {'measured':>8} {'target':>8}")
    for what, value, bound in targets:
        print(f"{what:<62} {value:8.2f} >= {bound:5.2f}  {'met' if value >= bound else 'NOT MET'}")


def shown_tensorflow(threads, rounds):
    """Measures all shapes in TensorFlow, prints the rows as they come and passes them on."""
    header = (f"{'network':<9} {'batch':>5} {'C x size':>9} {'stride':>6} {'layout':<6} "
    f"{'pass':<16} {'ms':>8}")  # fmt: skip
    print(header + "".join(f"{('/ ' + o):>11}" for o in OTHERS))
    for shape in SHAPES:
        for row in measure(shape, threads, rounds):
            print(
                f"{row['network']:<9} {row['batch']:5} {row['channels']:4}x{row['size']:<4} "
                f"{row['stride']:6} {row['layout']:<6} {row['pass']:<16} {row['ms']:8.2f}"
                + "".join(f"{row[o]:11.2f}" for o in OTHERS),
                flush=True,
            )
            yield row


def shown(rows):
    """Prints the rows as they come and passes them on."""
    print("\nkernels alone, shift2d / copy of as many bytes")
    names = ("copy ms", "forward", "backward", "far", "far b.", "by pixel")
    header = f"{'batch':>5} {'C x size':>9} {'stride':>6} {'layout':<6}"
    print(header + "".join(f"{name:>9}" for name in names))
    for row in rows:
        print(
            (
                f"{row['batch']:5} {row['channels']:4}x{row['size']:<4} {row['stride']:6} "
                f"{row['layout']:<6} {row['copy_ms']:8.3f} {row['forward']:8.2f} "
                f"{row['backward']:8.2f} {row['forward_far']:8.2f} {row['backward_far']:8.2f} "
                f"{row['by_pixel']:8.1f}"
            ),
            flush=True,
        )
        yield row


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2, help="number of threads (default: 2)")
    parser.add_argument("--rounds", type=int, default=15, help="number of rounds (default: 15)")
    parser.add_argument("--only", choices=("tensorflow", "alone"), help="one of the two parts")
    parser.add_argument("--json", help="file that all rows and targets are written to, too")
    args = parser.parse_args()

    print(
        f"TensorFlow {tf.__version__}, {args.threads} threads, medians of {args.rounds} "
        f"rounds, CPU kernels: {os.environ.get('SSPQ_CPU') or oplib.cpu_versions()[0]}"
    )
    rows: List[dict] = []
    alone_rows: List[dict] = []
    targets: List[tuple] = []
    if args.only != "alone":
        rows = list(shown_tensorflow(args.threads, args.rounds))
        targets += tensorflow_targets(rows)
    if args.only != "tensorflow":
        alone_rows = list(shown(kernels_alone.rows(args.threads, args.rounds, TARGET_SHAPES)))
    if targets:
        print()
        print_targets(targets)
    if args.json:
        keys = ("what", "measured", "least")
        result = {
            "tensorflow": rows,
            "alone": alone_rows,
            "targets": [dict(zip(keys, t)) for t in targets],
        }
        with open(args.json, "w") as f:
            json.dump(result, f, indent=1)


if __name__ == "__main__":
    main()
