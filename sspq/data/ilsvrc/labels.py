"""The official files of ILSVRC: which classes there are, and the labels of a flat ``val`` folder.

Four forms of label file are read:

* Caffe's ``val.txt``: ``name label`` on each line, where the label is the class number from 0 in
  the sorted order of the WordNet ids, or the WordNet id itself;
* ``imagenet_2012_validation_synset_labels.txt``: a WordNet id for every image, in sorted order;
* Kaggle's ``LOC_val_solution.csv``;
* the development kit's ``ILSVRC2012_validation_ground_truth.txt``: for every image, in sorted
  order, a number from 1 that is not the class number; the kit's ``meta.mat`` tells what it means.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence

from sspq.data.checks import DataError

SYNSETS = "synsets.txt"
META_MAT = "meta.mat"
DEVKIT = "ILSVRC2012_validation_ground_truth.txt"
KAGGLE = "LOC_val_solution.csv"
NAMES = ("val.txt", "imagenet_2012_validation_synset_labels.txt", KAGGLE, DEVKIT)


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few of many names, and how many there are."""
    listed = ", ".join(names[:most])
    return f"{listed}, ... ({len(names)} in all)" if len(names) > most else listed


def find(folders: Iterable[str]) -> str | None:
    """The path of the first label file in these folders or their ``data`` folder, or None."""
    for folder in folders:
        for name in NAMES:
            for path in (os.path.join(folder, name), os.path.join(folder, "data", name)):
                if os.path.isfile(path):
                    return path
    return None


def official_classes(meta_dir: str) -> tuple[str, ...]:
    """WordNet ids by class number, from ``synsets.txt`` or the development kit's ``meta.mat``.

    Raises:
        DataError: neither is there, or it does not hold them.
    """
    path = os.path.join(meta_dir, SYNSETS)
    if os.path.isfile(path):
        classes = tuple(line.strip() for line in _lines(path))
        if len(set(classes)) != len(classes) or not classes:
            raise DataError(f"{path}: expected a WordNet id on each line, each one once")
        return classes
    for mat in _meta_mats(meta_dir):
        return tuple(sorted(_devkit_ids(mat).values()))
    raise DataError(
        f"`--meta-dir`: {meta_dir!r} has no {SYNSETS} and no {META_MAT}: expected the folder of "
        "Caffe's or the development kit's files; without --meta-dir classes are numbered in the "
        "sorted order of the class folders, which is the same"
    )


def read(path: str, images: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    """Labels by image name, from any of the four forms.

    Args:
        path: label file.
        images: names of the images, sorted: what the forms without names are about.
        classes: WordNet ids by label; empty if unknown, and then only class numbers will do.

    Raises:
        DataError: the file is none of these, or does not fit the images or the classes.
    """
    rows = _kaggle(path) if os.path.basename(path) == KAGGLE else [r.split() for r in _lines(path)]
    lengths = {len(row) for row in rows}
    if lengths == {1}:
        if len(rows) != len(images):
            raise DataError(
                f"{path}: has {len(rows)} labels for {len(images)} images: it names no images, so "
                "there must be one for each, in the sorted order of their names"
            )
        values = [row[0] for row in rows]
        if all(value.isdigit() for value in values):
            values = _from_devkit(path, values)
        names = list(images)
    elif lengths == {2}:
        names = [os.path.basename(row[0]) for row in rows]
        values = [row[1] for row in rows]
        if len(set(names)) != len(names):
            raise DataError(f"{path}: names an image twice")
    else:
        raise DataError(f"{path}: not a label file: expected `name label` or `label` on each line")
    return dict(zip(names, _numbers(path, values, classes)))


def _numbers(path: str, values: Sequence[str], classes: Sequence[str]) -> list[int]:
    label_of = {name: label for label, name in enumerate(classes)}
    # Where the classes are unknown any number is a label, else only those that have a class.
    most = len(classes) if classes else 2**31
    labels = []
    for value in values:
        label = int(value) if value.isdigit() else label_of.get(value, -1)
        if not 0 <= label < most:
            known = f"the {len(classes)} known classes" if classes else "class numbers"
            raise DataError(f"{path}: the label {value!r} is not among {known}")
        labels.append(label)
    return labels


def _lines(path: str) -> list[str]:
    with open(path, encoding="utf-8") as f:
        try:
            return [line for line in f.read().splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not a text file: {error}") from error


def _kaggle(path: str) -> list[list[str]]:
    """Rows ``ImageId, "wnid x y x y wnid ..."``: every box of an image is of the same class."""
    rows = [row for row in csv.reader(_lines(path)) if len(row) == 2 and row[1].split()]
    return [[f"{name}.JPEG", boxes.split()[0]] for name, boxes in rows if name != "ImageId"]


def _from_devkit(path: str, values: Sequence[str]) -> list[str]:
    for mat in _meta_mats(os.path.dirname(path)):
        ids = _devkit_ids(mat)
        unknown = [value for value in values if int(value) not in ids]
        if unknown:
            raise DataError(f"{path}: {mat} has no ILSVRC2012_ID {some(unknown)}")
        return [ids[int(value)] for value in values]
    raise DataError(
        f"{path}: numbers without image names are the development kit's own, and not class "
        f"numbers: expected the kit's {META_MAT} beside it, or another label file"
    )


def _meta_mats(folder: str) -> list[str]:
    paths = (os.path.join(folder, META_MAT), os.path.join(folder, "data", META_MAT))
    return [path for path in paths if os.path.isfile(path)]


def _devkit_ids(path: str) -> dict[int, str]:
    """WordNet ids of the 1,000 classes by ILSVRC2012_ID; higher numbers are inner nodes."""
    from scipy.io import loadmat

    try:
        synsets = loadmat(path, squeeze_me=True)["synsets"]
        ids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    except Exception as error:  # a damaged file may raise anything
        raise DataError(f"{path}: not the development kit's file: {error!r}") from error
    return {number: name for number, name in ids.items() if number <= 1000}
