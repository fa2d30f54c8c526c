"""What the ImageNet scripts train and evaluate on: an ILSVRC folder, or made-up images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
from sspq.data.ilsvrc.augment import RELEASED, Augmentation, CaffeAugmentation
from sspq.data.ilsvrc.flow import EvalFlow, TrainFlow
from sspq.data.preprocessing import Preprocessing
from sspq.data.watched import WatchedInput
from sspq.training.distributed import Processes

EVAL_BATCH = 64
FAKE_STEPS = 100
DEFAULT_CLASSES = 1000
_QUEUED = 1024  # images waiting in the queue to the graph, 150 kB each at 224 pixels


def _queue(batch: int) -> Any:
    return tf.FIFOQueue(max(2, min(50, _QUEUED // batch)), [tf.uint8, tf.int32], name="images")


@dataclass(frozen=True)
class FolderSettings:
    """Settings of a :class:`FolderInput`.

    Attributes:
        data: ILSVRC folder, with ``train`` and ``val`` in it.
        meta_dir: folder of the official files that tell the classes' order and labels, or None.
        skip_bad: whether damaged files are left out of an evaluation.
        symbolic: whether images are read by tf.data instead of processes.
        processes: number of processes that read images; None for one a core.
        min_area: least part of an image that is cut out to train on.
        colour: whether colours are changed to train.
        mirror: whether images are mirrored to train.
        seed: seed of order and augmentation.
        load: checkpoint whose network tells the number of classes where the folder does not.
    """

    data: str
    meta_dir: str | None = None
    skip_bad: bool = False
    symbolic: bool = False
    processes: int | None = None
    min_area: float = RELEASED.area[0]
    colour: bool = True
    mirror: bool = True
    seed: int = 0
    load: str | None = None

    def augmentation(self, stretch: bool) -> Augmentation | CaffeAugmentation:
        """What is done to training images: Caffe's way where they are stretched."""
        if stretch:
            return CaffeAugmentation(self.mirror)
        return Augmentation((self.min_area, 1.0), self.colour, self.mirror)

    def threads(self) -> int | None:
        """Number of images that tf.data works on at once; it has threads in place of processes."""
        return None if self.processes is None else max(1, self.processes)


class FolderInput(WatchedInput):
    """The images of an ILSVRC folder.

    Args:
        settings: folder, and how its images are read and augmented.
        processes: processes that train together; each gets its share of the images.
        training: whether training images are needed beside those for validation (default: True).

    Attributes:
        num_classes: number of classes of the folder, or else of the network in ``settings.load``.

    Raises:
        DataError: the folder or its images do not do.
    """

    def __init__(
        self,
        settings: FolderSettings,
        processes: Processes,
        training: bool = True,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._processes = processes
        tree = imagenet.find(
            settings.data, settings.meta_dir, imagenet.PARTS if training else ("val",)
        )
        self._report = scan.scan(tree)
        if processes.chief:
            print(self._report, flush=True)
        self._train: Any = self._report.for_training(tree.train) if training else ()
        self._val = self._report.for_evaluation(tree.val, settings.skip_bad)
        self.num_classes = len(tree.classes) or classes_of(settings.load)
        if self.num_classes <= self._val.labels.max():
            raise DataError(
                f"{settings.data}: has labels up to {self._val.labels.max()}, expected less "
                f"than the {self.num_classes} classes of the network"
            )

    def facts(self) -> dict[str, Any]:
        """What reports say about the images."""
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

    def training(
        self, preprocessing: Preprocessing, batch: int, first_epoch: int, towers: int
    ) -> Any:
        """An InputSource; each of the ``towers`` takes its part of a batch of it at every step."""
        settings, ranks = self._settings, self._processes.ranks
        share = batch // ranks // towers
        options: dict[str, Any] = {
            "batch": share,
            "image_size": preprocessing.size,
            "seed": settings.seed,
            "first_epoch": first_epoch,
            "augmentation": settings.augmentation(preprocessing.stretches),
            "rank": self._processes.rank,
            "ranks": ranks,
            # Several towers may leave batches of an epoch that do not make a step.
            "limit": self.steps(batch) * towers,
        }
        if settings.symbolic:
            return TFDatasetInput(
                imagenet_symbolic.train_dataset(
                    self._train, parallel=settings.threads(), fail=self._watched.fail, **options
                )
            )
        flow = TrainFlow(self._train, processes=settings.processes, **options)
        return QueueInput(self._watched(flow), _queue(share))

    def validation(self, preprocessing: Preprocessing) -> Any:
        """A DataFlow of this process's share of the validation images."""
        p = self._processes
        return self._validation_flow(preprocessing, p.rank, p.ranks)

    def _validation_flow(self, preprocessing: Preprocessing, rank: int, ranks: int) -> Any:
        settings = self._settings
        return EvalFlow(
            self._val,
            EVAL_BATCH,
            preprocessing.size,
            settings.skip_bad,
            rank,
            ranks,
            settings.processes,
            stretch=preprocessing.stretches,
        )

    def batches(self, preprocessing: Preprocessing) -> tuple[Iterator[Any], int]:
        """All validation images as arrays, and the number of their batches."""
        flow = self._validation_flow(preprocessing, 0, 1)
        if self._settings.symbolic:
            return self._symbolic_batches(preprocessing), len(flow)
        flow.reset_state()
        return iter(flow), len(flow)

    def _symbolic_batches(self, preprocessing: Preprocessing) -> Iterator[list[np.ndarray]]:
        settings = self._settings
        with tf.Graph().as_default():
            dataset = imagenet_symbolic.eval_dataset(
                self._val,
                EVAL_BATCH,
                preprocessing.size,
                settings.skip_bad,
                stretch=preprocessing.stretches,
                parallel=settings.threads(),
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
    """Images of noise, always the same, to measure the speed of everything else."""

    num_classes = DEFAULT_CLASSES

    def __init__(self, processes: Processes) -> None:
        super().__init__()
        self._ranks = processes.ranks

    def facts(self) -> dict[str, Any]:
        """What reports say about the images."""
        return {"name": "made-up images", "classes": self.num_classes}

    def steps(self, batch: int) -> int:
        """Training steps of an epoch."""
        return FAKE_STEPS

    def training(
        self, preprocessing: Preprocessing, batch: int, first_epoch: int, towers: int
    ) -> Any:
        """An InputSource; each of the ``towers`` takes its part of a batch of it at every step."""
        size, batch = preprocessing.size, batch // self._ranks // towers
        flow = FakeData(
            [[batch, size, size, 3], [batch]],
            FAKE_STEPS * towers,
            random=False,
            dtype=["uint8", "int32"],
            domain=[(0, 256), (0, self.num_classes)],
        )
        return QueueInput(self._watched(flow), _queue(batch))

    def validation(self, preprocessing: Preprocessing) -> None:
        """None: noise has no classes."""
        return None


def classes_of(load: str | None) -> int:
    """Number of classes of the network of a checkpoint, 1000 without one."""
    if not load:
        return DEFAULT_CLASSES
    shapes = checkpoints.shapes(checkpoints.resolve(load))
    last = [shapes[name] for name in ("linear/W", "fc8/W") if name in shapes]
    return last[0][-1] if last else DEFAULT_CLASSES
