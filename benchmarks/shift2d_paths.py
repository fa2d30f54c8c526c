"""What each path of shift2d's CPU kernels is good for, and what another checkout's kernels take.

    python benchmarks/shift2d_paths.py [--threads 2] [--rounds 9] [--other FOLDER] [--json FILE]

For every path of ``custom_ops/shift2d/cpu/paths.h``, on the shapes of ``shift2d.py`` that take it:
the time of the kernels, alone, without the path, which then goes by the next row that fits, over
their time with it. With ``--other``, for both layouts, the time of the kernels of another checkout
over the time of this one's. The two programs run in turn; a row gives the median of three ratios
of their fastest rounds.
"""

import argparse
import json
import statistics
from typing import Dict, List, Tuple

from kernels_alone import LAYOUTS, Program
from shift2d_shapes import SHAPES

NEAR, FAR = 0.99, 3.0  # reach of the shifts, in pixels

# (path, pass, the strides that take it, and the reach of the shifts)
PATHS = [
    ("Window", "Forward", (1,), NEAR),
    ("Strided", "Forward", (2,), NEAR),
    ("Shifter", "Forward", (1, 2), FAR),
    ("Window", "Backward", (1, 2), NEAR),
    ("Shifter", "Backward", (1, 2), FAR),
]


def ratios(other, own, shape, reach, times=3):
    """Times of ``other`` over those of ``own`` by layout and pass."""
    found: Dict[Tuple[str, str], List[float]] = {}
    for _ in range(times):
        a, b = other.seconds(shape, reach), own.seconds(shape, reach)
        for layout in LAYOUTS:
            for passes in ("forward", "backward"):
                ratio = min(a[layout, passes]) / min(b[layout, passes])
                found.setdefault((layout, passes), []).append(ratio)
    return {key: statistics.median(values) for key, values in found.items()}


def named(shape):
    return dict(zip(("network", "batch", "channels", "size", "stride"), shape))


def shown(row, title):
    network, batch, channels, size, stride = row_key(row)
    print(
        f"{title:<28} {network:<9} {batch:4d} x {channels:4d} x {size:2d} / {stride}  "
        f"{row['reach']:4.2f}  "
        + "  ".join(f"{row[key]:5.2f}" for key in row if key.startswith("N") or key == "ratio"),
        flush=True,
    )
    return row


def row_key(row):
    return tuple(row[k] for k in ("network", "batch", "channels", "size", "stride"))


def without(threads, rounds):
    """Rows of the kernels without each path, NHWC."""
    own = Program(threads, rounds)
    print("\nwithout a path over with it, NHWC")
    for path, passes, strides, reach in PATHS:
        flags = f"-DSSPQ_SHIFT2D_WITHOUT=k{path}", f"-DSSPQ_SHIFT2D_WITHOUT_IN=k{passes}"
        other = Program(threads, rounds, flags)
        for shape in SHAPES:
            if shape[-1] not in strides:
                continue
            ratio = ratios(other, own, shape[1:], reach)["NHWC", passes.lower()]
            row = dict(named(shape), path=path.lower(), reach=reach, ratio=ratio)
            row["pass"] = passes.lower()
            yield shown(row, f"{path.lower()}, {passes.lower()}")


def against(folder, threads, rounds):
    """Rows of the kernels of another checkout, by layout and pass."""
    own, other = Program(threads, rounds), Program(threads, rounds, root=folder)
    print("\nthe other checkout over this one: NHWC forward, backward; NCHW forward, backward")
    for shape in SHAPES:
        for reach in (NEAR, FAR):
            row = dict(named(shape), reach=reach)
            for (layout, passes), ratio in ratios(other, own, shape[1:], reach).items():
                row[f"{layout} {passes}"] = ratio
            yield shown(row, "other")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2, help="number of threads (default: 2)")
    parser.add_argument("--rounds", type=int, default=9, help="number of rounds (default: 9)")
    parser.add_argument("--other", metavar="FOLDER", help="folder of another checkout")
    parser.add_argument("--json", metavar="FILE", help="file that all rows are written to, too")
    args = parser.parse_args()
    result = {"without": list(without(args.threads, args.rounds))}
    if args.other:
        result["other"] = list(against(args.other, args.threads, args.rounds))
    if args.json:
        with open(args.json, "w") as f:
            json.dump(result, f, indent=1)


if __name__ == "__main__":
    main()
