"""Kills a demo at random moments with SIGKILL and restarts it, until it has survived enough.

    python tests/kill_demo.py [--chain SLQ.sh] [--kills 10] [--seed 0] [--log DIR] [--reference DIR]

Every second kill hits the shell script alone, the others the script and all its children. At the
end the chain must have finished, with whole checkpoints and one history row per epoch; with
--reference, the log folder of an undisturbed demo, its weights and figures must be equal to the
bit. Exit status 0 if so. Takes two to three times as long as the demo.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

from sspq import checkpoints
from sspq.compat import tf
from sspq.runs import history

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
# Of each chain's demo: its steps, epochs in all, and what it leaves beside the steps' folders.
CHAINS = {
    "SSQ_cifar100_TS.sh": (("s1", "s2"), 15, ("report.json", "curves.png")),
    "TS.sh": (("s1", "s2"), 8, ("report.json", "curves.png")),
    "SLQ.sh": (
        ("float32", "slq"),
        40,
        ("report.json", "stages.png", "layers", "model.sspq.safetensors"),
    ),
}


def start(chain, log, out):
    command = ["bash", os.path.join(ROOT, chain), "--demo", "--log", log]
    return subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)


def epochs_done(chain, log):
    return [len(history.read(os.path.join(log, step))) for step in CHAINS[chain][0]]


def wait_for_moment(process, chain, log, epoch, delay):
    """Waits until ``epoch`` epochs are done in all, and then for ``delay`` seconds."""
    while process.poll() is None and sum(epochs_done(chain, log)) < epoch:
        time.sleep(0.1)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        pass


def survive(chain, log, kills, rng):
    """Runs the chain with ``kills`` kills; returns its last exit status."""
    # Spread over the whole run; the delay reaches from within an epoch into the next, start-up,
    # evaluation and saving included.
    epochs = sorted(rng.randrange(CHAINS[chain][1]) for _ in range(kills))
    with open(os.path.join(log, "output.txt"), "wb") as out:
        for k, epoch in enumerate(epochs):
            process = start(chain, log, out)
            wait_for_moment(process, chain, log, epoch, rng.uniform(0, 20))
            if process.returncode is not None:
                print(f"kill {(k + 1):2d}: came too late, the chain had ended", flush=True)
                return process.returncode
            alone = k % 2 == 0
            (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
            process.wait()
            print(
                (
                    f"kill {k + 1:2d}, {'script alone' if alone else 'all'}: epochs done of "
                    f"{dict(zip(CHAINS[chain][0], epochs_done(chain, log)))}"
                ),
                flush=True,
            )
        return start(chain, log, out).wait()


def figures(folder):
    """What a finished step measured, without times."""
    rows = history.read(folder)
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def weights(folder):
    reader = tf.train.NewCheckpointReader(checkpoints.resolve(folder))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def problems(chain, log, reference):
    """What is wrong with the result, as lines of text."""
    steps, _, results = CHAINS[chain]
    for step in steps:
        folder = os.path.join(log, step)
        with open(os.path.join(folder, "report.json")) as f:
            report = json.load(f)
        epochs = [int(row["epoch"]) for row in figures(folder)]
        if epochs != list(range(1, report["epochs"] + 1)):
            yield f"{step}: history has epochs {epochs}"
        for prefix in checkpoints.prefixes(folder):
            if checkpoints.damage(prefix):
                yield f"{step}: {checkpoints.damage(prefix)}"
        if reference:
            other = os.path.join(reference, step)
            if figures(folder) != figures(other):
                yield f"{step}: figures differ from the undisturbed run"
            ours, theirs = weights(folder), weights(other)
            different = [n for n in theirs if not np.array_equal(ours.get(n), theirs[n])]
            if different or set(ours) != set(theirs):
                yield f"{step}: {len(different)} variables differ"
    for name in results:
        if not os.path.exists(os.path.join(log, name)):
            yield f"{name} is missing"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chain", choices=sorted(CHAINS), default="SSQ_cifar100_TS.sh")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--log", default=os.path.join(ROOT, "train_log", "killed"))
    parser.add_argument("--reference")
    args = parser.parse_args()
    shutil.rmtree(args.log, ignore_errors=True)
    os.makedirs(args.log)
    begin = time.time()
    status = survive(args.chain, args.log, args.kills, random.Random(args.seed))
    found = [f"exit status {status}, see output.txt"] if status else []
    if not found:
        found = list(problems(args.chain, args.log, args.reference))
    for line in found:
        print("PROBLEM", line)
    print(f"{'not valid' if found else 'valid'}, {time.time() - begin:.0f} s in all")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
