"""Times SLQ's k-means beside a plain loop over all distances and scikit-learn's KMeans.

    python benchmarks/slq.py [--weights 37748736] [--bits 5] [--rounds 3] [--json FILE]

The weights are normally distributed, as many as AlexNet's fc6 has; ten passes from the same initial
centres. The plain loop is C++ at -O2 on one thread (slq_plain.cc). scikit-learn's KMeans moves all
centres, SLQ and the plain loop all but zero. Everything runs once a round, in turn, so that a busy
machine slows all of it down; times are of choosing the clusters, with index and losses, without
the choice of initial centres.

Memory is how far clustering drives the peak of a process above what it held with the weights alone.
"""

import argparse
import ctypes
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from turns import forget_peak, megabytes

from sspq.files import write_json
from sspq.slq import cluster, initial_centres
from sspq.slq.clustering import PASSES

PLAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "slq_plain.cc")

SPEED = 12.0  # times as fast as the plain loop, at least
MEMORY = 200.0  # megabytes beside the weights, at most


class Result(NamedTuple):
    centres: np.ndarray
    index: np.ndarray


def make_weights(n: int) -> np.ndarray:
    rng = np.random.RandomState(0)
    weights = np.empty(n, np.float32)
    for begin in range(0, n, 1 << 20):
        part = weights[begin : begin + (1 << 20)]
        part[:] = rng.standard_normal(len(part)) * 0.01
    return weights


def plain_loop(folder: str) -> Callable[[np.ndarray, np.ndarray], Result]:
    path = os.path.join(folder, "libplain.so")
    cxx = os.environ.get("CXX", "g++").split()
    subprocess.run(cxx + ["-O2", "-shared", "-fPIC", PLAIN, "-o", path], check=True)
    kmeans = ctypes.CDLL(path).plain_kmeans
    kmeans.restype = None

    def run(weights: np.ndarray, centres: np.ndarray) -> Result:
        moved, index = centres.copy(), np.zeros(len(weights), np.uint8)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (weights, moved, index)]
        sizes = ctypes.c_int64(len(weights)), ctypes.c_int32(len(moved)), ctypes.c_int32(PASSES)
        kmeans(pointers[0], sizes[0], pointers[1], sizes[1], sizes[2], pointers[2])
        return Result(moved, index)

    return run


def ours(threads: Optional[int], implementation: str) -> Callable[..., Result]:
    def run(weights: np.ndarray, centres: np.ndarray) -> Result:
        os.environ["SSPQ_SLQ"] = implementation
        found = cluster(weights, centres, fixed=[0], threads=threads)
        return Result(found.centres, found.index)

    return run


def scikit_learn(threads: int) -> Callable[..., Result]:
    def run(weights: np.ndarray, centres: np.ndarray) -> Result:
        kmeans = KMeans(
            len(centres), init=centres[:, None], n_init=1, max_iter=PASSES, tol=0, algorithm="full"
        )
        with threadpool_limits(threads):
            kmeans.fit(weights[:, None])
        return Result(kmeans.cluster_centers_[:, 0], kmeans.labels_)

    return run


def memory(n: int, bits: int, implementation: str) -> float:
    """Megabytes that clustering takes beside the weights; to be called in a process of its own."""
    os.environ["SSPQ_SLQ"] = implementation
    weights = make_weights(n)
    few = weights[:1000]
    cluster(few, initial_centres(few, bits))
    forget_peak()
    before = megabytes("VmRSS")
    cluster(weights, initial_centres(weights, bits), fixed=[0])
    return megabytes("VmHWM") - before


def measure(
    candidates: Dict[str, Callable[..., Result]], weights: np.ndarray, bits: int, rounds: int
) -> Dict[str, Any]:
    """Seconds by candidate, a list of one a round, and the last results."""
    seconds: Dict[str, List[float]] = {name: [] for name in candidates}
    results: Dict[str, Result] = {}
    centres = initial_centres(weights, bits)
    for _ in range(rounds):
        for name, run in candidates.items():
            start = time.perf_counter()
            results[name] = run(weights, centres)
            seconds[name].append(time.perf_counter() - start)
    return {"seconds": seconds, "results": results}


def rows_of(seconds: Dict[str, List[float]], results: Dict[str, Result]) -> List[Dict[str, Any]]:
    plain = results["plain loop, 1 thread"]
    rows = []
    for name, took in seconds.items():
        ratios = [p / s for p, s in zip(seconds["plain loop, 1 thread"], took)]
        row: Dict[str, Any] = {"what": name, "seconds": statistics.median(took)}
        row["times_as_fast"] = statistics.median(ratios)
        if not name.startswith("scikit"):  # which moves zero
            apart = np.abs(results[name].centres - plain.centres) / np.abs(plain.centres).max()
            row["centres_apart"] = float(apart.max())
            row["indices_apart"] = int(np.count_nonzero(results[name].index != plain.index))
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights",
        type=int,
        default=4096 * 9216,
        help="number of weights (default: those of AlexNet's fc6)",
    )
    parser.add_argument("--bits", type=int, default=5, help="bits of a weight (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: 3)")
    parser.add_argument("--json", help="file that the rows are written to, too")
    args = parser.parse_args()

    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        memory_mb = {
            name: pool.apply(memory, (args.weights, args.bits, name))
            for name in ("native", "numpy")
        }
    weights = make_weights(args.weights)
    with tempfile.TemporaryDirectory() as folder:
        candidates: Dict[str, Callable[..., Result]] = {
            "plain loop, 1 thread": plain_loop(folder),
            "sspq, 1 thread": ours(1, "native"),
            "sspq, 2 threads": ours(2, "native"),
            "sspq in numpy": ours(1, "numpy"),
            "scikit-learn, 1 thread": scikit_learn(1),
            "scikit-learn, 2 threads": scikit_learn(2),
        }
        rows = rows_of(**measure(candidates, weights, args.bits, args.rounds))

    print(
        f"{args.weights} weights, {len(initial_centres(weights, args.bits))} centres, {PASSES} "
        f"passes, medians of {args.rounds} rounds"
    )
    print(f"{'':<24} {'seconds':>8} {'times as fast':>14} {'centres':>12} {'indices':>12}")
    for row in rows:
        print(f"{row['what']:<24} {row['seconds']:8.2f} {row['times_as_fast']:14.1f}", end="")
        if "centres_apart" in row:
            print(f" {row['centres_apart']:12.1e} {row['indices_apart']:12}", end="")
        print()
    for name, value in memory_mb.items():
        print(f"memory beside the weights, {name:<6} {value:4.0f} MB")
    took = {row["what"]: row for row in rows}
    one, two = took["sspq, 1 thread"]["times_as_fast"], took["sspq, 2 threads"]["times_as_fast"]
    for what, value, bound, met in (
        ("times as fast, 1 thread, at least", one, SPEED, one >= SPEED),
        ("2 threads against 1, more than", two / one, 1.0, two > one),
        ("megabytes, at most", memory_mb["native"], MEMORY, memory_mb["native"] <= MEMORY),
    ):
        print(f"{what:<34} {bound:6.1f} {value:8.2f}  {'met' if met else 'NOT MET'}")
    if args.json:
        write_json(
            args.json,
            {"weights": args.weights, "rounds": args.rounds, "rows": rows, "memory_mb": memory_mb},
        )


if __name__ == "__main__":
    main()
