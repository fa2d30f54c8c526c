"""Measures L-SSPQ50 beside PyTorch's ResNet50: a training step, and evaluation.

    python benchmarks/peers.py [--threads 2] [--rounds 9] [--python PYTHON] [--json FILE]

PyTorch runs in an environment of its own, of the version in requirements/peers.txt, which the first
call makes: see scripts/setup_peers.sh, which also tells how to choose its Python and the index that
it comes from. Each library has a process of its own; one works while the other waits, and all
networks take turns in every round, so that a busy machine slows all of them down. A ratio is the
median over the rounds of `PyTorch's ResNet50 / this`, above 1 where this network is faster; beside
that of wall time is that of CPU time, which does not see idle cores.

    training    forward, backward, update of the variables and of the averages
    evaluation  up to the logits; this package's weights quantized once. PyTorch's network is run
                eagerly and frozen (torch.jit.freeze of a trace), and the faster one counts

The networks of this package are those of train.py; SSPQ34 computes with 8-bit weights and
activations. PyTorch's ResNet50 is version 1.5, channels last, trained by SGD with Nesterov momentum
and weight decay (peers_torch.py).

The share of the machine is the multiply-adds a second of a step over those of one large float32
MatMul that takes its turn in the same process; training counts three times those of the forward
pass. At the end a table says for every target whether it is met.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

from peers_sspq import MATMUL
from train import RESNET, ROUNDS, S1, S2, SIZES, SSPQ34, ratio
from turns import Took, Worker, positive

from sspq import files

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# What PyTorch's process calls its steps.
EAGER, FROZEN = "ResNet50 (PyTorch)", "ResNet50 (PyTorch frozen)"
TORCH = {EAGER: "eager", FROZEN: "frozen"}
# In the order in which they take turns: what is compared runs close together.
RUNS = {
    "training": (RESNET, S1, EAGER, S2, MATMUL),
    "evaluation": (RESNET, S1, EAGER, S2, FROZEN, MATMUL),
}
WARM_UP = 2  # rounds; the runtime of traces optimizes them in the first ones


class Case(NamedTuple):
    """What runs in turns."""

    passes: str
    size: int
    batch: int
    networks: Any


CASES = [
    Case(passes, size, batch, networks)
    for size, batch in SIZES
    for passes, networks in RUNS.items()
] + [Case("training", 32, 128, (SSPQ34, MATMUL))]


class Target(NamedTuple):
    """A bound on a figure of L-SSPQ50 S2; the aim is what it might reach beyond that."""

    figure: str
    passes: str
    size: int
    bound: float
    aim: Optional[float] = None


SPEED, SHARE = "pytorch_over_this", "share_of_matmul"
WHAT = {SPEED: f"{EAGER} / {S2}", SHARE: f"{S2}, share of the machine"}
TARGETS = (
    Target(SPEED, "training", 64, 1.87),
    Target(SPEED, "training", 224, 1.65, 1.87),
    Target(SPEED, "evaluation", 224, 1.5),
    Target(SHARE, "training", 64, 0.55),
    Target(SHARE, "training", 224, 0.55),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds those of every benchmark that runs beside PyTorch."""
    parser.add_argument(
        "--threads", type=positive, default=2, help="number of threads (default: 2)"
    )
    parser.add_argument(
        "--python",
        default="",
        help="interpreter that has PyTorch, instead of making an environment",
    )
    parser.add_argument("--json", help="file for what is printed, beside the tables")


def torch_python(given: str) -> str:
    """The interpreter that runs PyTorch, the one given or that of the environment made for it."""
    if given:
        if shutil.which(given) is None:
            raise SystemExit(f"--python {given}: there is no such program")
        return given
    script = os.path.join(ROOT, "scripts", "setup_peers.sh")
    done = subprocess.run(["bash", script], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit("PyTorch's environment could not be made: the reason is above")
    return done.stdout.strip()


def workers_of(case: Case, python: str, threads: int) -> Dict[str, Worker]:
    """The process that runs each network."""
    arguments = [case.passes, case.size, case.batch, threads]
    own = [n for n in case.networks if n not in TORCH]
    others = [n for n in case.networks if n in TORCH]
    workers = dict.fromkeys(own, Worker(sys.executable, "peers_sspq.py", arguments + own))
    if others:
        steps = [TORCH[n] for n in others]
        workers.update(dict.fromkeys(others, Worker(python, "peers_torch.py", arguments + steps)))
    return workers


def measure(case: Case, workers: Dict[str, Worker], rounds: int) -> Dict[str, List[Took]]:
    """What every network takes, one entry a round."""
    took: Dict[str, List[Took]] = {name: [] for name in case.networks}
    for number in range(rounds + WARM_UP):
        for name in case.networks:
            one = workers[name].run(TORCH.get(name, name))
            if number >= WARM_UP:
                took[name].append(one)
    return took


def rows_of(
    case: Case, took: Dict[str, List[Took]], work: Dict[str, int]
) -> Iterator[Dict[str, Any]]:
    peers = [took[n] for n in case.networks if n in TORCH]
    peer = min(peers, key=lambda t: statistics.median(one.wall for one in t), default=None)
    for name in case.networks:
        if name == MATMUL:
            continue
        own = took[name]
        row: Dict[str, Any] = {"pass": case.passes, "size": case.size, "batch": case.batch}
        row["network"] = name
        row["images_per_second"] = case.batch / statistics.median(t.wall for t in own)
        row["cpu_ms_per_image"] = 1e3 * statistics.median(t.cpu for t in own) / case.batch
        if peer:
            row[SPEED] = {w: ratio(peer, own, w) for w in Took._fields}
        if name in work:
            rate = work[name] / work[MATMUL]
            row[SHARE] = {w: rate * ratio(took[MATMUL], own, w) for w in Took._fields}
        yield row


def targets_of(rows: List[Dict[str, Any]]) -> Iterator[Dict[str, Any]]:
    found = {(row["pass"], row["size"], row["network"]): row for row in rows}
    for target in TARGETS:
        row = found[target.passes, target.size, S2]
        yield {
            "what": (
                f"{target.passes}, {target.size} px, batch {row['batch']}: "
                f"{WHAT[target.figure]}"
            ),
            "measured": row[target.figure],
            "bound": target.bound,
            "aim": target.aim,
            "met": row[target.figure]["wall"] >= target.bound,
        }


def show(row: Dict[str, Any]) -> None:
    print(
        f"{row['pass']:<11} {row['network']:<26} {row['size']:4} {row['batch']:6} "
        f"{row['images_per_second']:9.1f} {row['cpu_ms_per_image']:9.1f}",
        end="",
    )
    for figure in (SPEED, SHARE):
        ratio = row.get(figure)
        print(f"{ratio['wall']:11.2f} {ratio['cpu']:7.2f}" if ratio else " " * 19, end="")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument(
        "--rounds", type=positive, default=9, help="number of rounds of training steps (default: 9)"
    )
    args = parser.parse_args()
    python = torch_python(args.python)

    rows: List[Dict[str, Any]] = []
    versions: Dict[str, str] = {}
    for case in CASES:
        workers = workers_of(case, python, args.threads)
        if not rows:
            versions = {
                w: workers[n].facts["version"] for w, n in (("TensorFlow", S2), ("PyTorch", EAGER))
            }
            print(
                f"TensorFlow {versions['TensorFlow']}, PyTorch {versions['PyTorch']}, "
                f"{args.threads} threads, medians of {args.rounds} rounds (evaluation: "
                f"{args.rounds * ROUNDS['evaluation']}), CPU kernels: "
                f"{workers[S2].facts['kernels']}"
            )
            columns = ("px", "batch", "images/s", "CPU ms", "PyTorch/", "of CPU", "share", "of CPU")
            head = "%-11s %-26s %4s %6s %9s %9s %10s %7s %10s %7s"
            print(head % (("pass", "network") + columns))
        took = measure(case, workers, args.rounds * ROUNDS[case.passes])
        for row in rows_of(case, took, workers[MATMUL].facts["multiply_adds"]):
            rows.append(row)
            show(row)
        for worker in set(workers.values()):
            worker.close()
    targets = list(targets_of(rows))
    print(f"\n{'':<72} {'measured':>8} {'of CPU':>7} {'target':>8} {'aim':>14}")
    for target in targets:
        aim = f"{target['aim']:.2f}" if target["aim"] else ""
        print(
            f"{target['what']:<72} {target['measured']['wall']:8.2f} "
            f"{target['measured']['cpu']:7.2f}  >= {target['bound']:4.2f}  "
            f"{'met' if target['met'] else 'NOT MET':<7} {aim:>6}"
        )
    if args.json:
        files.write_json(
            args.json,
            {
                "versions": versions,
                "threads": args.threads,
                "rounds": args.rounds,
                "rows": rows,
                "targets": targets,
            },
        )


if __name__ == "__main__":
    main()
