"""ILSVRC images through ``tf.data``: the same labels, and in validation the same pixels, as the
DataFlows of :mod:`sspq.data.ilsvrc.flow` give.

Pixels agree to 1 of 255 (rounding), of CMYK images to 2.

Training images get all of fb.resnet.torch's augmentation, where the released ``--symbolic`` leaves
brightness, contrast and saturation out. Its random numbers are others than the DataFlow's.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any, Callable

import numpy as np
from tensorpack.utils import logger

from sspq.compat import tf
from sspq.data.checks import DataError, check_share, check_training, int_in, pass_length
from sspq.data.ilsvrc.augment import RELEASED, Augmentation, CaffeAugmentation
from sspq.data.ilsvrc.flow import undecodable
from sspq.data.ilsvrc.labels import some
from sspq.data.ilsvrc.symbolic_image import augment, centre, decode, resize, stretched
from sspq.data.ilsvrc.tree import Images
from sspq.data.workers import available_cores

_CHUNK = 256  # images of one call from TensorFlow to Python
_AHEAD = 2  # batches
_NOTED = 64  # images from one call from TensorFlow to Python to the next, to note where it is
_LOST = 2 * _CHUNK  # images in a row that cannot be decoded


def train_dataset(
    images: Images,
    batch: int,
    image_size: int = 224,
    seed: int = 0,
    first_epoch: int = 1,
    augmentation: Augmentation | CaffeAugmentation | None = RELEASED,
    rank: int = 0,
    ranks: int = 1,
    parallel: int | None = None,
    limit: int | None = None,
    fail: Callable[[DataError], None] | None = None,
) -> Any:
    """Shuffled, augmented training batches without end, epoch after epoch.

    The labels, and so the order of the images, are those of a
    :class:`sspq.data.ilsvrc.flow.TrainFlow` with the same arguments. A file that cannot be
    decoded is left out, and a warning tells its name and the count. Where hundreds in a row cannot,
    as when a disk is gone, the dataset ends.

    Args:
        images, batch, image_size, seed, first_epoch, augmentation, rank, ranks, limit: arguments of
            TrainFlow; a pass is an epoch.
        parallel: number of images that are worked on at once (default: None, one per core).
        fail: function that is given the error which ends the dataset (default: None).

    Returns:
        A ``tf.data.Dataset`` of uint8 BGR ``[batch, image_size, image_size, 3]`` and int32
        ``[batch]``.

    Raises:
        DataError: an argument is out of its range.
    """
    check_training(len(images), batch, seed, rank, ranks)
    int_in("first_epoch", first_epoch, 1, 2**31 - 1)
    int_in("image_size", image_size, 1, 2**15)
    per_epoch = pass_length(len(images), batch, ranks, limit) * batch

    def order(turn: int) -> np.ndarray:
        return images.order(seed, first_epoch + turn, rank, ranks)[:per_epoch]

    def load(image: Any, turn: Any, index: Any) -> Any:
        if augmentation is None:
            return resize(image, image_size, *centre(image, image_size))
        # The key of an image's random numbers; the seed and the index are below 2**32.
        key = tf.stack([seed + (first_epoch + turn) * 2**32, index])
        return augment(image, image_size, augmentation, key)

    names: set[str] = set()

    def report(missed: list[str]) -> None:
        names.update(missed)
        logger.warn(f"Cannot be decoded, skipped: {some(missed)}; {len(names)} files so far")

    dataset = _loaded(_Files(images, order, None, report, fail, parallel), load)
    return _batches(dataset, batch, image_size, drop_remainder=True)


def eval_dataset(
    images: Images,
    batch: int,
    image_size: int = 224,
    skip_bad: bool = False,
    rank: int = 0,
    ranks: int = 1,
    parallel: int | None = None,
    stretch: bool = False,
) -> Any:
    """Images to evaluate on, in order, each exactly once.

    The labels and, to within rounding, the pixels are those of a
    :class:`sspq.data.ilsvrc.flow.EvalFlow` with the same arguments.

    Args:
        images, batch, image_size, skip_bad, rank, ranks, stretch: arguments of EvalFlow.
        parallel: number of images that are worked on at once (default: None, one per core).

    Returns:
        A ``tf.data.Dataset`` of uint8 BGR ``[n, image_size, image_size, 3]`` and int32 ``[n]``,
        where n is ``batch``, or less in the last batch. A file that cannot be decoded stops it by
        a ``tf.errors.UnknownError`` that names the file, or a warning with ``skip_bad``.

    Raises:
        DataError: an argument is out of its range.
    """
    int_in("batch", batch, 1, 2**31 - 1)
    int_in("image_size", image_size, 1, 2**15)
    check_share(rank, ranks)
    share = images.share(rank, ranks)

    def load(image: Any, turn: Any, index: Any) -> Any:
        if stretch:
            return resize(image, image_size, *stretched(image, image_size))
        return resize(image, image_size, *centre(image, image_size))

    def report(missed: list[str]) -> None:
        if not skip_bad:
            raise undecodable(missed)
        logger.warn(f"Cannot be decoded, skipped: {some(missed)}")

    dataset = _loaded(_Files(images, lambda turn: share, 1, report, None, parallel), load)
    return _batches(dataset, batch, image_size, drop_remainder=False)


def _batches(dataset: Any, batch: int, image_size: int, drop_remainder: bool) -> Any:
    def shaped(image: Any, label: Any) -> Any:
        return tf.ensure_shape(image, [image_size, image_size, 3]), label

    return dataset.map(shaped).batch(batch, drop_remainder).prefetch(_AHEAD)


class _Files:
    """The files that a dataset asks for, and what became of them: its side in Python.

    Args:
        images: all images.
        order: function that gives the indices of a turn, as many in every turn.
        turns: number of turns, None for no end.
        report: function that is given the names of files that could not be decoded.
        fail: function that is given the error which ends files without end.
        parallel: number of images that are worked on at once, None for one per core.
    """

    def __init__(
        self,
        images: Images,
        order: Callable[[int], np.ndarray],
        turns: int | None,
        report: Callable[[list[str]], None],
        fail: Callable[[DataError], None] | None,
        parallel: int | None,
    ) -> None:
        self._images, self._order = images, order
        self.turns = turns
        at_once = available_cores() if parallel is None else parallel
        self.parallel = int_in("parallel", at_once, 1, 1024)
        self._report, self._fail = report, fail
        self.per_turn = len(order(0))
        self._reached = 0  # a place before which files have been decoded

    def chunks(self) -> Iterator[Any]:
        """Places, counted over all turns, with indices, paths and labels."""
        images, folder = self._images, os.fsencode(self._images.folder)
        most_ahead = _LOST + _NOTED + self.parallel
        self._reached = 0  # also where an iterator begins anew
        # Orders are made here, in Python: the graph would otherwise hold a million file names.
        for turn in itertools.count() if self.turns is None else range(self.turns):
            indices = self._order(turn)
            for start in range(0, self.per_turn, _CHUNK):
                chosen = indices[start : start + _CHUNK]
                places = turn * self.per_turn + start + np.arange(len(chosen))
                if self.turns is None and places[0] - self._reached > most_ahead:
                    self._give_up(chosen)
                    return
                paths = [os.path.join(folder, file) for file in images.files[chosen]]
                yield places, chosen, paths, images.labels[chosen]

    def note(self, expected: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Hears that the file at ``place`` was decoded, and those from ``expected`` on were not."""
        self._reached = int(place)
        per_turn = self.per_turn
        missed = [self._order(p // per_turn)[p % per_turn] for p in range(expected, place)]
        if missed:
            self._report([self._images.file(i) for i in missed])
        return place

    def _give_up(self, chosen: np.ndarray) -> None:
        names = some([self._images.file(i) for i in chosen])
        error = DataError(f"{self._images.folder}: cannot decode {names}, one after the other")
        if self._fail:
            self._fail(error)


def _loaded(files: _Files, load: Callable[[Any, Any, Any], Any]) -> Any:
    """A dataset of single images and labels, from one order of the files after the other.

    Args:
        files: files that are loaded.
        load: function of tensors, ``(RGB image, turn, index) -> uint8 RGB image``.
    """
    per_turn, turns = files.per_turn, files.turns

    def read(place: Any, index: Any, path: Any, label: Any) -> Any:
        image = load(decode(path), place // per_turn, index)
        return place, tf.reverse(image, [2]), label  # BGR

    def without_gap(expected: Any, element: Any) -> Any:
        place = tf.cond(
            tf.equal(element[0], expected) & tf.not_equal(expected % _NOTED, 0),
            lambda: element[0],
            lambda: tf.py_func(files.note, [expected, element[0]], tf.int64),
        )
        return place + 1, (place, *element[1:])

    types = (tf.int64, tf.int64, tf.string, tf.int32)
    dataset = tf.data.Dataset.from_generator(files.chunks, types, ([None],) * 4)
    dataset = dataset.apply(tf.data.experimental.unbatch()).map(read, files.parallel)
    # A file that cannot be decoded leaves a gap in the places.
    dataset = dataset.apply(tf.data.experimental.ignore_errors())
    end = None if turns is None else turns * per_turn
    if end is not None:
        # Behind the last image, so that a gap at the end shows as well.
        last = tf.data.Dataset.from_tensors((np.int64(end), np.zeros([1, 1, 3], np.uint8), 0))
        dataset = dataset.concatenate(last)
    dataset = dataset.apply(tf.data.experimental.scan(np.int64(0), without_gap))
    if end is not None:
        dataset = dataset.filter(lambda place, image, label: place < end)
    return dataset.map(lambda place, image, label: (image, label))
