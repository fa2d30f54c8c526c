"""Says how far data-parallel training of L-SSPQ50 scales, by a model held against real runs.

    sudo python benchmarks/scaling.py [--pixels 224] [--batch 8] [--rounds 5] [--json FILE]

The model (scaling_model.py) knows a step's schedule, that is when the backward pass has which
gradient ready, a link's rate and latency, and what a process itself takes for a byte and a message.
The runs are Horovod's over Gloo, each process in a network namespace whose link `tc` shapes:

    training   L-SSPQ50 is trained. The processes share this machine's cores, so the step without
               communication is measured with as many of them at work, and the processor's part of
               communication is added to it instead of overlapped
    replay     as if each process had a machine: the gradients are tensors of the network's sizes,
               ready when those of one process that trained on all cores were, and until then it
               sleeps. Their all-reduce is real; with more processes than cores its work, which
               is not the link's, is taken to be slower by as much
    at once    the same, all gradients ready at the beginning: nothing hides the communication

What a process takes is fitted to runs `at once` over links without a limit, which are not shown:
bytes copied to one process, bytes sent to two, messages to two without fusion. Everything else is
predicted. A message's time holds the latency of links in one machine, and what it takes to wake
Gloo's threads, which grows where they wait for a core. Thus the table, whose workers are machines
joined by links of `--latency`, also has messages of a tenth.

Beside the network as it is the table has what may move the end of scaling, the number of workers
at which efficiency, images/s for a worker against those of one alone, falls below 80 or 50 %.

It needs root, `ip`, `tc` and scripts/install_horovod.sh, and takes some five minutes.
"""

import argparse
import os
import shutil
import signal
import statistics
import sys
from typing import Any, Dict, Iterator, List, Optional, Sequence

from scaling_model import FUSION, Link, Process, Schedule, step
from turns import positive

from sspq.compat import TF_VERSION
from sspq.files import write_json

try:
    import horovod
    from scaling_processes import Cluster
except ImportError:  # said when it is needed
    horovod = None

STOPPING = (signal.SIGINT, signal.SIGTERM)
WITHIN = 0.15
COUNTS = (1, 2, 4)
RATES = (1e10, 1e9, 1e8)
SLOW = 1e8  # a step takes seconds there, and varies little
WORKERS = [2**k for k in range(9)]
TABLE_RATES = (1e8, 1e9, 1e10, 1e11)
ENDS = (0.8, 0.5)  # of scaling, as efficiencies

BYTES = {"none": 1.0, "fp16": 0.5}  # of gradients, as parts of float32's
SMALL_FUSION = 4 << 20
# What the table changes of a step: compression, times the batch, fusion, times a message's cost.
VARIANTS = {
    "as it is": ("none", 1, FUSION, 1.0),
    "fp16": ("fp16", 1, FUSION, 1.0),
    "batch x 4": ("none", 4, FUSION, 1.0),
    "batch x 4, fp16": ("fp16", 4, FUSION, 1.0),
    "fusion 4 MiB": ("none", 1, SMALL_FUSION, 1.0),
    "no fusion": ("none", 1, 0, 1.0),
    "messages / 10": ("none", 1, FUSION, 0.1),
}


def alone(cluster: "Cluster", rounds: int) -> Schedule:
    """The median step without communication; a gradient is ready when the last process has it."""
    cluster.do("alone", 1)  # warms up
    steps = []
    for processes in cluster.do("alone", rounds):
        moments, sizes, ends = zip(*processes)
        ready = [max(of_tensor) for of_tensor in zip(*moments)]
        steps.append((max(ends), sorted(zip(ready, sizes[0]))))
    seconds, tensors = sorted(steps)[len(steps) // 2]
    return Schedule(tensors, max(0.0, seconds - tensors[-1][0]))


def median(cluster: "Cluster", what: str, rounds: int) -> float:
    return statistics.median(max(processes) for processes in cluster.do(what, rounds))


class Bench:
    """The real runs, beside what the model says of them.

    Attributes:
        schedule: the step of one process on all cores.
        processes: what a process takes, by compression.
        rows: a dictionary for each run.
    """

    def __init__(self, pixels: int, batch: int, rounds: int) -> None:
        self._pixels, self._batch, self._rounds = pixels, batch, rounds
        self._cores = sorted(os.sched_getaffinity(0))
        self.rows: List[Dict[str, Any]] = []
        self._train(1)
        self.processes = self._fitted()
        for count in COUNTS[1:]:
            self._train(count)
            with self._replay(count) as cluster:
                for compression in BYTES:
                    for kind in ("replay", "at once"):
                        self._compare(cluster, kind, count, compression)
        for fusion in (SMALL_FUSION, 0):
            with self._replay(2, fusion) as cluster:
                self._compare(cluster, "at once", 2, "none", fusion, RATES[1:2])

    def _train(self, count: int) -> None:
        # As many cores for each as there are, or one that it shares with others.
        own = [self._cores[i::count] or [self._cores[i % len(self._cores)]] for i in range(count)]
        with Cluster(["train", self._pixels, self._batch, len(own[-1])], own) as cluster:
            schedule = alone(cluster, self._rounds)
            if count == 1:
                self.schedule, self.processes = schedule, {"none": Process()}
            self._compare(cluster, "training", count, "none", of=schedule)

    def _replay(self, count: int, fusion: int = FUSION) -> "Cluster":
        return Cluster(["replay", *self.schedule], [self._cores] * count, fusion)

    def _fitted(self) -> Dict[str, Process]:
        """What a process takes, from gradients at once on links without a limit."""

        def at_once(count: int, fusion: int) -> Dict[str, float]:
            with self._replay(count, fusion) as cluster:
                cluster.do("none at once", 5)
                cluster.do("fp16 at once", 5)
                return {c: median(cluster, c + " at once", 5 * self._rounds) for c in BYTES}

        one, two, unfused = at_once(1, FUSION), at_once(2, FUSION), at_once(2, 0)
        tensors = self.schedule.tensors
        message = (unfused["none"] - two["none"]) / (2 * (len(tensors) - 1))
        total = {name: self.schedule.bytes * BYTES[name] for name in BYTES}
        return {
            # Two processes send as many bytes as they have, in two messages; two agree on them.
            name: Process(
                one[name] / total[name],
                max(0.0, two[name] - one[name] - 4 * message) / total[name],
                message,
            )
            for name in BYTES
        }

    def _compare(
        self,
        cluster: "Cluster",
        kind: str,
        count: int,
        compression: str,
        fusion: int = FUSION,
        rates: Sequence[float] = RATES,
        of: Optional[Schedule] = None,
    ) -> None:
        schedule = (of or self.schedule).scaled(size=BYTES[compression])
        if kind == "at once":
            schedule = schedule.scaled(time=0.0)
        process = self.processes[compression].slowed(max(1.0, count / len(self._cores)))
        what = compression + (" at once" if kind == "at once" else "")
        cluster.shape(rates[0])
        cluster.do(what, 2)  # warms up
        for rate in rates:
            cluster.shape(rate)
            rounds = self._rounds * (3 if kind == "at once" else 1)  # which are short
            measured = median(cluster, what, 2 if rate <= SLOW else rounds)
            predicted = step(schedule, count, Link(rate), process, fusion, kind == "training")
            row = {
                "run": kind,
                "processes": count,
                "compression": compression,
                "fusion_mib": fusion >> 20,
                "gbit_per_second": rate / 1e9,
                "measured": measured,
                "predicted": predicted,
                "ratio": predicted / measured,
                "met": abs(predicted / measured - 1) <= WITHIN,
            }
            self.rows.append(row)
            print(
                f"{row['run']:<9} {row['processes']:9d} {row['compression']:>5} "
                f"{row['fusion_mib']:7d} {row['gbit_per_second']:7g} {row['measured']:9.3f} "
                f"{row['predicted']:9.3f} {row['ratio']:5.2f}  "
                f"{'met' if row['met'] else 'NOT MET'}",
                flush=True,
            )


def table(bench: Bench, batch: int, latency: float) -> Iterator[Dict[str, Any]]:
    """What the model says of more workers, each on a machine of its own."""
    for variant, (compression, batches, fusion, messages) in VARIANTS.items():
        schedule = bench.schedule.scaled(batches, BYTES[compression])
        process = bench.processes[compression]
        process = process._replace(message=process.message * messages)
        for rate in TABLE_RATES:
            took = [step(schedule, n, Link(rate, latency), process, fusion) for n in WORKERS]
            efficiency = [took[0] / t for t in took]
            yield {
                "variant": variant,
                "rate": rate,
                "images_per_second": [n * batches * batch / t for n, t in zip(WORKERS, took)],
                "efficiency": efficiency,
                "ends": [
                    next((n for n, e in zip(WORKERS, efficiency) if e < b), None) for b in ENDS
                ],
            }


def print_table(rows: List[Dict[str, Any]]) -> None:
    for what, scale in (("images_per_second", 1.0), ("efficiency", 100.0)):
        name = "images/s" if scale == 1 else "efficiency, %"
        ends = "" if scale == 1 else "".join(f"  < {(100 * b)} %" for b in ENDS)
        print(f"\n{name:<16} {'Gbit/s':>7}" + "".join(f"{n:8d}" for n in WORKERS) + ends)
        for row in rows:
            line = f"{row['variant']:<16} {row['rate'] / 1e9:7g}"
            line += "".join(f"{(scale * value):8.1f}" for value in row[what])
            print(line + ("" if scale == 1 else "".join(f"{(n or '-'):>7}" for n in row["ends"])))


def stop(number: int, _: Any) -> None:
    """Ends the program, after the links and processes, which must not be interrupted."""
    for other in STOPPING:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pixels", type=positive, default=224, help="height and width (default: 224)"
    )
    parser.add_argument(
        "--batch", type=positive, default=8, help="images of a process (default: 8)"
    )
    parser.add_argument("--rounds", type=positive, default=5, help="steps of a median (default: 5)")
    parser.add_argument(
        "--latency", type=float, default=50, help="microseconds of the table's links (default: 50)"
    )
    parser.add_argument("--json", help="file to write the rows to, too")
    args = parser.parse_args()
    if horovod is None:
        parser.error("Horovod is missing: bash scripts/install_horovod.sh")
    if os.geteuid() or not (shutil.which("ip") and shutil.which("tc")):
        parser.error("network namespaces need root and the commands `ip` and `tc` (iproute2)")
    for number in STOPPING:
        signal.signal(number, stop)

    cores = len(os.sched_getaffinity(0))
    print(
        f"TensorFlow {TF_VERSION}, Horovod {horovod.__version__}, {cores} cores, L-SSPQ50 S1, "
        f"{args.pixels} px, batch {args.batch} a process, medians of {args.rounds}"
    )
    print("A step's seconds, measured and predicted, and predicted / measured:\n")
    print("run       processes  sent  fusion  Gbit/s  measured predicted ratio  within 15 %")
    bench = Bench(args.pixels, args.batch, args.rounds)
    print(f"\nwithin 15 %: {sum(r['met'] for r in bench.rows)} of {len(bench.rows)}")
    first, last = bench.schedule.tensors[0][0], bench.schedule.backward
    megabytes = bench.schedule.bytes / 1e6
    print(f"{megabytes:.1f} MB of gradients, ready after {first:.3f} to {last:.3f} s")
    for name, process in bench.processes.items():
        print(
            f"A process, {name}: {1e9 * process.copying:.2f} ns for a byte copied, "
            f"{1e9 * process.sending:.2f} ns for one sent, {1e6 * process.message:.0f} us for "
            "a message"
        )
    rows = list(table(bench, args.batch, args.latency * 1e-6))
    print_table(rows)
    if args.json:
        results = {"schedule": bench.schedule._asdict(), "runs": bench.rows, "table": rows}
        results["processes"] = {n: p._asdict() for n, p in bench.processes.items()}
        write_json(args.json, dict(vars(args), workers=WORKERS, **results))


if __name__ == "__main__":
    main()
