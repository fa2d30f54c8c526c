"""Images to train and test on: CIFAR-100 from its official files, and digits that need no file.

``sspq.data.flow``, which feeds them to a trainer, is imported by its own name: it needs
tensorpack, and reading or checking a data set does not.
"""

from sspq.data.dataset import DataError, Dataset, load

__all__ = ["DataError", "Dataset", "load"]
