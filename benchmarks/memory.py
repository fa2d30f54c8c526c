"""Measures the memory of a training step by batch: L-SSPQ50 and ResNet50, and PyTorch's ResNet50.

    python benchmarks/memory.py [--size 64 224] [--threads 2] [--repeats 3] [--python PYTHON]
        [--json FILE]

Every figure is the median over processes of their own that take three steps: how far they drive the
peak of resident memory (VmHWM) above what the process held before the first one, with its libraries
and variables. What malloc keeps differs from one process to the next, by up to a tenth.
Megabytes an image are the slope over the batches, which leaves out what a step needs whatever its
batch, such as gradients. PyTorch's ResNet50 and its environment are those of peers.py; the slope
over PyTorch's should be 1.1 at most.
"""

import argparse
import statistics
import sys
from typing import Any, Dict, List

import numpy as np
from peers import EAGER, TORCH, add_options, torch_python
from train import RESNET, S2
from turns import Worker, forget_peak, megabytes, positive

from sspq import files

BATCHES = {64: (32, 64, 128, 256), 224: (8, 16, 32)}
NETWORKS = (S2, RESNET, EAGER)
STEPS = 3
BOUND = 1.1


def peak(network: str, size: int, batch: int, threads: int, python: str) -> float:
    """Megabytes beside what the process holds before the first step."""
    if network in TORCH:
        interpreter, script, step = python, "peers_torch.py", TORCH[network]
    else:
        interpreter, script, step = sys.executable, "peers_sspq.py", network
    worker = Worker(interpreter, script, ["training", size, batch, threads, step])
    before = megabytes("VmRSS", worker.process)
    forget_peak(worker.process)
    for _ in range(STEPS):
        worker.run(step)
    above = megabytes("VmHWM", worker.process) - before
    worker.close()
    return above


def measure(size: int, threads: int, repeats: int, python: str) -> List[Dict[str, Any]]:
    """One row a network."""
    rows = []
    for network in NETWORKS:
        peaks = {
            b: statistics.median(peak(network, size, b, threads, python) for _ in range(repeats))
            for b in BATCHES[size]
        }
        slope = float(np.polyfit(list(peaks), list(peaks.values()), 1)[0])
        rows.append({"size": size, "network": network, "peak_mb": peaks, "mb_per_image": slope})
    for row in rows:
        row["over_pytorch"] = row["mb_per_image"] / rows[NETWORKS.index(EAGER)]["mb_per_image"]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs="+",
        choices=BATCHES,
        default=list(BATCHES),
        help="pixels (default: 64 and 224)",
    )
    add_options(parser)
    parser.add_argument(
        "--repeats", type=positive, default=3, help="number of processes for a figure (default: 3)"
    )
    args = parser.parse_args()
    python = torch_python(args.python)

    rows: List[Dict[str, Any]] = []
    for size in args.size:
        batches = BATCHES[size]
        print(f"peak of a training step, MB, {size} px, {args.threads} threads")
        columns = [f"batch {b}" for b in batches] + ["an image", "/ PyTorch"]
        print(f"{'network':<20}" + "".join(f"{c:>11}" for c in columns))
        for row in measure(size, args.threads, args.repeats, python):
            rows.append(row)
            print(f"{row['network']:<20}", end="")
            print("".join(f"{row['peak_mb'][b]:11.0f}" for b in batches), end="")
            print(f"{row['mb_per_image']:11.2f}{row['over_pytorch']:11.2f}", end="")
            print(
                ""
                if row["network"] == EAGER
                else "  met"
                if row["over_pytorch"] <= BOUND
                else "  NOT MET"
            )
    if args.json:
        files.write_json(
            args.json, {"threads": args.threads, "repeats": args.repeats, "rows": rows}
        )


if __name__ == "__main__":
    main()
