"""ILSVRC folders: which image files they hold, and which class each file shows.

A tree has ``train/<WordNet id>/*.JPEG`` and, in ``val``, either the same class folders or the
images themselves with a label file (:mod:`sspq.data.ilsvrc.labels`). Nothing is ever downloaded:
Caffe's class numbers are the sorted order of the WordNet ids, which the class folders tell.

Source: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, 2015.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sspq.data.checks import DataError
from sspq.data.ilsvrc import labels as ilsvrc_labels

PARTS = ("train", "val")
_CLASS_FOLDER = re.compile(r"n\d{8}")
_EXTENSIONS = (".jpeg", ".jpg")
_LAYOUT = (
    "expected the ILSVRC folder: train/<WordNet id>/*.JPEG, and val/ with the same class folders "
    "or with the images themselves and a label file"
)


# eq=False: comparing arrays has no single answer, so two parts are equal when identical.
@dataclass(frozen=True, eq=False)
class Images:
    """The image files of one part of a data set, with their labels.

    Attributes:
        name: ``"train"`` or ``"val"``.
        folder: the directory that the files are in.
        files: bytes ``[N]``, paths relative to ``folder`` as :func:`os.fsencode` gives them, in
            sorted order. One array and not a million strings, because worker processes share it.
        labels: int32 ``[N]``.
    """

    name: str
    folder: str
    files: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    def file(self, index: int) -> str:
        """The path of a file relative to the data set's root, as messages give it."""
        return os.path.join(self.name, os.fsdecode(self.files[index]))

    def path(self, index: int) -> str:
        return os.path.join(self.folder, os.fsdecode(self.files[index]))

    def without(self, files: Iterable[str]) -> Images:
        """The same part without the files of these names (:meth:`file`)."""
        skip = {os.fsencode(os.path.relpath(file, self.name)) for file in files}
        keep = np.array([file not in skip for file in self.files], bool)
        return replace(self, files=self.files[keep], labels=self.labels[keep])

    def order(self, seed: int, epoch: int, rank: int = 0, ranks: int = 1) -> np.ndarray:
        """The images that one of ``ranks`` processes trains on in an epoch, in order: int ``[M]``.

        All processes deal out one permutation, which is a function of ``(seed, epoch)`` alone: no
        image is shown twice in an epoch. ``M = N // ranks``, the same for every process.
        """
        shuffled = np.random.RandomState([seed, epoch]).permutation(len(self))
        return shuffled[rank::ranks][: len(self) // ranks]

    def share(self, rank: int, ranks: int) -> np.ndarray:
        """The images that one of ``ranks`` processes evaluates: each belongs to exactly one."""
        return np.arange(rank, len(self), ranks)


@dataclass(frozen=True, eq=False)
class Tree:
    """An ILSVRC folder.

    Attributes:
        root: its path.
        classes: WordNet ids by label. Empty if nothing tells them: a flat ``val`` with numbers
            for labels, no ``train`` and no official files.
        parts: the parts that were asked for, by name.
        foreign: files and folders that are no part of the data set, relative to the root.
        empty: class folders without an image, and those of ``train`` that are not there.
        missing: files that a label file names and that are not there.
    """

    root: str
    classes: tuple[str, ...]
    parts: Mapping[str, Images]
    foreign: tuple[str, ...]
    empty: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def train(self) -> Images:
        return self.parts["train"]

    @property
    def val(self) -> Images:
        return self.parts["val"]


def find(
    path: str | os.PathLike[str],
    meta_dir: str | os.PathLike[str] | None = None,
    parts: Sequence[str] = PARTS,
) -> Tree:
    """Lists an ILSVRC folder. Opens no image.

    Args:
        path: the folder that holds ``train`` and ``val``.
        meta_dir: folder of the official files, Caffe's (``synsets.txt``, ``val.txt``) or the
            development kit's (default: None). Without it classes are numbered by the sorted
            WordNet ids of the class folders, and a label file is looked for in ``path`` and
            ``path/val``.
        parts: parts that are needed, of ``"train"`` and ``"val"`` (default: both); the others may
            be absent.

    Raises:
        DataError: the folder is missing, or is not laid out as ILSVRC is.
    """
    root = os.path.expanduser(os.fspath(path))
    _check_root(root, parts)
    meta = None if meta_dir is None else os.path.expanduser(os.fspath(meta_dir))
    classes = _classes(root, meta)
    lister = _Lister(root)
    found: dict[str, Images] = {}
    missing: tuple[str, ...] = ()
    for name in parts:
        if name == "train" or _class_folders(os.path.join(root, name)):
            found[name] = lister.class_folders(name, classes)
        else:
            found[name], missing = lister.flat(name, classes, meta)
    return Tree(root, classes, found, tuple(lister.foreign), tuple(lister.empty), missing)


def _check_root(root: str, parts: Sequence[str]) -> None:
    if not root:
        raise DataError("`--data` is empty: " + _LAYOUT)
    if not os.path.isdir(root):
        what = "not a directory" if os.path.exists(root) else "no such directory"
        raise DataError(f"`--data`: {root!r}: {what}: {_LAYOUT}")
    absent = [name for name in parts if not os.path.isdir(os.path.join(root, name))]
    if not absent:
        return
    raise DataError(
        f"`--data`: {root!r} has no folder {' and no folder '.join(absent)}: {_LAYOUT}"
        + _probable_meaning(root)
    )


def _probable_meaning(root: str) -> str:
    """What was probably meant, where the folder shows it."""
    inside = os.path.join("ILSVRC", "Data", "CLS-LOC")
    for below in ("Data/CLS-LOC", inside, "ILSVRC2012", "imagenet"):
        if os.path.isdir(os.path.join(root, below, "val")):
            return f"; did you mean {os.path.join(root, below)!r}?"
    parent = os.path.dirname(os.path.abspath(root))
    if os.path.basename(os.path.abspath(root)) in PARTS:
        return f"; did you mean {parent!r}?"
    if _class_folders(root):
        return "; its class folders belong into a folder train"
    names = sorted(os.listdir(root))
    more = ", ..." if len(names) > 5 else ""
    return f"; it holds {', '.join(names[:5])}{more}" if names else "; it is empty"


def _class_folders(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if _CLASS_FOLDER.fullmatch(e.name) and e.is_dir())


def _classes(root: str, meta: str | None) -> tuple[str, ...]:
    if meta is not None:
        return ilsvrc_labels.official_classes(meta)
    for name in PARTS:
        folder = os.path.join(root, name)
        if os.path.isdir(folder) and _class_folders(folder):
            return tuple(_class_folders(folder))
    return ()


class _Lister:
    """Lists the parts of a tree and notes what does not belong there."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.foreign: list[str] = []
        self.empty: list[str] = []

    def class_folders(self, part: str, classes: Sequence[str]) -> Images:
        folder = os.path.join(self._root, part)
        there = _class_folders(folder)
        if not there:
            raise DataError(
                f"{folder}: has no class folder, that is one with a WordNet id like n01440764 for "
                f"its name: {_LAYOUT}"
            )
        label_of = {name: label for label, name in enumerate(classes)}
        unknown = [name for name in there if name not in label_of]
        if unknown:
            raise DataError(
                f"{folder}: the class folders {ilsvrc_labels.some(unknown)} are not among the "
                f"{len(classes)} known classes"
            )
        files: list[bytes] = []
        labels: list[int] = []
        loose = self._images(part, skip=there)  # notes what else lies beside the class folders
        self.foreign += [os.path.join(part, name) for name in loose]
        if part == "train":
            absent = sorted(set(classes) - set(there))
            self.empty += [os.path.join(part, name) for name in absent]
        for name in there:
            images = self._images(os.path.join(part, name))
            if not images:
                self.empty.append(os.path.join(part, name))
            files += [os.fsencode(os.path.join(name, image)) for image in images]
            labels += [label_of[name]] * len(images)
        return _images(part, folder, files, labels)

    def flat(
        self, part: str, classes: Sequence[str], meta: str | None
    ) -> tuple[Images, tuple[str, ...]]:
        folder = os.path.join(self._root, part)
        source = ilsvrc_labels.find([meta] if meta else [self._root, folder])
        names = self._images(part)
        if not names:
            raise DataError(f"{folder}: has no image (*.JPEG) and no class folder: {_LAYOUT}")
        if source is None:
            raise DataError(
                f"{folder}: holds images without class folders, and there is no label file in "
                f"{meta or self._root}: expected one of {', '.join(ilsvrc_labels.NAMES)}"
            )
        self.foreign = [f for f in self.foreign if os.path.join(self._root, f) != source]
        labels = ilsvrc_labels.read(source, names, classes)
        unlabelled = [name for name in names if name not in labels]
        if unlabelled:
            raise DataError(f"{source}: has no label for {ilsvrc_labels.some(unlabelled)}")
        missing = tuple(os.path.join(part, name) for name in sorted(set(labels) - set(names)))
        files = [os.fsencode(name) for name in names]
        return _images(part, folder, files, [labels[name] for name in names]), missing

    def _images(self, below: str, skip: Sequence[str] = ()) -> list[str]:
        """Names of the images in a folder; all else but ``skip`` is foreign."""
        images, known = [], set(skip)
        with os.scandir(os.path.join(self._root, below)) as entries:
            for entry in entries:
                name = entry.name
                # Names with a dot in front are what desktops leave behind (._x.JPEG).
                is_image = name[0] != "." and name.lower().endswith(_EXTENSIONS)
                # A link to nothing is an image that is missing.
                if is_image and (entry.is_file() or entry.is_symlink()):
                    images.append(name)
                elif name not in known:
                    self.foreign.append(os.path.join(below, name))
        return sorted(images)


def _images(part: str, folder: str, files: list[bytes], labels: list[int]) -> Images:
    if not files:
        raise DataError(f"{folder}: none of its class folders has an image (*.JPEG)")
    return Images(part, folder, np.array(files, bytes), np.array(labels, np.int32))
