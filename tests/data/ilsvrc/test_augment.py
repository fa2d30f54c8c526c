"""Augmentation is fb.resnet.torch's, by tensorpack, and depends on its key alone."""

import cv2
import numpy as np
import pytest
from tensorpack.dataflow import imgaug

from sspq.data import DataError
from sspq.data.ilsvrc.augment import (
    CAFFE,
    RELEASED,
    Augmentation,
    Augmentor,
    CaffeAugmentation,
    both_edges,
    shorter_edge,
)
from tests.data.ilsvrc_tree import picture

IMAGE = picture(0, 200, 300)[:, :, ::-1]


def test_validation_resizes_the_shorter_edge_to_256_of_224_and_cuts_the_middle_out():
    out = Augmentor(224, None)(IMAGE)
    large = cv2.resize(IMAGE, (384, 256), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(out, large[16:240, 80:304])


@pytest.mark.parametrize("size, edge", [(224, 256), (64, 73), (32, 37), (299, 342)])
def test_the_shorter_edge_scales_with_the_input(size, edge):
    assert shorter_edge(size) == edge
    assert Augmentor(size, None)(IMAGE).shape == (size, size, 3)


def test_caffe_s_validation_stretches_both_edges_to_256_of_227_and_cuts_the_middle_out():
    out = Augmentor(227, None, stretch=True)(IMAGE)
    large = cv2.resize(IMAGE, (256, 256), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(out, large[14:241, 14:241])


@pytest.mark.parametrize("size, edge", [(227, 256), (224, 253), (64, 72)])
def test_both_edges_scale_with_the_input(size, edge):
    assert both_edges(size) == edge


@pytest.mark.parametrize("mirror", [True, False])
def test_caffe_s_windows_are_anywhere_and_mirrored_as_told(mirror):
    large = cv2.resize(IMAGE, (72, 72), interpolation=cv2.INTER_LINEAR)
    windows = {
        large[i : i + 64, j : j + 64][:, :: 1 - 2 * flip].tobytes(): (i, j, flip)
        for i in range(9)
        for j in range(9)
        for flip in range(2)
    }
    assert len(windows) == 9 * 9 * 2
    augmentor = Augmentor(64, CaffeAugmentation(mirror))
    drawn = np.array([windows[augmentor(IMAGE, [k]).tobytes()] for k in range(300)])
    assert set(drawn[:, 0]) == set(drawn[:, 1]) == set(range(9))
    assert 100 < drawn[:, 2].sum() < 200 if mirror else not drawn[:, 2].any()


@pytest.mark.parametrize("augmentation", [RELEASED, Augmentation(colour=False), CAFFE])
def test_the_key_decides_everything(augmentation):
    augmentor = Augmentor(64, augmentation)
    first = [augmentor(IMAGE, [0, 1, i]) for i in range(5)]
    np.random.seed(5)
    again = [Augmentor(64, augmentation)(IMAGE, [0, 1, i]) for i in reversed(range(5))]
    for a, b in zip(first, reversed(again)):
        assert a.dtype == np.uint8 and a.shape == (64, 64, 3)
        np.testing.assert_array_equal(a, b)
    assert len({a.tobytes() for a in first}) == 5


def test_half_of_the_images_are_mirrored_unless_told_otherwise():
    left = np.zeros((80, 80, 3), np.uint8)
    left[:, :40] = 255
    whole = dict(area=(1.0, 1.0), colour=False)
    mirrored = [
        Augmentor(64, Augmentation(mirror=mirror, **whole))(left, [i])[:, :8].mean() < 128
        for mirror in (True, False)
        for i in range(100)
    ]
    assert 30 < sum(mirrored[:100]) < 70
    assert not any(mirrored[100:])


def test_windows_cover_the_area_that_is_asked_for():
    rows, columns = np.mgrid[:240, :240]
    ramp = np.stack([rows, columns, 0 * rows], 2).astype(np.uint8)
    areas = []
    for i in range(300):
        out = Augmentor(64, Augmentation((0.25, 0.5), False, False))(ramp, [i]).astype(int)
        height, width = out[-1, 0, 0] - out[0, 0, 0], out[0, -1, 1] - out[0, 0, 1]
        areas.append((height + 4) * (width + 4) / 240**2)
    assert 0.23 < min(areas) < 0.28 and 0.47 < max(areas) < 0.53


def test_colours_change_as_tensorpack_s_augmentors_change_them():
    """All four at their mean change nothing but the rounding; apart, each has its effect."""
    crop = Augmentation((1.0, 1.0), colour=False, mirror=False)
    plain = Augmentor(64, crop)(IMAGE, [0]).astype(float)
    coloured = [
        Augmentor(64, Augmentation((1.0, 1.0), True, False))(IMAGE, [i]) for i in range(200)
    ]
    means = np.array([image.mean() for image in coloured])
    assert abs(means.mean() - plain.mean()) < 0.1 * plain.mean()
    assert means.min() < 0.7 * plain.mean() and means.max() > 1.25 * plain.mean()
    # Lighting makes the three channels differ from what one scale could do.
    assert np.std([image[..., 0].mean() - image[..., 2].mean() for image in coloured]) > 3


def test_an_augmentor_s_short_text_changes_nothing_else():
    terse = Augmentor(64, RELEASED)._list.augmentors[2].aug_lists[3]
    assert isinstance(terse, imgaug.Lighting) and str(terse) == "Lighting"


@pytest.mark.parametrize("area", [(0.0, 1.0), (0.5, 0.4), (0.5, 1.1), (0.5,)])
def test_an_impossible_area_is_an_error(area):
    with pytest.raises(DataError, match="`area` must be two numbers"):
        Augmentation(area)


@pytest.mark.parametrize("size", [0, -1, 2.5, "224"])
def test_an_impossible_size_is_an_error(size):
    with pytest.raises(DataError, match="`image_size` must be an int"):
        Augmentor(size, None)
