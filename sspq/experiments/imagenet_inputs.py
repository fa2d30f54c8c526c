"""What the ImageNet scripts train and evaluate on: an ILSVRC folder, or made-up images."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
from tensorpack.dataflow import FakeData
from tensorpack.input_source import QueueInput, TFDatasetInput

from sspq import checkpoints
from sspq.compat import tf
from sspq.data.checks import DataError
from sspq.data.ilsvrc import scan
from sspq.data.ilsvrc import symbolic as imagenet_symbolic
from sspq.data.ilsvrc import tree as imagenet
from sspq.data.ilsvrc.flow import EvalFlow, TrainFlow
from sspq.data.watched import WatchedInput
from sspq.experiments.imagenet_options import augmentation
from sspq.training.distributed import Processes

EVAL_BATCH = 64
FAKE_STEPS = 100
DEFAULT_CLASSES = 1000
_QUEUED = 1024  # images waiting in the queue to the graph, 150 kB each at 224 pixels


def _queue(batch: int) -> Any:
    return tf.FIFOQueue(max(2, min(50, _QUEUED // batch)), [tf.uint8, tf.int32], name="images")


def _threads(args: argparse.Namespace) -> int | None:
    """How many images tf.data works on at once; it has threads in place of processes."""
    return None if args.processes is None else max(1, args.processes)


class FolderInput(WatchedInput):
    """The images of an ILSVRC folder.

    Args:
        args: the script's options.
        processes: that train together; each gets its share.
        training: whether training images are needed beside those for validation.
        as_caffe: cut images out as Caffe does for AlexNet, not as fb.resnet.torch does.

    Attributes:
        num_classes: what the network tells apart.

    Raises:
        DataError: the folder or its images do not do.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        processes: Processes,
        training: bool = True,
        as_caffe: bool = False,
    ) -> None:
        super().__init__()
        self._args = args
        self._as_caffe = as_caffe
        self._processes = processes
        tree = imagenet.find(args.data, args.meta_dir, imagenet.PARTS if training else ("val",))
        self._report = scan.scan(tree)
        if processes.chief:
            print(self._report, flush=True)
        self._train: Any = self._report.for_training(tree.train) if training else ()
        self._val = self._report.for_evaluation(tree.val, args.skip_bad)
        self.num_classes = len(tree.classes) or classes_of(args.load)
        if self.num_classes <= self._val.labels.max():
            raise DataError(
                f"{args.data}: has labels up to {self._val.labels.max()}, expected less than the "
                f"{self.num_classes} classes of the network"
            )

    def facts(self) -> dict[str, Any]:
        """For reports."""
        return {
            "name": "ILSVRC folder",
            "train_images": len(self._train),
            "test_images": len(self._val),
            "classes": self.num_classes,
            "found": self._report.counts(),
        }

    def steps(self, batch: int) -> int:
        """Training steps of an epoch, with ``batch`` images over all processes."""
        limit = len(self._train)
        if batch > limit:
            raise DataError(f"`--batch` must be at most the {limit} training images, got {batch}")
        return limit // batch

    def training(self, first_epoch: int, towers: int) -> Any:
        """An InputSource; each of the ``towers`` takes a batch of it at every step."""
        args, ranks = self._args, self._processes.ranks
        options = {
            "batch": args.batch // ranks // towers,
            "image_size": args.image_size,
            "seed": args.seed,
            "first_epoch": first_epoch,
            "augmentation": augmentation(args, self._as_caffe),
            "rank": self._processes.rank,
            "ranks": ranks,
            # Several towers may leave batches of an epoch that do not make a step.
            "limit": self.steps(args.batch) * towers,
        }
        if args.symbolic:
            return TFDatasetInput(
                imagenet_symbolic.train_dataset(
                    self._train, parallel=_threads(args), fail=self._watched.fail, **options
                )
            )
        flow = TrainFlow(self._train, processes=args.processes, **options)
        return QueueInput(self._watched(flow), _queue(options["batch"]))

    def validation(self) -> Any:
        """A DataFlow of this process's share of the validation images."""
        p = self._processes
        return self._validation_flow(p.rank, p.ranks)

    def _validation_flow(self, rank: int, ranks: int) -> Any:
        args = self._args
        return EvalFlow(
            self._val,
            EVAL_BATCH,
            args.image_size,
            args.skip_bad,
            rank,
            ranks,
            args.processes,
            stretch=self._as_caffe,
        )

    def batches(self) -> tuple[Iterator[Any], int]:
        """All validation images as arrays, and how many batches these are."""
        flow = self._validation_flow(0, 1)
        if self._args.symbolic:
            return self._symbolic_batches(), len(flow)
        flow.reset_state()
        return iter(flow), len(flow)

    def _symbolic_batches(self) -> Iterator[list[np.ndarray]]:
        args = self._args
        with tf.Graph().as_default():
            dataset = imagenet_symbolic.eval_dataset(
                self._val,
                EVAL_BATCH,
                args.image_size,
                args.skip_bad,
                stretch=self._as_caffe,
                parallel=_threads(args),
            )
            batch = dataset.make_one_shot_iterator().get_next()
            sess = tf.Session()
        with sess:
            while True:
                try:
                    yield sess.run(batch)
                except tf.errors.OutOfRangeError:
                    return
                except tf.errors.UnknownError as error:  # a Python function of the pipeline's
                    raise DataError(str(error).split("DataError: ")[-1].split("\n")[0]) from error


class FakeInput(WatchedInput):
    """Images of noise, always the same, to try how fast everything else is."""

    num_classes = DEFAULT_CLASSES

    def __init__(self, args: argparse.Namespace, processes: Processes) -> None:
        super().__init__()
        self._args = args
        self._ranks = processes.ranks

    def facts(self) -> dict[str, Any]:
        return {"name": "made-up images", "classes": self.num_classes}

    def steps(self, batch: int) -> int:
        return FAKE_STEPS

    def training(self, first_epoch: int, towers: int) -> Any:
        size, batch = self._args.image_size, self._args.batch // self._ranks // towers
        flow = FakeData(
            [[batch, size, size, 3], [batch]],
            FAKE_STEPS * towers,
            random=False,
            dtype=["uint8", "int32"],
            domain=[(0, 256), (0, self.num_classes)],
        )
        return QueueInput(self._watched(flow), _queue(batch))

    def validation(self) -> None:
        """There is nothing to tell right from wrong by."""
        return None


def classes_of(load: str | None) -> int:
    """How many classes the network of a checkpoint tells apart, 1000 without one."""
    if not load:
        return DEFAULT_CLASSES
    shapes = checkpoints.shapes(checkpoints.resolve(load))
    last = [shapes[name] for name in ("linear/W", "fc8/W") if name in shapes]
    return last[0][-1] if last else DEFAULT_CLASSES
