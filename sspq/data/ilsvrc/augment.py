"""How ILSVRC images become the network's input, as fb.resnet.torch or Caffe's AlexNet does it.

fb.resnet.torch, in training: a window of random area and aspect ratio is cut out and resized;
brightness, contrast and saturation are changed and light is added, in random order; half of the
images are mirrored. In validation: the shorter edge is resized and the middle is cut out. Both
resize with OpenCV's cubic interpolation. The released scripts use tensorpack's augmentors, and so
does this module.

Caffe: both edges are resized to 256 of 227, whatever the aspect ratio, by linear interpolation. In
training a window is cut out at a random place and half of the images are mirrored, in validation
the middle is cut out.

Source: Gross and Wilber, Training and investigating Residual Nets (fb.resnet.torch), 2016;
Szegedy et al., Going Deeper with Convolutions, 2015 (the window); Krizhevsky et al., ImageNet
Classification with Deep Convolutional Neural Networks, 2012 (the light).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from tensorpack.dataflow import imgaug

from sspq.data.checks import DataError, int_in

ASPECT = (0.75, 1.333)
TRIALS = 10  # of a window that fits
JITTER = 0.4  # brightness, contrast and saturation are scaled by 1 - JITTER to 1 + JITTER
LIGHT = 0.1  # standard deviation
# Of the colours of ImageNet's images, RGB: variances along, and directions of, the main axes.
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045], np.float32) * 255
EIGENVECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]],
    np.float32,
)


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images. The defaults are the released ones.

    Attributes:
        area: least and largest part of an image that a window covers, in (0, 1].
        colour: whether brightness, contrast, saturation and light are changed.
        mirror: whether half of the images are flipped from left to right.

    Raises:
        DataError: ``area`` is not so.
    """

    area: tuple[float, float] = (0.08, 1.0)
    colour: bool = True
    mirror: bool = True

    def __post_init__(self) -> None:
        if len(self.area) != 2 or not 0 < self.area[0] <= self.area[1] <= 1:
            raise DataError(f"`area` must be two numbers, 0 < least <= most <= 1, got {self.area}")


@dataclass(frozen=True)
class CaffeAugmentation:
    """What Caffe does to AlexNet's training images.

    Attributes:
        mirror: whether half of the images are flipped from left to right.
    """

    mirror: bool = True


RELEASED = Augmentation()
CAFFE = CaffeAugmentation()


def shorter_edge(image_size: int) -> int:
    """What a validation image's shorter edge is resized to: 256 for 224."""
    return int(image_size * 256 / 224 + 0.5)


def both_edges(image_size: int) -> int:
    """What Caffe resizes both edges of an image to: 256 for 227."""
    return int(image_size * 256 / 227 + 0.5)


class Augmentor:
    """Applies tensorpack's augmentors to one image.

    Args:
        image_size: height and width of the result in pixels, int >= 1.
        augmentation: changes to training images; None for validation.
        stretch: whether validation resizes both edges, as Caffe does, and not the shorter one
            (default: False).

    Raises:
        DataError: ``image_size`` is out of its range.
    """

    def __init__(
        self,
        image_size: int,
        augmentation: Augmentation | CaffeAugmentation | None,
        stretch: bool = False,
    ) -> None:
        self.image_size = int_in("image_size", image_size, 1, 2**15)
        self._rng = np.random.RandomState()
        if augmentation is None:
            steps = _validation(image_size, stretch)
        elif isinstance(augmentation, CaffeAugmentation):
            steps = _caffe_training(image_size, augmentation)
        else:
            steps = _training(image_size, augmentation)
        self._list = imgaug.AugmentorList(steps)
        self._drawing = list(_leaves(self._list))

    def __call__(self, image: np.ndarray, key: Sequence[int] = (0,)) -> np.ndarray:
        """uint8 ``[image_size, image_size, 3]`` from uint8 BGR ``[H, W, 3]``.

        All that is random is a function of ``key``, ints in [0, 2**32), and of nothing else.
        """
        self._rng.seed(key)
        for augmentor in self._drawing:  # every time: a fork gives each of them its own again
            augmentor.rng = self._rng
        return self._list.augment(image)


def _leaves(augmentor: imgaug.ImageAugmentor) -> list[imgaug.ImageAugmentor]:
    inner = getattr(augmentor, "augmentors", None) or getattr(augmentor, "aug_lists", None) or []
    return [augmentor] + [leaf for child in inner for leaf in _leaves(child)]


def _validation(image_size: int, stretch: bool) -> list[imgaug.ImageAugmentor]:
    resize = imgaug.ResizeShortestEdge(shorter_edge(image_size), cv2.INTER_CUBIC)
    return [_stretch(image_size) if stretch else resize, imgaug.CenterCrop(image_size)]


def _stretch(image_size: int) -> imgaug.ImageAugmentor:
    return imgaug.Resize(both_edges(image_size), cv2.INTER_LINEAR)


def _caffe_training(
    image_size: int, augmentation: CaffeAugmentation
) -> list[imgaug.ImageAugmentor]:
    result = [_stretch(image_size), imgaug.RandomCrop(image_size)]
    return result + [imgaug.Flip(horiz=True)] * augmentation.mirror


def _training(image_size: int, augmentation: Augmentation) -> list[imgaug.ImageAugmentor]:
    result = [
        imgaug.GoogleNetRandomCropAndResize(
            augmentation.area, ASPECT, image_size, interp=cv2.INTER_CUBIC
        )
    ]
    if augmentation.colour:
        scale = (1 - JITTER, 1 + JITTER)
        colours = [
            _terse(imgaug.BrightnessScale)(scale),
            _terse(imgaug.Contrast)(scale, rgb=False),
            _terse(imgaug.Saturation)(JITTER, rgb=False),
            # Images are BGR.
            _terse(imgaug.Lighting)(LIGHT, EIGENVALUES[::-1], EIGENVECTORS[::-1, ::-1]),
        ]
        # In float32, so that only the last result is rounded.
        result += [_terse(imgaug.ToFloat32)(), imgaug.RandomOrderAug(colours)]
        result += [_terse(imgaug.ToUint8)()]
    if augmentation.mirror:
        result.append(imgaug.Flip(horiz=True))
    return result


def _terse(augmentor: type) -> type:
    """The same augmentor with a short text for itself.

    Tensorpack writes that text anew for every image. Printing the arrays of ``Lighting`` and the
    rest takes 0.9 ms, where decoding an image takes 2.
    """
    return type(augmentor.__name__, (augmentor,), {"__str__": lambda self: type(self).__name__})
