"""Times exported networks in ONNX Runtime: float32 and 8-bit integers, batch 1 and 8.

    python benchmarks/deploy.py [--threads 2] [--rounds 20] [--folder F] [--json FILE]

L-SSPQ50, SSPQ34 and ResNet50 are exported by this package, with random weights; MobileNetV2 is
written as an ONNX graph (mobilenet_v2.py), also with random weights: the speed does not depend on
their values. All run in one process and take turns in every round, so that a busy machine slows all
of them down. A ratio is the median over the rounds of `ResNet50 / this`, above 1 where this network
is faster; SSPQ34 has none, as its images have 32 pixels instead of 224.

    float32     as `sspq export` writes it: batch normalization and clip are fused by the runtime
    int8        as `sspq export --int8` writes it: static, a scale for each output of a kernel,
                calibrated on crops of two photographs that come with scikit-learn

    S1, S2      activations of 32 and of 8 bits. S2 in float32 rounds activations op by op: a
                simulation, not a way to deploy it. In int8 the rounding costs nothing

Multiply-adds of an image: ResNet50 4.1 G, L-SSPQ50 2.19 G, MobileNetV2 0.30 G. MB are 10**6 bytes.
At the end a table says for every target whether it is met.
"""

import argparse
import os
import statistics
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple

import cv2
import numpy as np
import onnxruntime
from mobilenet_v2 import mobilenet_v2
from sklearn.datasets import load_sample_images

from sspq import files, models
from sspq.analysis.layers import inference_graph
from sspq.checkpoints.source import Checkpoint
from sspq.compat import tf
from sspq.export.onnx import graph as onnx_graph
from sspq.export.onnx import int8 as onnx_int8
from sspq.export.onnx.builder import write_model
from sspq.export.packed.container import Packed
from sspq.export.packed.pack import pack
from sspq.training.console import quieten

BATCHES = (1, 8)
IMAGES = {224: 8, 32: 128}  # in a turn, by pixels, whatever the batch
CALIBRATION = 32
FLOAT, INT8 = "float32", "int8"

RESNET, S1, S2, MOBILENET = "ResNet50", "L-SSPQ50 S1", "L-SSPQ50 S2", "MobileNetV2"
SSPQ34_S1, SSPQ34_S2 = "SSPQ34 S1", "SSPQ34 S2"
# Name and settings of sspq.models.build.
NETWORKS: Dict[str, Any] = {
    RESNET: ("resnet50", {}),
    S1: ("lspq50", {"bita": 32}),
    S2: ("lspq50", {"bita": 8}),
    SSPQ34_S1: ("sspq34", {"bita": 32}),
    SSPQ34_S2: ("sspq34", {"bita": 8}),
}
# What is compared runs close together.
RUNS = (
    (RESNET, FLOAT),
    (S1, FLOAT),
    (S2, FLOAT),
    (RESNET, INT8),
    (S2, INT8),
    (MOBILENET, FLOAT),
    (MOBILENET, INT8),
    (SSPQ34_S1, FLOAT),
    (SSPQ34_S2, INT8),
)
# (network, precision): ResNet50's time over its own, at least.
TARGETS = ((S1, FLOAT, 1.3), (S2, INT8, 1.0))


class Run(NamedTuple):
    """A network in one precision and batch size, ready to run."""

    network: str
    precision: str
    batch: int
    megabytes: float
    px: int
    infer: Callable[[], Any]


def crops(size: int, dtype: Any) -> np.ndarray:
    """Random squares of scikit-learn's two photographs, BGR, of at least half their height."""
    photographs = load_sample_images().images
    rng = np.random.RandomState(0)
    batch = []
    for i in range(CALIBRATION):
        photograph = photographs[i % len(photographs)]
        height, width, _ = photograph.shape
        edge = rng.randint(height // 2, height + 1)
        top, left = rng.randint(height - edge + 1), rng.randint(width - edge + 1)
        square = photograph[top : top + edge, left : left + edge, ::-1]
        batch.append(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA))
    return np.stack(batch).astype(dtype)


def random_weights(name: str, **settings: Any) -> Packed:
    """A network as it is when training starts."""
    model = models.build(name, **settings)
    graph = inference_graph(model)
    with tempfile.TemporaryDirectory() as folder, graph.as_default(), tf.Session() as sess:
        prefix = os.path.join(folder, "model-1")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, prefix, write_meta_graph=False)
        return pack(Checkpoint(model, prefix, None))


def export(network: str, precision: str, path: str) -> None:
    """Writes a network's file."""
    if network == MOBILENET:
        model = mobilenet_v2()
        if precision == INT8:
            model = onnx_int8.quantize(model, [crops(224, np.uint8)], {"model": network})
        write_model(path, model)
        return
    name, settings = NETWORKS[network]
    packed = random_weights(name, **settings)
    if precision == FLOAT:
        onnx_graph.save(path, packed)
        return
    spec = models.rebuild(packed.model).inputs()[0]
    images = crops(spec.shape.as_list()[1], spec.dtype.as_numpy_dtype)
    onnx_int8.save_int8(path, packed, [images])


def runs_of(folder: str, threads: int) -> Iterator[Run]:
    """All networks in all batch sizes; files that are in the folder already are used."""
    for network, precision in RUNS:
        path = os.path.join(folder, f"{network} {precision}.onnx")
        if not os.path.exists(path):
            export(network, precision, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        image = session.get_inputs()[0]
        px = image.shape[1]
        images = crops(px, np.uint8 if image.type == "tensor(uint8)" else np.float32)
        for batch in BATCHES:
            feed = {image.name: images[:batch]}

            def infer(session: Any = session, feed: Any = feed) -> Any:
                return session.run(None, feed)

            yield Run(network, precision, batch, os.path.getsize(path) / 1e6, px, infer)


def measure(runs: List[Run], rounds: int) -> List[List[float]]:
    """Seconds of an image for each run, one entry a round."""
    seconds: List[List[float]] = [[] for _ in runs]
    for number in range(rounds + 1):
        for run, own in zip(runs, seconds):
            run.infer()  # meanwhile the threads of the one before it come to rest
            start = time.perf_counter()
            for _ in range(IMAGES[run.px] // run.batch):
                run.infer()
            if number:  # the first round warms up
                own.append((time.perf_counter() - start) / IMAGES[run.px])
    return seconds


def rows_of(runs: List[Run], seconds: List[List[float]]) -> Iterator[Dict[str, Any]]:
    resnets = {r[1:3]: own for r, own in zip(runs, seconds) if r.network == RESNET}
    for run, own in zip(runs, seconds):
        row = {name: getattr(run, name) for name in Run._fields if name != "infer"}
        row["images_per_second"] = 1 / statistics.median(own)
        if run.px == 224:
            row["resnet50_over_this"] = statistics.median(
                resnet / this for resnet, this in zip(resnets[run[1:3]], own)
            )
        yield row


def targets_of(rows: List[Dict[str, Any]]) -> Iterator[Dict[str, Any]]:
    for network, precision, bound in TARGETS:
        for row in rows:
            if (row["network"], row["precision"]) == (network, precision):
                measured = row["resnet50_over_this"]
                yield {
                    "what": f"{precision}, batch {row['batch']}: {RESNET} / {network}",
                    "measured": measured,
                    "bound": bound,
                    "met": measured >= bound,
                }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2, help="number of threads (default: 2)")
    parser.add_argument("--rounds", type=int, default=20, help="number of rounds (default: 20)")
    parser.add_argument(
        "--folder", help="folder of exported files: those that are there are used, the others kept"
    )
    parser.add_argument("--json", help="file that rows and targets are written to, too")
    args = parser.parse_args()
    quieten()

    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or temporary
        os.makedirs(folder, exist_ok=True)
        runs = list(runs_of(folder, args.threads))
        rows = list(rows_of(runs, measure(runs, args.rounds)))
    print(
        f"ONNX Runtime {onnxruntime.__version__}, {args.threads} threads, medians of "
        f"{args.rounds} rounds"
    )
    print(
        f"{'network':<12} {'precision':<9} {'MB':>7} {'px':>4} {'batch':>5} {'images/s':>9} "
        f"{'ResNet50/':>10}"
    )
    for row in rows:
        ratio = row.get("resnet50_over_this")
        print(
            f"{row['network']:<12} {row['precision']:<9} {row['megabytes']:7.2f} {row['px']:4} "
            f"{row['batch']:5} {row['images_per_second']:9.1f}"
            + (f" {ratio:10.2f}" if ratio else "")
        )
    targets = list(targets_of(rows))
    print(f"\n{'':<42} {'measured':>8} {'target':>9}")
    for target in targets:
        print(
            f"{target['what']:<42} {target['measured']:8.2f}  >= {target['bound']:5.2f}  "
            + ("met" if target["met"] else "NOT MET")
        )
    if args.json:
        files.write_json(
            args.json,
            {"threads": args.threads, "rounds": args.rounds, "rows": rows, "targets": targets},
        )


if __name__ == "__main__":
    main()
