"""Prints where the time of a step goes: milliseconds by kind of op, from TensorFlow's full trace.

    python benchmarks/profile_step.py [--network "L-SSPQ50 S2"] [--pass training] [--size 64]
        [--batch 32] [--threads 2] [--steps 5] [--top 30]

The networks are those of train.py. Ops run one after another, each on all threads, so that their
times add up to a step's; the time of a step without a trace is given beside it.
"""

import argparse
import collections
import datetime
import os
import statistics
import subprocess
from typing import Counter, Iterator, Tuple

from train import NETWORKS, RUNS, S2, Network
from turns import positive

from sspq.compat import TF_VERSION, tf
from sspq.training.console import quieten

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def origin() -> str:
    """Date, machine and commit."""
    with open("/proc/cpuinfo") as f:
        models = [line.split(":")[1].strip() for line in f if line.startswith("model name")]
    done = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*"],
        stdout=subprocess.PIPE,
        text=True,
    )
    commit = done.stdout.strip() or "not known"
    machine = f"{len(models)} cores, {models[0] if models else 'unknown processor'}"
    return f"{datetime.date.today()}, {machine}, commit {commit}"


def ops_of(network: Network) -> Iterator[Tuple[str, float]]:
    """Kind and milliseconds of every op that a step runs."""
    trace = tf.RunMetadata()
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    network.run(options=options, run_metadata=trace)
    for device in trace.step_stats.dev_stats:
        for op in device.node_stats:
            # "name = Kind(inputs)", but for what the runtime adds
            _, equals, call = op.timeline_label.partition(" = ")
            kind = call.split("(")[0] if equals else op.node_name
            yield kind, (op.op_end_rel_micros - op.op_start_rel_micros) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=NETWORKS, default=S2, help=f"name (default: {S2})")
    parser.add_argument("--pass", dest="passes", choices=RUNS, default="training")
    parser.add_argument("--size", type=positive, default=64, help="pixels (default: 64)")
    parser.add_argument("--batch", type=positive, default=32, help="images of a step (default: 32)")
    parser.add_argument(
        "--threads", type=positive, default=2, help="number of threads (default: 2)"
    )
    parser.add_argument("--steps", type=positive, default=5, help="number of steps (default: 5)")
    parser.add_argument(
        "--top", type=positive, default=30, help="number of kinds shown (default: 30)"
    )
    args = parser.parse_args()
    quieten()

    network = Network(args.network, args.passes, args.size, args.batch, args.threads)
    plain = [network.run() for _ in range(args.steps + 2)][2:]
    spent: Counter[str] = collections.Counter()
    count: Counter[str] = collections.Counter()
    for _ in range(args.steps):
        for kind, milliseconds in ops_of(network):
            spent[kind] += milliseconds / args.steps
            count[kind] += 1
    total = sum(spent.values())
    print(f"{args.network}, {args.passes}, {args.size} px, batch {args.batch}")
    print(f"{origin()}, TensorFlow {TF_VERSION}, {args.threads} threads")
    print(
        f"a step: {1e3 * statistics.median(t.wall for t in plain):.1f} ms, "
        f"{1e3 * statistics.median(t.cpu for t in plain):.1f} of CPU (medians of "
        f"{args.steps}); its ops in the trace: {total:.1f} ms"
    )
    print(f"{'ms':>9} {'%':>7} {'ops':>6}  kind of op")
    for kind, milliseconds in spent.most_common(args.top):
        share = 100 * milliseconds / total
        print(f"{milliseconds:9.2f} {share:7.2f} {count[kind] // args.steps:6d}  {kind}")


if __name__ == "__main__":
    main()
