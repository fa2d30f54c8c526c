"""Measures how many ILSVRC images per second the two data pipelines deliver.

    python benchmarks/dataflow.py [--data DIR] [--cores 2] [--rounds 7] [--json FILE]

Both pipelines of sspq.data run with the augmentation of training and without it, that is with the
resize and crop of validation. Beside them, on the same cores:

    decoding   nothing but the decoding of the same files, by the same decoder
    alone      decoding and augmentation, the results thrown away: no order, no batches and no
               transport from one process or thread to another
    kept       the pipeline's rate as a part of the rate alone, median over the rounds
    of CPU     the same of CPU time: that of decoding and augmentation alone as a part of what the
               pipeline takes. It does not see idle cores, nor who else is at work on the machine

Everything runs in turn in every round, so that a busy machine slows all of it down. Without --data
the images are cut out of the two photographs that come with scikit-learn, about 500x375.
"""

import argparse
import os
import statistics
import tempfile
import time
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np
import psutil
from sklearn.datasets import load_sample_images

from sspq.compat import TF_VERSION, tf
from sspq.data.ilsvrc import flow as imagenet_flow
from sspq.data.ilsvrc import scan, symbolic_image
from sspq.data.ilsvrc import symbolic as imagenet_symbolic
from sspq.data.ilsvrc import tree as imagenet
from sspq.data.ilsvrc.augment import RELEASED, Augmentation, Augmentor
from sspq.data.workers import Workers, available_cores
from sspq.files import write_json

BATCH = 32
SIZE = 224
CLASS = "n00000000"
AUGMENTATIONS = {"none": None, "released": RELEASED}

WHAT = ("decoding", "alone", "pipeline")

Key = Tuple[str, str, str]
Pass = Callable[[], None]  # over all images


class Took(NamedTuple):
    seconds: float
    cpu: float


def write_photographs(root: str, count: int) -> None:
    """A tree with ``count`` training images of photographic content and ILSVRC's usual sizes."""
    rng = np.random.RandomState(0)
    folder = os.path.join(root, "train", CLASS)
    os.makedirs(folder)
    photographs = [image[:, :, ::-1] for image in load_sample_images().images]
    for i in range(count):
        photograph = photographs[i % len(photographs)]
        height, width = rng.randint(300, 420), rng.randint(400, 600)
        top = rng.randint(photograph.shape[0] - height + 1)
        left = rng.randint(photograph.shape[1] - width + 1)
        image = photograph[top : top + height, left : left + width]
        cv2.imwrite(os.path.join(folder, f"{CLASS}_{i}.JPEG"), image)


class OpenCV:
    """Decodes, and augments if told so, one image as the DataFlow does."""

    def __init__(self, images: imagenet.Images, augmentor: Optional[Augmentor]) -> None:
        self._images = images
        self._augmentor = augmentor

    def __call__(self, index: int) -> None:
        image = imagenet_flow.decode(self._images.path(index))
        if self._augmentor is not None:
            self._augmentor(image, [0, 1, index])


class TensorFlow:
    """Does the same by TensorFlow's ops on one thread, in the session of its own process."""

    def __init__(self, images: imagenet.Images, load: Callable[[Any], Any]) -> None:
        self._images = images
        self._load = load
        self._run: Optional[Callable[[str], Any]] = None

    def __call__(self, index: int) -> None:
        if self._run is None:
            with tf.Graph().as_default():
                path = tf.placeholder(tf.string, [])
                self._run = tf.Session(config=config(1)).make_callable(self._load(path).op, [path])
        self._run(self._images.path(index))


def load_symbolically(path: Any, augmentation: Optional[Augmentation]) -> Any:
    image = symbolic_image.decode(path)
    if augmentation is None:
        return symbolic_image.resize(image, SIZE, *symbolic_image.centre(image, SIZE))
    key = tf.random.uniform([2], maxval=2**31, dtype=tf.int64)
    return symbolic_image.augment(image, SIZE, augmentation, key)


def config(cores: int) -> Any:
    # As tensorpack's sessions are: ops take one thread each.
    return tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=cores)


def in_processes(function: Callable[[int], None], count: int, cores: int) -> Pass:
    """Applies a function to the number of every image, in processes."""

    def some_of_them(indices: np.ndarray) -> None:
        for index in indices:
            function(index)

    workers = Workers(some_of_them, cores)
    tasks = np.array_split(np.arange(count), -(-count // BATCH))
    return lambda: drain(workers.map(tasks))


def flow_pass(images: imagenet.Images, augmentation: Optional[Augmentation], cores: int) -> Pass:
    """Takes one epoch's batches from a DataFlow."""
    flow = imagenet_flow.TrainFlow(images, BATCH, SIZE, augmentation=augmentation, processes=cores)
    flow.reset_state()
    return lambda: drain(iter(flow))


def dataset_pass(images: imagenet.Images, augmentation: Optional[Augmentation], cores: int) -> Pass:
    """Takes one epoch's batches from a ``tf.data`` pipeline that goes on for ever."""
    with tf.Graph().as_default():
        dataset = imagenet_symbolic.train_dataset(
            images, BATCH, SIZE, augmentation=augmentation, parallel=cores
        )
        iterator = tf.data.Iterator.from_structure(dataset.output_types, dataset.output_shapes)
        start, stop = iterator.make_initializer(dataset), iterator.make_initializer(dataset.take(0))
        fetch = [tensor.op for tensor in iterator.get_next()]
        session = tf.Session(config=config(cores))

    def run() -> None:
        session.run(start)
        for _ in range(len(images) // BATCH):
            session.run(fetch)
        session.run(stop)  # or it would go on to fill its buffers, while others are measured

    return run


def drain(results: Iterator[Any]) -> None:
    for _ in results:
        pass


def all_passes(images: imagenet.Images, cores: int) -> Dict[Key, Pass]:
    """By pipeline, augmentation and what is measured."""
    forked: Dict[Key, Pass] = {}
    threaded: Dict[Key, Pass] = {}
    cv2.setNumThreads(0)

    def alone(function: Callable[[int], None]) -> Pass:
        return in_processes(function, len(images), cores)

    # Processes first: those of TensorFlow must be forked before this one has a session.
    for name, augmentation in AUGMENTATIONS.items():
        forked["DataFlow", name, "decoding"] = alone(OpenCV(images, None))
        forked["DataFlow", name, "alone"] = alone(OpenCV(images, Augmentor(SIZE, augmentation)))
        forked["DataFlow", name, "pipeline"] = flow_pass(images, augmentation, cores)
        forked["tf.data", name, "decoding"] = alone(TensorFlow(images, symbolic_image.decode))
        load = partial(load_symbolically, augmentation=augmentation)
        forked["tf.data", name, "alone"] = alone(TensorFlow(images, load))
    for name, augmentation in AUGMENTATIONS.items():
        threaded["tf.data", name, "pipeline"] = dataset_pass(images, augmentation, cores)
    # What is compared runs close together.
    return {key: run for key, run in sorted({**forked, **threaded}.items())}


def cpu_seconds() -> float:
    """CPU time of this process and of all that it started, so far."""
    this = psutil.Process()
    times = [p.cpu_times() for p in [this, *this.children(recursive=True)]]
    return sum(t.user + t.system for t in times)


def measure(passes: Dict[Key, Pass], rounds: int) -> Dict[Key, List[Took]]:
    """What every pass takes, one entry a round."""
    took: Dict[Key, List[Took]] = {key: [] for key in passes}
    for number in range(rounds + 1):
        for key, run in passes.items():
            start, cpu = time.perf_counter(), cpu_seconds()
            run()
            if number:  # the first round warms up
                took[key].append(Took(time.perf_counter() - start, cpu_seconds() - cpu))
    return took


def rows_of(count: int, took: Dict[Key, List[Took]]) -> Iterator[Dict[str, Any]]:
    def rate(passes: List[Took]) -> float:
        return count / statistics.median(t.seconds for t in passes)

    for pipeline, name in sorted({key[:2] for key in took}):
        of = {what: took[pipeline, name, what] for what in WHAT}
        pairs = list(zip(of["alone"], of["pipeline"]))
        yield {
            "pipeline": pipeline,
            "augmentation": name,
            "decoding": rate(of["decoding"]),
            "alone": rate(of["alone"]),
            "pipeline_rate": rate(of["pipeline"]),
            "kept": statistics.median(a.seconds / p.seconds for a, p in pairs),
            "of_cpu": statistics.median(a.cpu / p.cpu for a, p in pairs),
        }


def training_images(data: str, count: int, folder: str) -> imagenet.Images:
    if not data:
        write_photographs(folder, count)
        data = folder
    tree = imagenet.find(data, parts=["train"])
    images = scan.scan(tree).for_training(tree.train) if data != folder else tree.train
    chosen = images.order(seed=0, epoch=0)[:count]
    return imagenet.Images(images.name, images.folder, images.files[chosen], images.labels[chosen])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="", help="ILSVRC folder to take training images from")
    parser.add_argument(
        "--cores", type=int, default=available_cores(), help="number of cores (default: all)"
    )
    parser.add_argument(
        "--images", type=int, default=384, help="number of images of one pass (default: 384)"
    )
    parser.add_argument("--rounds", type=int, default=11, help="number of rounds (default: 11)")
    parser.add_argument("--json", help="file that the rows are written to, too")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        images = training_images(args.data, args.images, folder)
        print(
            f"TensorFlow {TF_VERSION}, OpenCV {cv2.__version__}, {len(images)} images to "
            f"{SIZE}x{SIZE}, {args.cores} cores, medians of {args.rounds} rounds"
        )
        rows = list(rows_of(len(images), measure(all_passes(images, args.cores), args.rounds)))
    rates = " ".join(f"{what:>9}" for what in WHAT)
    print(f"{'images/s':<9} {'augmentation':<12} {rates} {'kept':>6} {'of CPU':>7}")
    for row in rows:
        print(
            f"{row['pipeline']:<9} {row['augmentation']:<12} {row['decoding']:9.0f} "
            f"{row['alone']:9.0f} {row['pipeline_rate']:9.0f} {row['kept']:6.2f} "
            f"{row['of_cpu']:7.2f}"
        )
    if args.json:
        write_json(
            args.json,
            {"cores": args.cores, "images": len(images), "rounds": args.rounds, "rows": rows},
        )


if __name__ == "__main__":
    main()
