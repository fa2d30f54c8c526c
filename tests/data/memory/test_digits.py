"""The digits are real images in a split that never changes, and a data set checks itself."""

import dataclasses
import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sspq.data import DataError, load
from sspq.data.memory.digits import upscale


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_digits_are_split_into_1437_and_360_images(digits):
    assert digits.train_images.shape == (1437, 32, 32, 3)
    assert digits.test_images.shape == (360, 32, 32, 3)
    assert digits.train_images.dtype == digits.test_images.dtype == np.uint8
    assert digits.num_classes == 10


def test_a_mirrored_digit_is_no_digit(digits):
    assert digits.mirror is False


def test_the_test_images_have_the_classes_in_the_same_proportions(digits):
    train = np.bincount(digits.train_labels, minlength=10) / 1437.0
    test = np.bincount(digits.test_labels, minlength=10) / 360.0
    assert np.abs(train - test).max() < 1 / 360.0


def test_no_test_image_is_trained_on_and_none_is_lost(digits):
    train = {image.tobytes() for image in digits.train_images}
    test = {image.tobytes() for image in digits.test_images}
    assert not train & test
    assert len(train) + len(test) == 1797


def test_the_split_does_not_depend_on_the_random_state_of_the_process(digits):
    np.random.seed(5)
    again = load("digits")
    np.testing.assert_array_equal(again.test_images, digits.test_images)
    np.testing.assert_array_equal(again.test_labels, digits.test_labels)


def test_the_split_is_the_one_of_every_earlier_result(digits):
    assert digits.test_labels[:12].tolist() == [7, 6, 3, 7, 7, 3, 2, 8, 9, 3, 2, 6]
    digest = hashlib.sha256(digits.test_images.tobytes()).hexdigest()
    assert digest == "0071901659f01116dbc33d08a09c9ac4b9cc28e32b0c9a2f6d25a4d827ef558c"


def test_every_image_shows_the_digit_of_its_label(digits):
    source = load_digits()
    label_of = {
        image.tobytes(): label for image, label in zip(upscale(source.images), source.target)
    }
    for image, label in zip(digits.train_images, digits.train_labels):
        assert label_of[image.tobytes()] == label


def test_upscaling_keeps_the_range_and_is_grey():
    cells = np.zeros((2, 8, 8))
    cells[0] = 16
    large = upscale(cells)
    assert large.dtype == np.uint8
    assert (large[0] == 255).all() and (large[1] == 0).all()
    source = upscale(load_digits().images[:20])
    assert (source == source[..., :1]).all()


def test_upscaling_interpolates_linearly_between_the_middles_of_the_cells():
    ramp = np.tile(np.arange(8.0) * 2, (1, 8, 1))  # brighter from left to right
    middles = (np.arange(32) + 0.5) / 4 - 0.5
    expected = np.rint(np.interp(middles, np.arange(8), np.arange(8) * 2 * 255 / 16.0))
    np.testing.assert_array_equal(upscale(ramp)[0, 5, :, 0], expected)


def test_a_name_that_is_empty_is_refused():
    with pytest.raises(DataError, match="--data is empty"):
        load("")


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"name": ""}, "non-empty string"),
        ({"num_classes": 0}, "`num_classes` must be an int >= 1, got 0"),
        ({"num_classes": 9}, r"`train_labels` must be in \[0, 9\), got 0 to 9"),
        ({"mirror": 1}, "`mirror` must be a bool, got 1"),
        ({"train_images": None}, "`train_images` must be uint8 .* got a NoneType"),
        ({"test_images": np.zeros((3, 32, 32, 3))}, r"got float64 \[3, 32, 32, 3\]"),
        ({"test_images": np.zeros((3, 28, 28, 3), np.uint8)}, r"got uint8 \[3, 28, 28, 3\]"),
        ({"test_images": np.zeros((0, 32, 32, 3), np.uint8)}, "N >= 1"),
        ({"test_labels": np.zeros(360, np.int32)}, r"int64 \[360\].* got int32"),
        ({"test_labels": np.zeros(359, np.int64)}, r"got int64 \[359\]"),
        ({"test_labels": np.full(360, -1)}, "got -1 to -1"),
    ],
)
def test_a_data_set_that_is_not_what_it_says_is_refused(digits, change, reason):
    with pytest.raises(DataError, match=reason):
        dataclasses.replace(digits, **change)


def test_digits_cannot_be_downloaded():
    with pytest.raises(DataError, match="`--download` is for .* CIFAR-100; 'digits' need none"):
        load("digits", download=True)
