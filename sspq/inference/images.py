"""Images for a model, prepared as in its training, and the accuracy of the model on them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from sspq import data
from sspq.data.checks import DataError
from sspq.data.ilsvrc import scan
from sspq.data.ilsvrc import tree as imagenet
from sspq.data.ilsvrc.augment import Augmentor
from sspq.data.ilsvrc.flow import EvalFlow, decode
from sspq.data.memory.dataset import IMAGE_SHAPE
from sspq.data.memory.flow import TestFlow, training_mean
from sspq.inference.predictor import Predictor
from sspq.models.classifier import Classifier
from sspq.training.validation import Tally

BATCH = 64
_IMAGE_FILES = (".jpeg", ".jpg", ".png", ".bmp")


def test_batches(model: Classifier, spec: str) -> Iterator[Any]:
    """All held-out images in batches ``[images, labels]``.

    Args:
        model: SSPQ34, LeNet, or a network for ImageNet.
        spec: data set as :func:`sspq.data.load` takes it, for SSPQ34 and LeNet; else an ILSVRC
            folder.

    Raises:
        DataError: the images are missing, or have labels beyond the classes of the model.
    """
    if model.preprocessing.mean_image:
        dataset = data.load(spec)
        largest, flow = int(dataset.test_labels.max()), TestFlow(dataset, BATCH)
    else:
        tree = imagenet.find(spec, parts=("val",))
        val = scan.scan(tree).for_evaluation(tree.val)
        largest, flow = (
            int(val.labels.max()),
            EvalFlow(val, BATCH, model.preprocessing.size, stretch=model.preprocessing.stretches),
        )
    if largest >= model.num_classes:
        raise DataError(
            f"{spec}: has labels up to {largest}, expected less than the {model.num_classes} "
            "classes of the model"
        )
    flow.reset_state()
    return iter(flow)


def first(batches: Iterable[Any], count: int) -> Iterator[np.ndarray]:
    """The first ``count`` images, or all if there are fewer.

    Args:
        batches: batches ``[images, labels]`` of ``BATCH`` images.
        count: number of images.
    """
    left = range(count, 0, -BATCH)
    return (images[:n] for n, (images, _) in zip(left, batches))


def noise(model: Classifier, count: int) -> Iterator[np.ndarray]:
    """``count`` images of noise in batches, always the same."""
    spec = model.inputs()[0]
    random = np.random.RandomState(0)
    for left in range(count, 0, -BATCH):
        shape = [min(left, BATCH)] + spec.shape.as_list()[1:]
        yield random.randint(0, 256, shape).astype(spec.dtype.as_numpy_dtype)


def calibration_batches(model: Classifier, spec: str, count: int) -> Iterator[np.ndarray]:
    """Training images, spread evenly over all there are, for the ranges of activations.

    Args:
        model: SSPQ34, LeNet, or a network for ImageNet.
        spec: data set as :func:`sspq.data.load` takes it, for SSPQ34 and LeNet; else a folder with
            image files at any depth, such as ``train`` of ILSVRC.
        count: number of images, at most.

    Raises:
        DataError: the images are missing, or ``count`` is below 1.
    """
    if count < 1:
        raise DataError(f"`--images` must be at least 1, got {count}")
    if model.preprocessing.mean_image:
        dataset = data.load(spec)
        chosen = _spread(len(dataset.train_images), count)
        found = dataset.train_images[chosen] - training_mean(dataset)
        return (found[i : i + BATCH] for i in range(0, len(found), BATCH))
    files = sorted(
        os.path.join(place, name)
        for place, _, names in os.walk(spec)
        for name in names
        if name.lower().endswith(_IMAGE_FILES)
    )
    if not files:
        raise DataError(f"{spec}: is no folder with image files ({', '.join(_IMAGE_FILES)})")
    paths = [files[i] for i in _spread(len(files), count)]
    return (batch_of(model, read_images(paths[i : i + BATCH])) for i in range(0, len(paths), BATCH))


def _spread(count: int, wanted: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, wanted)).round().astype(int)


def read_images(paths: Sequence[str]) -> list[np.ndarray]:
    """The images of JPEG, PNG or other files that OpenCV reads, in BGR, each of its own size.

    Raises:
        DataError: a file is missing or no image.
    """
    images = []
    for path in paths:
        # OpenCV would print a line of its own about a missing file.
        image = decode(path) if os.path.isfile(path) else None
        if image is None:
            raise DataError(f"{path}: is no image file that can be read")
        images.append(image)
    return images


def batch_of(
    model: Classifier, images: Sequence[np.ndarray], spec: str | None = None
) -> np.ndarray:
    """The images of :func:`read_images` as a batch for the model.

    Args:
        model: SSPQ34, LeNet, or a network for ImageNet.
        images: images of any sizes.
        spec: data set of the training of SSPQ34 or LeNet, whose mean image is subtracted
            (default: none, for networks for ImageNet).

    Raises:
        DataError: ``spec`` is missing for SSPQ34 or LeNet.
    """
    if not model.preprocessing.mean_image:
        augmentor = Augmentor(model.preprocessing.size, None, model.preprocessing.stretches)
        return np.stack([augmentor(image) for image in images])
    if spec is None:
        raise DataError(
            "`--data` is missing: the mean image of the data set that the model was trained on is "
            "subtracted; give its folder, or 'digits'"
        )
    small = [
        cv2.resize(image, IMAGE_SHAPE[:2], interpolation=cv2.INTER_AREA)[:, :, ::-1]
        for image in images
    ]
    return np.stack(small).astype(np.float32) - training_mean(data.load(spec))


def evaluate(predictor: Predictor, batches: Iterable[Any]) -> dict[str, float]:
    """Top-1, top-5 and cross-entropy, as :meth:`sspq.training.validation.Tally.result` gives them.

    An image is right in the top k if fewer than k classes have a larger logit than its label has.
    """
    tally = Tally()
    for images, labels in batches:
        logits = predictor.logits(images).astype(np.float64)
        own = logits[np.arange(len(labels)), labels]
        finite = np.isfinite(logits).all(1)
        with np.errstate(invalid="ignore"):  # the cost is then NaN
            larger = (logits > own[:, None]).sum(1)
            most = logits.max(1)
            cost = most + np.log(np.exp(logits - most[:, None]).sum(1)) - own
        wrong = [~(finite & (larger < k)) for k in (1, 5)]
        tally.add(wrong[0], wrong[1], float(cost.mean()))
    return tally.result()


def check_finite(logits: np.ndarray) -> np.ndarray:
    """The logits of images, unchanged.

    Raises:
        ValueError: a logit is NaN or infinite.
    """
    if not np.isfinite(logits).all():
        raise ValueError("the logits of the images are not finite: the network has diverged")
    return logits


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The softmax of logits ``[N, num_classes]``.

    Raises:
        ValueError: a logit is NaN or infinite.
    """
    check_finite(logits)
    e = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)
