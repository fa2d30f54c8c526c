"""A small ILSVRC tree of JPEG files, written from images that need no download.

It holds scikit-learn's digits, so that scripts for ImageNet can be tried on real images anywhere.
"""

from __future__ import annotations

import fcntl
import os
import shutil

import cv2
import numpy as np

from sspq.data.checks import DataError
from sspq.data.memory import digits
from sspq.files import write_atomically

# Shaped like WordNet ids; those of the real ILSVRC begin at n01440764.
CLASSES = tuple(f"n{digit:08d}" for digit in range(10))
# 64 pixels of digit and a margin: what validation cuts off at 64 pixels is margin alone.
_DIGIT, _MARGIN, _LONGER = 64, 8, 16
_QUALITY = 95
_COMPLETE = "README"
_ABOUT = "scikit-learn's handwritten digits, laid out as ILSVRC is.\n"


def write(path: str | os.PathLike[str]) -> str:
    """Writes the tree, unless it is there already: always the same bytes.

    ``train`` has a folder for each of the 10 classes with 1,437 files in all; ``val`` has 360
    files and their labels in ``val.txt``, as the official archives unpack. The split is that of
    :func:`sspq.data.memory.digits.load`. Images are 80 pixels high and 80 to 96 wide.

    The folder gets its name when all is written: a kill leaves no half of it.

    Args:
        path: folder of the tree, which must be empty if it exists.

    Returns:
        The absolute path.

    Raises:
        DataError: something else is there, or nothing can be written.
    """
    root = os.path.abspath(os.fspath(path))
    parent, name = os.path.split(root)
    try:
        os.makedirs(parent, exist_ok=True)
        lock = os.open(parent, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits, and finds the tree there
            if _is_complete(root):
                return root
            if os.path.lexists(root):
                os.rmdir(root)  # an empty folder only
            # Beside it, because a rename is atomic only within one file system.
            temporary = os.path.join(parent, f".{name}.part")
            shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
            _write_all(temporary)
            os.rename(temporary, root)
        finally:
            os.close(lock)
    except OSError as error:
        raise DataError(f"{root}: the demo's images cannot be written there: {error}") from error
    return root


def _is_complete(root: str) -> bool:
    """Whether the tree is there: other folders too have a README."""
    names = (_COMPLETE, "train", "val", "val.txt")
    if not all(os.path.exists(os.path.join(root, name)) for name in names):
        return False
    with open(os.path.join(root, _COMPLETE), "rb") as f:
        return f.read() == _ABOUT.encode()


def _write_all(root: str) -> None:
    data = digits.load()
    lines = []
    for part, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("val", data.test_images, data.test_labels),
    ):
        for index, (image, label) in enumerate(zip(images, labels)):
            folder, name = os.path.join(root, part), f"ILSVRC2012_val_{(index + 1):08d}.JPEG"
            if part == "train":
                folder = os.path.join(folder, CLASSES[label])
                name = f"{CLASSES[label]}_{index}.JPEG"
            else:
                lines.append(f"{name} {label}\n")
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, name), "wb") as f:
                f.write(_jpeg(image, index))
    write_atomically(os.path.join(root, "val.txt"), "".join(lines))
    write_atomically(os.path.join(root, _COMPLETE), _ABOUT)


def _jpeg(image: np.ndarray, index: int) -> bytes:
    """A 32x32 digit, enlarged, with a margin; a few pixels wider than high, so that both differ."""
    large = cv2.resize(image, (_DIGIT, _DIGIT), interpolation=cv2.INTER_LINEAR)
    left, right = _MARGIN + np.array([index % 3, index // 3 % 3]) * (_LONGER // 4)
    padded = cv2.copyMakeBorder(
        large, _MARGIN, _MARGIN, int(left), int(right), cv2.BORDER_CONSTANT, value=(0, 0, 0)
    )
    _, encoded = cv2.imencode(".JPEG", padded, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return encoded.tobytes()
