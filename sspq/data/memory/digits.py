"""scikit-learn's handwritten digits: real images that come with a package and need no download."""

import cv2
import numpy as np

from sspq.data.checks import DataError
from sspq.data.memory.dataset import Dataset

TEST_SIZE = 360
_BRIGHTEST = 16  # the images count, in each of their 8x8 cells, how many of 4x4 pixels are ink


def load() -> Dataset:
    """The 1,797 digits as 32x32 colour images in 10 classes.

    The split is stratified and always the same, 1,437 to train and 360 to test: results of
    different seeds are about the same test images. ``mirror`` is False, since a mirrored digit
    is no digit.

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise DataError(
            f"`--data digits` needs scikit-learn, which could not be imported ({error}): "
            "pip install scikit-learn"
        ) from error
    source = load_digits()
    labels = source.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_SIZE, stratify=labels, random_state=0
    )
    images = upscale(source.images)
    return Dataset(
        name="digits",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        num_classes=10,
        mirror=False,
    )


def upscale(cells: np.ndarray) -> np.ndarray:
    """Enlarges ``[N, 8, 8]`` numbers from 0 to 16 to uint8 ``[N, 32, 32, 3]`` from 0 to 255.

    Linear interpolation: for a factor of four its weights are eighths, exact in float32, so every
    machine gets the same bytes; and it stays between its neighbours, so nothing needs clipping.
    """
    bright = (cells * (255.0 / _BRIGHTEST)).astype(np.float32)
    large = [cv2.resize(image, (32, 32), interpolation=cv2.INTER_LINEAR) for image in bright]
    grey = np.rint(np.stack(large)).astype(np.uint8)
    return np.repeat(grey[..., np.newaxis], 3, axis=3)
