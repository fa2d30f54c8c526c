"""Measures images/s of L-SSPQ50 and ResNet50: a training step, and evaluation.

    python benchmarks/train.py [--threads 2] [--rounds 9] [--json FILE]

All networks are built by this package, run in one process on the same random images, and take
turns in every round, so that a busy machine slows all of them down. A ratio is the median over the
rounds of `other / this`, above 1 where this network is faster; beside that of wall time is that of
CPU time, which does not see idle cores, nor who else is at work on the machine.

    training    forward, backward, update of the variables and of the averages
    evaluation  up to the logits, weights quantized once, as the predictors and inference callbacks
                of sspq.training.inference do

    S1, S2      L-SSPQ50 with 4-bit weights, and activations of 32 and 8 bits
    float       the same graph in float32
    per batch   S2 in a graph that quantizes its weights whenever it runs
    (TF)        computed by TensorFlow's own batch normalization

The multiply-adds of ResNet50 and L-SSPQ50 are 4.1 G and 2.2 G, which makes 1.87 the ceiling of
what they alone could give. At the end a table says for every target whether it is met.
"""

import argparse
import contextlib
import statistics
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np
from tensorpack.tfutils.tower import TowerContext
from turns import Took, timed

import sspq
from sspq import files, oplib
from sspq.compat import TF_VERSION, tf
from sspq.graphs.quantized import quantize_once
from sspq.ops.choice import tensorflow_ops
from sspq.training.console import quieten
from sspq.training.session import keep_memory

SIZES = ((224, 8), (64, 32))  # (pixels, batch)
CLASSES = 1000

RESNET, S1, S2, FLOAT = "ResNet50", "L-SSPQ50 S1", "L-SSPQ50 S2", "L-SSPQ50 float"
PER_BATCH, RESNET_TF, S2_TF = "L-SSPQ50 S2 per batch", "ResNet50 (TF)", "L-SSPQ50 S2 (TF)"
SSPQ34 = "SSPQ34"  # S2, for CIFAR; in no table here

# Arguments of the model, whether its weights are quantized once, whether of TensorFlow's ops.
NETWORKS: Dict[str, Tuple[Dict[str, Any], bool, bool]] = {
    RESNET: (dict(mode="resnet"), True, False),
    S1: (dict(graph="resnet_model3"), True, False),
    S2: (dict(graph="resnet_model4"), True, False),
    FLOAT: (dict(bitw=32, bita=32), True, False),
    PER_BATCH: (dict(graph="resnet_model4"), False, False),
    RESNET_TF: (dict(mode="resnet"), True, True),
    S2_TF: (dict(graph="resnet_model4"), True, True),
    SSPQ34: (dict(bitw=8, bita=8), True, False),
}
# In the order in which they take turns: what is compared runs close together.
RUNS = {
    "training": (S1, RESNET, S2, S2_TF, RESNET_TF),
    "evaluation": (RESNET, S2, FLOAT, S1, PER_BATCH, S2_TF),
}
# As many rounds take about as long.
ROUNDS = {"training": 1, "evaluation": 4}
# (pass, other, this, relation, bound).
TARGETS = (
    ("training", RESNET, S1, ">=", 1.3),
    ("training", RESNET, S2, ">=", 1.3),
    ("evaluation", RESNET, S1, ">=", 1.4),
    ("evaluation", RESNET, S2, ">=", 1.4),
    ("evaluation", S1, FLOAT, "<=", 1.02),
    ("evaluation", S2, FLOAT, "<=", 1.02),
)


def model_of(name: str, size: int) -> Any:
    arguments = NETWORKS[name][0]
    if name == SSPQ34:
        return sspq.CifarSSPQ34(**arguments)
    return sspq.ImageNetSSPQ(image_size=size, num_classes=CLASSES, **arguments)


def config(threads: int) -> Any:
    """Of a session, in a process that treats its memory as training does."""
    keep_memory()
    return tf.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)


class Network:
    """One network, to train or to evaluate, in a session of its own."""

    def __init__(self, name: str, passes: str, size: int, batch: int, threads: int) -> None:
        _, once, only_tensorflow = NETWORKS[name]
        model = model_of(name, size)
        with contextlib.ExitStack() as stack:
            stack.enter_context(tf.Graph().as_default())
            tf.set_random_seed(0)
            if only_tensorflow:
                stack.enter_context(tensorflow_ops())
            weights = stack.enter_context(quantize_once()) if once else None
            batch_of = _images(model, batch)
            training = passes == "training"
            with TowerContext("", is_training=training):
                cost = model.build_graph(*batch_of)
            self._op = _step(model, cost) if training else _tensor("logits").op
            self._session = tf.Session(config=config(threads))
            self._session.run(tf.global_variables_initializer())
            if weights is not None:
                weights.refresh(self._session)

    def run(self, **options: Any) -> Took:
        """One step; ``options`` are those of ``tf.Session.run``."""
        return timed(lambda: self._session.run(self._op, **options))

    def close(self) -> None:
        self._session.close()


def _images(model: Any, batch: int) -> List[Any]:
    image, label = model.inputs()
    rng = np.random.RandomState(0)
    images = rng.randint(0, 256, [batch] + image.shape.as_list()[1:])
    labels = rng.randint(0, model.num_classes, [batch])
    return [
        tf.get_variable(
            name, initializer=value.astype(spec.dtype.as_numpy_dtype), trainable=False
        ).value()
        for name, spec, value in (("images", image, images), ("labels", label, labels))
    ]


def _step(model: Any, cost: Any) -> Any:
    optimizer = model.optimizer()
    gradients = optimizer.compute_gradients(cost)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        return optimizer.apply_gradients(gradients)


def _tensor(name: str) -> Any:
    return tf.get_default_graph().get_tensor_by_name(name + ":0")


def measure(passes: str, size: int, batch: int, threads: int, rounds: int) -> Dict[str, List[Took]]:
    """What every network takes, one entry a round."""
    networks = {n: Network(n, passes, size, batch, threads) for n in RUNS[passes]}
    took: Dict[str, List[Took]] = {name: [] for name in networks}
    for number in range(rounds * ROUNDS[passes] + 1):
        for name, network in networks.items():
            one = network.run()
            if number:  # the first round warms up
                took[name].append(one)
    for network in networks.values():
        network.close()
    return took


def ratio(other: List[Took], this: List[Took], what: str) -> float:
    return statistics.median(getattr(o, what) / getattr(t, what) for o, t in zip(other, this))


def rows_of(
    passes: str, size: int, batch: int, took: Dict[str, List[Took]]
) -> Iterator[Dict[str, Any]]:
    for name, own in took.items():
        yield {
            "pass": passes,
            "size": size,
            "batch": batch,
            "network": name,
            "images_per_second": batch / statistics.median(t.wall for t in own),
            "cpu_ms_per_image": 1e3 * statistics.median(t.cpu for t in own) / batch,
            "resnet50_over_this": {w: ratio(took[RESNET], own, w) for w in Took._fields},
        }


def targets_of(
    passes: str, size: int, batch: int, took: Dict[str, List[Took]]
) -> Iterator[Dict[str, Any]]:
    for target_passes, other, this, relation, bound in TARGETS:
        if target_passes == passes:
            measured = {w: ratio(took[other], took[this], w) for w in Took._fields}
            met = measured["wall"] >= bound if relation == ">=" else measured["wall"] <= bound
            yield {
                "what": f"{passes}, {size} px, batch {batch}: {other} / {this}",
                "measured": measured,
                "relation": relation,
                "bound": bound,
                "met": met,
            }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2, help="number of threads (default: 2)")
    parser.add_argument(
        "--rounds", type=int, default=9, help="number of rounds of training steps (default: 9)"
    )
    parser.add_argument("--json", help="file that rows and targets are written to, too")
    args = parser.parse_args()
    quieten()

    print(
        f"TensorFlow {TF_VERSION}, {args.threads} threads, medians of {args.rounds} rounds "
        f"(evaluation: {args.rounds * ROUNDS['evaluation']}), CPU kernels: "
        f"{oplib.cpu_versions()[0]}"
    )
    print(
        f"{'pass':<11} {'network':<22} {'px':>4} {'batch':>6} {'images/s':>9} {'CPU ms':>9} "
        f"{'ResNet50/':>10} {'of CPU':>7}"
    )
    rows: List[Dict[str, Any]] = []
    targets: List[Dict[str, Any]] = []
    for size, batch in SIZES:
        for passes in RUNS:
            took = measure(passes, size, batch, args.threads, args.rounds)
            targets += targets_of(passes, size, batch, took)
            for row in rows_of(passes, size, batch, took):
                rows.append(row)
                ratio = row["resnet50_over_this"]
                print(
                    f"{row['pass']:<11} {row['network']:<22} {row['size']:4} {row['batch']:6} "
                    f"{row['images_per_second']:9.1f} {row['cpu_ms_per_image']:9.1f}"
                    f"{ratio['wall']:11.2f} {ratio['cpu']:7.2f}",
                    flush=True,
                )
    print(f"\n{'':<66} {'measured':>8} {'of CPU':>7} {'target':>9}")
    for target in targets:
        print(
            f"{target['what']:<66} {target['measured']['wall']:8.2f} "
            f"{target['measured']['cpu']:7.2f}  {target['relation']} {target['bound']:5.2f}  "
            f"{'met' if target['met'] else 'NOT MET'}"
        )
    if args.json:
        files.write_json(
            args.json,
            {"threads": args.threads, "rounds": args.rounds, "rows": rows, "targets": targets},
        )


if __name__ == "__main__":
    main()
