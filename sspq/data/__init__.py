"""Images to train and test on: CIFAR-100 from its official files, and digits that need no file.

``memory`` holds such data sets and the flow that feeds them to a trainer. ``ilsvrc`` is for ILSVRC
folders, which do not fit into memory: ``tree`` finds their files and labels, ``scan`` checks the
files, ``flow`` and ``symbolic`` feed a trainer, ``demo_tree`` writes a small one.

Modules that feed a trainer are imported by their own names: they need tensorpack, and reading or
checking a data set does not.
"""

from __future__ import annotations

import os

from sspq.data.checks import DataError
from sspq.data.memory import cifar, digits
from sspq.data.memory.dataset import Dataset

__all__ = ["DataError", "Dataset", "load"]


def load(spec: str | os.PathLike[str], download: bool = False) -> Dataset:
    """Loads the data set that ``spec`` names.

    Args:
        spec: ``"digits"`` for scikit-learn's digits, or where CIFAR-100 is: a directory that
            holds ``cifar-100-python.tar.gz`` or the unpacked ``cifar-100-python``, that folder
            itself, or the archive itself. A directory called digits is ``./digits``.
        download: whether CIFAR-100 is fetched into the directory if it is not there (default:
            False).

    Returns:
        The data set, verified.

    Raises:
        DataError: the data is missing, damaged, or cannot be downloaded.
    """
    path = os.fspath(spec)
    if not path:
        raise DataError("--data is empty: expected `digits` or the directory of CIFAR-100")
    if path != "digits":
        return cifar.load(path, download)
    if download:
        raise DataError("`--download` is for the directory of CIFAR-100; 'digits' need none")
    return digits.load()
