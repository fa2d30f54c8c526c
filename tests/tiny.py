"""A data set of a few digits, for tests that really train."""

from sspq.data import dataset as datasets
from sspq.data.dataset import Dataset


def tiny_digits(train=64, test=32):
    digits = datasets.load("digits")
    return Dataset(
        name="digits",
        train_images=digits.train_images[:train],
        train_labels=digits.train_labels[:train],
        test_images=digits.test_images[:test],
        test_labels=digits.test_labels[:test],
        num_classes=10,
        mirror=False,
    )
