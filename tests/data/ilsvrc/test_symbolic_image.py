"""One image by TensorFlow's ops is what OpenCV and tensorpack's augmentors make of it."""

import cv2
import numpy as np
import pytest
from tensorpack.dataflow import imgaug

from sspq.compat import tf
from sspq.data.ilsvrc import symbolic_image as symbolic
from sspq.data.ilsvrc.augment import (
    EIGENVALUES,
    EIGENVECTORS,
    RELEASED,
    TRIALS,
    Augmentation,
    Augmentor,
    CaffeAugmentation,
)
from tests.data.ilsvrc_tree import picture

SIZE = 64


def run(tensor):
    with tf.Session() as session:
        return session.run(tensor)


@pytest.mark.parametrize("trial", range(6))
def test_a_window_is_resized_as_opencv_does(trial):
    image = np.ascontiguousarray(picture(trial, 150, 170))
    uniform = np.random.RandomState(trial).rand(TRIALS, 5).astype(np.float32)
    place = symbolic.window(tf.constant(image), SIZE, (0.08, 1.0), tf.constant(uniform))
    out, (start, size, resized, first) = run(
        (symbolic.resize(tf.constant(image), SIZE, *place), place)
    )
    assert resized.tolist() == [SIZE, SIZE] and first.tolist() == [0, 0]
    cut = image[start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
    assert cut.shape[:2] == tuple(size)
    expected = cv2.resize(cut, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    assert np.abs(out.astype(int) - expected).max() <= 1


def test_windows_are_spread_as_tensorpack_s():
    """Areas, shapes and places of many windows, against those of the augmentor."""
    shape, count = (150, 210), 1500
    image = np.zeros((*shape, 3), np.uint8)
    random = imgaug.GoogleNetRandomCropAndResize(target_shape=SIZE)
    random.rng = np.random.RandomState(0)
    expected = []
    while len(expected) < count:
        crop = random.get_transform(image).tfms[0]
        if hasattr(crop, "y0"):
            expected.append((crop.y0, crop.x0, crop.h, crop.w))
    uniform = tf.placeholder(tf.float32, [TRIALS, 5])
    start, size, _, _ = symbolic.window(tf.constant(image), SIZE, (0.08, 1.0), uniform)
    rng, windows = np.random.RandomState(1), []
    with tf.Session() as session:
        for _ in range(count):
            y, x = session.run((start, size), {uniform: rng.rand(TRIALS, 5)})
            windows.append((*y, *x))
    for mine, theirs in zip(np.transpose(windows), np.transpose(expected)):
        for q in (10, 25, 50, 75, 90):
            assert abs(np.percentile(mine, q) - np.percentile(theirs, q)) < 10


def test_where_no_window_fits_the_middle_is_taken():
    image = np.ascontiguousarray(picture(0, 20, 400))
    uniform = np.full((TRIALS, 5), 0.999, np.float32)
    place = symbolic.window(tf.constant(image), SIZE, (0.9, 1.0), tf.constant(uniform))
    out = run(symbolic.resize(tf.constant(image), SIZE, *place))
    middle = imgaug.AugmentorList(
        [imgaug.ResizeShortestEdge(SIZE, cv2.INTER_CUBIC), imgaug.CenterCrop(SIZE)]
    )
    assert np.abs(out.astype(int) - middle.augment(image)).max() <= 1


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_colours_change_as_tensorpack_s_augmentors_change_them(order):
    image = picture(0, 40, 50)
    scales, light = np.float32([1.3, 0.7, 1.2]), np.float32([0.1, -0.2, 0.05])
    out = run(symbolic.change_colours(tf.constant(image), tf.constant(order), scales, light))
    steps = [
        (imgaug.BrightnessScale((0.6, 1.4)), scales[0]),
        (imgaug.Contrast((0.6, 1.4), rgb=False), scales[1]),
        (imgaug.Saturation(0.4, rgb=False), scales[2]),
        (imgaug.Lighting(0.1, EIGENVALUES[::-1], EIGENVECTORS[::-1, ::-1]), light[::-1]),
    ]
    expected = image[:, :, ::-1].astype(np.float32)
    for k in order:
        expected = steps[k][0]._augment(expected, steps[k][1])
    difference = np.abs(out[:, :, ::-1].astype(int) - expected.astype(np.uint8))
    # Both are cut off, so a rounding error of float32 may cost one.
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


@pytest.mark.parametrize("augmentation", [RELEASED, Augmentation((0.5, 1.0), True, False)])
def test_augmented_images_are_spread_as_the_dataflow_s(augmentation):
    image = np.ascontiguousarray(picture(0, 100, 120))
    augmentor = Augmentor(SIZE, augmentation)
    expected = np.array([augmentor(image[:, :, ::-1], [i]) for i in range(400)])[..., ::-1]
    key = tf.placeholder(tf.int64, [2])
    out = symbolic.augment(tf.constant(image), SIZE, augmentation, key)
    with tf.Session() as session:
        mine = np.array([session.run(out, {key: [5, i]}) for i in range(400)])
    for values in (np.mean, np.std):
        a, b = values(mine, axis=(1, 2)), values(expected, axis=(1, 2))  # of every image
        error = 4 * np.sqrt((a.var(axis=0) + b.var(axis=0)) / 400)
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < error).all()
        np.testing.assert_allclose(a.std(axis=0), b.std(axis=0), rtol=0.2)
    mirrored = np.mean(mine[:, :, : SIZE // 2].astype(float) - mine[:, :, SIZE // 2 :], (1, 2, 3))
    assert abs((mirrored > 0).mean() - 0.5) < (0.15 if augmentation.mirror else 0.5)


@pytest.mark.parametrize("mirror", [True, False])
def test_caffe_s_windows_are_opencv_s_anywhere_and_mirrored_as_told(mirror):
    image = np.ascontiguousarray(picture(0, 60, 150))
    large = cv2.resize(image, (72, 72), interpolation=cv2.INTER_LINEAR).astype(int)
    key = tf.placeholder(tf.int64, [2])
    out = symbolic.augment(tf.constant(image), SIZE, CaffeAugmentation(mirror), key)
    drawn = []
    with tf.Session() as session:
        for k in range(200):
            got = session.run(out, {key: [3, k]}).astype(int)
            near = [
                (i, j, flip)
                for i in range(9)
                for j in range(9)
                for flip in range(2)
                if np.abs(large[i : i + 64, j : j + 64][:, :: 1 - 2 * flip] - got).max() <= 1
            ]
            assert len(near) == 1
            drawn += near
    rows, columns, flips = np.transpose(drawn)
    assert set(rows) == set(columns) == set(range(9))
    assert 60 < flips.sum() < 140 if mirror else not flips.any()
