"""What is done to one ILSVRC image, by TensorFlow's ops, to the pixels that OpenCV gives.

TensorFlow's own cubic and linear resizes take other weights or other places than OpenCV's, so the
resize is made of two sparse matrix products here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sspq.compat import tf
from sspq.data.ilsvrc.augment import (
    ASPECT,
    EIGENVALUES,
    EIGENVECTORS,
    JITTER,
    LIGHT,
    TRIALS,
    Augmentation,
    CaffeAugmentation,
    both_edges,
    shorter_edge,
)

_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of RGB, as OpenCV weighs them


def decode(path: Any) -> Any:
    """uint8 RGB ``[H, W, 3]`` of an image file, to the bit what OpenCV gives but for CMYK files."""
    return tf.image.decode_jpeg(  # decodes PNG as well
        tf.io.read_file(path), 3, fancy_upscaling=True, dct_method="INTEGER_ACCURATE"
    )


def centre(image: Any, image_size: int, edge: int | None = None) -> Any:
    """Where the middle of an image comes from, whose shorter edge is resized.

    Args:
        image: ``[H, W, 3]``.
        image_size: height and width of the middle.
        edge: pixels that the shorter edge is resized to (default: :func:`shorter_edge`).

    Returns:
        The arguments of :func:`resize` for it.
    """
    size = tf.shape(image)[:2]
    ratio = (edge or shorter_edge(image_size)) / tf.cast(tf.reduce_min(size), tf.float64)
    resized = tf.cast(ratio * tf.cast(size, tf.float64) + 0.5, tf.int32)
    return tf.zeros([2], tf.int32), size, resized, (resized - image_size) // 2


def stretched(image: Any, image_size: int, uniform: Any = None) -> Any:
    """Where a part of an image comes from, both of whose edges are resized as Caffe does.

    Args:
        image: ``[H, W, 3]``.
        image_size: height and width of the part.
        uniform: random numbers for the row and the column, float32 ``[2]`` in [0, 1) (default:
            None, the middle).

    Returns:
        The arguments of :func:`resize` for it.
    """
    edge = both_edges(image_size)
    room = edge - image_size
    if uniform is None:
        first = tf.fill([2], room // 2)
    else:
        first = tf.minimum(tf.cast(uniform * (room + 1), tf.int32), room)
    return tf.zeros([2], tf.int32), tf.shape(image)[:2], tf.fill([2], edge), first, True


def window(image: Any, image_size: int, area: tuple[float, float], uniform: Any) -> Any:
    """A window of random area and aspect ratio, as tensorpack's GoogleNetRandomCropAndResize.

    Args:
        image: ``[H, W, 3]``.
        image_size: height and width of the result in pixels.
        area: least and largest part of the image that the window covers.
        uniform: random numbers, float32 ``[TRIALS, 5]`` in [0, 1): a row for every trial of a
            window that fits. If none does, the middle is taken, with the shorter edge resized to
            ``image_size``.

    Returns:
        The arguments of :func:`resize` for it.
    """
    size = tf.shape(image)[:2]
    pixels = tf.cast(size[0] * size[1], tf.float32)
    covered = pixels * (area[0] + uniform[:, 0] * (area[1] - area[0]))
    aspect = ASPECT[0] + uniform[:, 1] * (ASPECT[1] - ASPECT[0])
    sides = tf.sqrt(tf.stack([covered / aspect, covered * aspect], 1))
    sides = tf.cast(sides + 0.5, tf.int32)
    sides = tf.where(uniform[:, 2] < 0.5, tf.reverse(sides, [1]), sides)
    fits = tf.reduce_all(sides <= size, 1)
    chosen = tf.argmax(tf.cast(fits, tf.int32))
    side, room = sides[chosen], size - sides[chosen]
    start = tf.cast(uniform[chosen, 3:] * tf.cast(room + 1, tf.float32), tf.int32)
    whole = tf.fill([2], image_size)
    return tf.cond(
        tf.reduce_any(fits),
        lambda: (tf.minimum(start, room), side, whole, tf.zeros([2], tf.int32)),
        lambda: centre(image, image_size, image_size),
    )


def resize(
    image: Any,
    image_size: int,
    start: Any,
    size: Any,
    resized: Any,
    first: Any,
    linear: bool = False,
) -> Any:
    """Cuts a window out, resizes it as OpenCV's interpolation does, and cuts that again.

    Args:
        image: uint8 ``[H, W, C]``.
        image_size: int, height and width of the result.
        start, size: int32 ``[2]``, the window's first row and column, height and width.
        resized: int32 ``[2]``, height and width that it is resized to.
        first: int32 ``[2]``, the first row and column of the result in that.
        linear: whether interpolation is linear, not by cubic polynomials (default: False).

    Returns:
        uint8 ``[image_size, image_size, C]``.
    """
    end = start + size
    pixels = tf.cast(image[start[0] : end[0], start[1] : end[1]], tf.float32)
    for axis in (0, 1):
        # Along the first axis, which is then swapped with the second.
        matrix = _weights(image_size, first[axis], size[axis], resized[axis], linear)
        across, channels = tf.shape(pixels)[1], tf.shape(pixels)[2]
        flat = tf.reshape(pixels, [size[axis], across * channels])
        flat = tf.sparse.sparse_dense_matmul(matrix, flat)
        pixels = tf.transpose(tf.reshape(flat, [image_size, across, channels]), [1, 0, 2])
    # Rounded by the cast, which cuts off: tf.round alone takes as long as half of the rest.
    return tf.cast(tf.clip_by_value(pixels + 0.5, 0, 255), tf.uint8)


def _weights(count: int, first: Any, size: Any, resized: Any, linear: bool) -> Any:
    """Weights of ``size`` pixels in ``count`` of ``resized`` ones, sparse ``[count, size]``.

    Pixel i is at ``x = (i + 1/2) size / resized - 1/2``. The four around it, at distance d, weigh
    ``(a+2) d^3 - (a+3) d^2 + 1`` up to 1 and ``a d^3 - 5a d^2 + 8a d - 4a`` up to 2, with
    a = -3/4, or ``max(0, 1 - d)`` if ``linear``; outside, the pixel at the edge counts.
    """
    scale = tf.cast(size / resized, tf.float32)  # int32 tensors divide in float64
    x = (tf.cast(first + tf.range(count), tf.float32) + 0.5) * scale - 0.5
    below = tf.floor(x)
    d = tf.abs((x - below)[:, None] - np.array([-1, 0, 1, 2], np.float32))
    weights = tf.maximum(1 - d, 0) if linear else _cubic(d)
    pixel = tf.cast(below, tf.int32)[:, None] + np.array([-1, 0, 1, 2], np.int32)
    pixel = tf.clip_by_value(pixel, 0, size - 1)
    rows = tf.tile(tf.range(count)[:, None], [1, 4])
    places = tf.cast(tf.reshape(tf.stack([rows, pixel], 2), [-1, 2]), tf.int64)
    shape = tf.cast(tf.stack([count, size]), tf.int64)
    return tf.SparseTensor(places, tf.reshape(weights, [-1]), shape)


def _cubic(d: Any) -> Any:
    a = -0.75
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return tf.where(d <= 1, near, far)


def augment(
    image: Any, image_size: int, augmentation: Augmentation | CaffeAugmentation, key: Any
) -> Any:
    """What :class:`sspq.data.ilsvrc.augment.Augmentor` does in training, with other random numbers.

    Args:
        image: uint8 RGB ``[H, W, 3]``.
        image_size: int, height and width of the result.
        augmentation: what is done.
        key: int64 ``[2]``: all that is random is a function of it.

    Returns:
        uint8 RGB ``[image_size, image_size, 3]``.
    """
    uniform = tf.random.stateless_uniform([TRIALS * 5 + 8], key)
    trials, rest = tf.reshape(uniform[:-8], [TRIALS, 5]), uniform[-8:]
    if isinstance(augmentation, CaffeAugmentation):
        image = resize(image, image_size, *stretched(image, image_size, rest[:2]))
    else:
        image = resize(image, image_size, *window(image, image_size, augmentation.area, trials))
    if isinstance(augmentation, Augmentation) and augmentation.colour:
        scales = 1 + JITTER * (2 * rest[:3] - 1)
        light = LIGHT * tf.random.stateless_normal([3], key + np.array([0, 2**32]))
        image = change_colours(image, tf.argsort(rest[3:7]), scales, light)
    if augmentation.mirror:
        image = tf.cond(rest[7] < 0.5, lambda: tf.reverse(image, [1]), lambda: image)
    return image


def change_colours(image: Any, order: Any, scales: Any, light: Any) -> Any:
    """Changes brightness, contrast and saturation and adds light, clipping after each.

    All four are ``x -> M x + c mean(grey(x)) + b``: no branch is needed for the order.

    Args:
        image: uint8 RGB ``[H, W, 3]``.
        order: int32 ``[4]``, a permutation of brightness 0, contrast 1, saturation 2, light 3.
        scales: float32 ``[3]``, of the first three; 1 changes nothing.
        light: float32 ``[3]``, along the main axes of the colours.

    Returns:
        uint8 of the same shape, rounded down, as tensorpack's ``ToUint8`` does.
    """
    same = np.eye(3, dtype=np.float32)
    brightness, contrast, saturation = scales[0], scales[1], scales[2]
    to_grey = np.outer(np.ones(3, np.float32), _GREY)
    matrices = tf.stack(
        [
            same * brightness,
            same * contrast,
            same * saturation + to_grey * (1 - saturation),
            tf.constant(same),
        ]
    )
    of_mean = tf.stack([0.0, 1 - contrast, 0.0, 0.0])
    added = tf.linalg.matvec(tf.constant(EIGENVECTORS), light * EIGENVALUES)
    added = tf.stack([tf.zeros([3])] * 3 + [added])
    # By colour plane, because short rows make TensorFlow's products and sums slow.
    planes = tf.transpose(tf.reshape(tf.cast(image, tf.float32), [-1, 3]))
    for k in range(4):
        step = order[k]
        mean = tf.reduce_sum(tf.reduce_mean(planes, 1) * _GREY)
        planes = tf.matmul(matrices[step], planes)
        planes = tf.clip_by_value(planes + (of_mean[step] * mean + added[step])[:, None], 0, 255)
    return tf.cast(tf.reshape(tf.transpose(planes), tf.shape(image)), tf.uint8)
