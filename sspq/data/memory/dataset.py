"""What a data set is, and what is said when it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sspq.data.checks import DataError

IMAGE_SHAPE = (32, 32, 3)


# eq=False: comparing arrays has no single answer, so two data sets are equal when identical.
@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images with their labels, checked on construction.

    Attributes:
        name: short, for messages and logs.
        train_images, test_images: uint8 ``[N, 32, 32, 3]``, RGB, N >= 1.
        train_labels, test_labels: int64 ``[N]`` in ``[0, num_classes)``.
        num_classes: int, >= 1.
        mirror: whether an image flipped from left to right still shows its class.

    Raises:
        DataError: an attribute is of another kind; the text names it, its value and what was
            expected.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    num_classes: int
    mirror: bool

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DataError(f"Dataset: `name` must be a non-empty string, got {self.name!r}")
        if type(self.num_classes) is not int or self.num_classes < 1:
            raise DataError(
                f"{self.name}: `num_classes` must be an int >= 1, got {self.num_classes!r}"
            )
        if type(self.mirror) is not bool:
            raise DataError(f"{self.name}: `mirror` must be a bool, got {self.mirror!r}")
        for part in ("train", "test"):
            self._check_images(f"{part}_images")
            self._check_labels(f"{part}_labels", len(getattr(self, f"{part}_images")))

    def _check_images(self, field: str) -> None:
        images = getattr(self, field)
        if (
            _dtype(images) != "uint8"
            or images.ndim != 4
            or images.shape[1:] != IMAGE_SHAPE
            or not len(images)
        ):
            raise DataError(
                f"{self.name}: `{field}` must be uint8 [N, 32, 32, 3] with N >= 1, "
                f"got {_describe(images)}"
            )

    def _check_labels(self, field: str, count: int) -> None:
        labels = getattr(self, field)
        if _dtype(labels) != "int64" or labels.shape != (count,):
            raise DataError(
                f"{self.name}: `{field}` must be int64 [{count}], one for each image, "
                f"got {_describe(labels)}"
            )
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise DataError(
                f"{self.name}: `{field}` must be in [0, {self.num_classes}), "
                f"got {labels.min()} to {labels.max()}"
            )


def _dtype(value: Any) -> str:
    return str(value.dtype) if isinstance(value, np.ndarray) else ""


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return f"a {type(value).__name__}"
