"""DataFlows of ILSVRC images, decoded and augmented by several processes.

Batches come in an order that does not depend on the number of processes or on their speed.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, Callable, List, Tuple

import cv2
import numpy as np
from tensorpack.dataflow import DataFlow
from tensorpack.utils import logger

from sspq.data.checks import DataError, check_share, check_training, int_in, pass_length
from sspq.data.ilsvrc.augment import RELEASED, Augmentation, Augmentor, CaffeAugmentation
from sspq.data.ilsvrc.labels import some
from sspq.data.ilsvrc.tree import Images
from sspq.data.workers import Workers, available_cores

_CHUNK = 32  # images of one task: enough to make its overhead small, few enough to balance the load
_SUBSTITUTES = 100  # tried in place of one file that cannot be decoded

_Loaded = Tuple[np.ndarray, np.ndarray, List[int]]  # images, labels, files that were not decoded
_Load = Callable[[Any], _Loaded]


def decode(path: str) -> np.ndarray | None:
    """An image file as uint8 BGR ``[H, W, 3]``, None if it is none.

    Grayscale and CMYK become BGR. A rotation in the file's metadata is not applied, because
    ``tf.image.decode_jpeg`` does not either.
    """
    return cv2.imread(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


class _ImageFlow(DataFlow):
    """Shares what a pass asks for out to processes, and puts the batches together."""

    def __init__(self, images: Images, batch: int, load: _Load, processes: int | None) -> None:
        self._images = images
        self._batch = batch
        self._load = load
        cores = available_cores() if processes is None else processes
        self._processes = int_in("processes", cores, 0, 1024)
        self._workers: Workers | None = None
        self._bad: set[int] = set()

    @property
    def bad_files(self) -> tuple[str, ...]:
        """Files that could not be decoded so far, though the scan had nothing against them."""
        return tuple(self._images.file(i) for i in sorted(self._bad))

    def reset_state(self) -> None:
        """Starts the processes, unless they run already."""
        self._started()

    def _started(self) -> Workers:
        if self._workers is None:
            # A fork keeps none of OpenCV's threads, and a process for each core needs none.
            cv2.setNumThreads(0)
            self._workers = Workers(self._load, self._processes)
            weakref.finalize(self, self._workers.close)
        return self._workers

    def _batches(self, order: np.ndarray, *common: Any) -> Iterator[list[np.ndarray]]:
        """Loads the images of an order, batch by batch; tasks are ``(*common, indices)``."""
        workers = self._started()
        batches = [
            np.array_split(indices, -(-len(indices) // _CHUNK))
            for indices in np.split(order, range(self._batch, len(order), self._batch))
            if len(indices)
        ]
        results = workers.map((*common, task) for tasks in batches for task in tasks)
        for tasks in batches:
            images, labels, bad = zip(*(next(results) for _ in tasks))
            self._report([i for indices in bad for i in indices])
            batch = [np.concatenate(images), np.concatenate(labels)]
            if len(batch[0]):
                yield batch

    def _report(self, bad: list[int]) -> None:
        new = [i for i in bad if i not in self._bad]
        self._bad.update(new)
        if new:
            names = some([self._images.file(i) for i in new])
            logger.warn(f"Cannot be decoded, skipped: {names}; {len(self._bad)} files so far")


class TrainFlow(_ImageFlow):
    """Shuffled, augmented training batches; each pass over the flow is one epoch.

    Yields ``[images, labels]``: uint8 BGR ``[batch, image_size, image_size, 3]`` and int32
    ``[batch]``. The images that do not fill a last batch are left out of that epoch.

    Order and augmentation of epoch e are a function of ``(seed, e)`` alone: neither the number of
    processes nor a start at a later epoch changes them. Every ``iter()`` is the next epoch. With
    several ranks each trains on its own share of the epoch, dealt out anew every time, and all
    take the same number of steps.

    A file that cannot be decoded, which the scan should have found, is replaced by another one,
    and a warning tells its name and the count.

    Args:
        images: images to train on, without the files that a scan found bad.
        batch: number of images of a batch of this process, int >= 1; all ranks together need
            ``batch * ranks`` images.
        image_size: height and width of the result in pixels, int >= 1 (default: 224).
        seed: seed of order and augmentation, int in [0, 2**32) (default: 0).
        first_epoch: epoch of the first pass, int in [1, 2**32) (default: 1).
        augmentation: changes to the images (default: the released ones); None treats them as in
            validation.
        rank, ranks: number of this training process, from 0, and of all (default: 0 and 1).
        processes: number of processes that decode and augment (default: one per core); 0 does it in
            this one.
        limit: largest number of batches of a pass (default: None, all).

    Raises:
        DataError: an argument is out of its range.
    """

    def __init__(
        self,
        images: Images,
        batch: int,
        image_size: int = 224,
        seed: int = 0,
        first_epoch: int = 1,
        augmentation: Augmentation | CaffeAugmentation | None = RELEASED,
        rank: int = 0,
        ranks: int = 1,
        processes: int | None = None,
        limit: int | None = None,
    ) -> None:
        check_training(len(images), batch, seed, rank, ranks)
        self._length = pass_length(len(images), batch, ranks, limit)
        self._rank, self._ranks, self._seed = rank, ranks, seed
        self._next_epoch = int_in("first_epoch", first_epoch, 1, 2**32 - 1)
        load = _TrainLoad(images, seed, Augmentor(image_size, augmentation))
        super().__init__(images, batch, load, processes)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        # Not a generator itself: its epoch is settled when the pass is asked for, not at its
        # first batch.
        epoch = self._next_epoch
        self._next_epoch += 1
        order = self._images.order(self._seed, epoch, self._rank, self._ranks)
        return self._batches(order[: len(self) * self._batch], epoch)


class _TrainLoad:
    """Decodes and augments the images of one task, in a process of its own."""

    def __init__(self, images: Images, seed: int, augmentor: Augmentor) -> None:
        self._images = images
        self._seed = seed
        self._augmentor = augmentor

    def __call__(self, task: tuple[int, np.ndarray]) -> _Loaded:
        epoch, indices = task
        bad: list[int] = []
        images, labels = [], []
        for index in indices:
            key = [self._seed, epoch, index]
            used, image = self._decodable(key, bad)
            images.append(self._augmentor(image, key))
            labels.append(self._images.labels[used])
        return np.array(images), np.array(labels), bad

    def _decodable(self, key: list[int], bad: list[int]) -> tuple[int, np.ndarray]:
        """The image of the key, or another one if it cannot be decoded; notes the bad ones."""
        index = key[-1]
        for attempt in range(_SUBSTITUTES):
            image = decode(self._images.path(index))
            if image is not None:
                return index, image
            bad.append(int(index))
            index = np.random.RandomState([*key, attempt]).randint(len(self._images))
        raise DataError(
            f"{self._images.folder}: cannot decode {some([self._images.file(i) for i in bad])}, "
            "one after the other"
        )


class EvalFlow(_ImageFlow):
    """Images to evaluate on, in order, each exactly once in a pass.

    Yields ``[images, labels]`` as :class:`TrainFlow` does; a batch holds less than ``batch``
    images where it is the last one or files were skipped, and never none.

    Args:
        images: images to evaluate on.
        batch: number of images of a batch, int >= 1.
        image_size: height and width of the result in pixels, int >= 1 (default: 224). The shorter
            edge is resized to 256/224 of it and the middle cut out.
        skip_bad: whether files that cannot be decoded are left out, with a warning (default:
            False).
        rank, ranks: number of this process, from 0, and of all (default: 0 and 1). Each image
            belongs to exactly one process, and the number of batches may differ by one.
        processes: number of processes that decode (default: one per core); 0 does it in this one.
        stretch: whether both edges are resized to 256/227 of ``image_size`` instead, as Caffe does
            for AlexNet (default: False).

    Raises:
        DataError: an argument is out of its range; in a pass, a file cannot be decoded.
    """

    def __init__(
        self,
        images: Images,
        batch: int,
        image_size: int = 224,
        skip_bad: bool = False,
        rank: int = 0,
        ranks: int = 1,
        processes: int | None = None,
        stretch: bool = False,
    ) -> None:
        int_in("batch", batch, 1, 2**31 - 1)
        check_share(rank, ranks)
        self._share = images.share(rank, ranks)
        load = _EvalLoad(images, skip_bad, Augmentor(image_size, None, stretch))
        super().__init__(images, batch, load, processes)

    def __len__(self) -> int:
        return (len(self._share) + self._batch - 1) // self._batch

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        return self._batches(self._share)


class _EvalLoad:
    """Decodes and resizes the images of one task, in a process of its own."""

    def __init__(self, images: Images, skip_bad: bool, augmentor: Augmentor) -> None:
        self._images = images
        self._skip_bad = skip_bad
        self._augmentor = augmentor

    def __call__(self, task: tuple[np.ndarray]) -> _Loaded:
        [indices] = task
        good, bad, images = [], [], []
        for index in indices:
            image = decode(self._images.path(index))
            if image is None:
                bad.append(int(index))
            else:
                good.append(index)
                images.append(self._augmentor(image))
        if bad and not self._skip_bad:
            raise undecodable([self._images.file(i) for i in bad])
        size = self._augmentor.image_size
        # The shape tells the size of the images even if there are none.
        shaped = np.array(images, np.uint8).reshape(-1, size, size, 3)
        return shaped, self._images.labels[good], bad


def undecodable(files: list[str]) -> DataError:
    """The error of an evaluation that meets files it cannot use."""
    return DataError(
        f"{some(files, 20)}: cannot be decoded: replace them, or evaluate on the others by the "
        "training scripts' --skip-bad"
    )
