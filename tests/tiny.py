"""A data set of a few digits, for tests that really train."""

from sspq.data.memory import digits
from sspq.data.memory.dataset import Dataset


def tiny_digits(train=64, test=32):
    whole = digits.load()
    return Dataset(
        name="digits",
        train_images=whole.train_images[:train],
        train_labels=whole.train_labels[:train],
        test_images=whole.test_images[:test],
        test_labels=whole.test_labels[:test],
        num_classes=10,
        mirror=False,
    )
