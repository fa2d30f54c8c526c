"""A fast look at every file of an ILSVRC tree, before hours of training meet the bad ones.

Of every file the header is parsed and the end is looked at, not the picture decoded: a JPEG that
was cut off has no end-of-image marker. What was found is cached, by size and time of each file.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image
from tqdm import tqdm

from sspq.data.checks import DataError
from sspq.data.ilsvrc.labels import some
from sspq.data.ilsvrc.tree import Images, Tree
from sspq.data.workers import Workers, available_cores
from sspq.files import read_json, write_json

_VERSION = 1  # of the cache: another one if a file would be judged otherwise
_CHUNK = 500  # files of one task, and of one entry in the cache

# What is read all the same: both pipelines decode these to colour images.
UNUSUAL = {
    "grayscale": "grayscale",
    "CMYK": "CMYK colours",
    "PNG": "PNG under a JPEG's name",
}
BAD = {
    "truncated": "truncated",
    "unknown": "neither JPEG nor PNG",
    "unreadable": "that may not be read or that link to nothing",
    "empty": "of no bytes",
    "missing": "named by the label file and not there",
}


@dataclass(frozen=True)
class Finding:
    """One file that is not as usual: its path in the tree, and a key of ``UNUSUAL`` or ``BAD``."""

    file: str
    kind: str


@dataclass(frozen=True)
class Report:
    """What a scan found.

    Attributes:
        files: number of files that were looked at.
        findings: about the images, in the tree's order.
        foreign, empty: the tree's.
    """

    files: int
    findings: tuple[Finding, ...]
    foreign: tuple[str, ...]
    empty: tuple[str, ...]

    def bad(self, part: str) -> list[Finding]:
        """The findings about files of ``"train"`` or ``"val"`` that cannot be used."""
        return [f for f in self.findings if f.kind in BAD and f.file.startswith(part + os.sep)]

    def counts(self) -> dict[str, int]:
        """How many files are of each kind, for a report; kinds that were not found are left out."""
        found = {kind: 0 for kind in (*UNUSUAL, *BAD)}
        for finding in self.findings:
            found[finding.kind] += 1
        found.update({"foreign": len(self.foreign), "empty folders": len(self.empty)})
        return {kind: count for kind, count in found.items() if count}

    def __str__(self) -> str:
        lines = [f"{self.files} image files"]
        for kinds, fate in ((UNUSUAL, "used"), (BAD, "cannot be used")):
            for kind, meaning in kinds.items():
                names = tuple(f.file for f in self.findings if f.kind == kind)
                lines += [f"  {len(names)} {meaning}, {fate}: {some(names)}"] if names else []
        for names, what in (
            (self.empty, "class folders without an image"),
            (self.foreign, "other files and folders, ignored"),
        ):
            lines += [f"  {len(names)} {what}: {some(names)}"] if names else []
        return "\n".join(lines if len(lines) > 1 else [lines[0] + ", nothing unusual"])

    def for_training(self, images: Images) -> Images:
        """The images without those that cannot be used.

        Raises:
            DataError: no image is left.
        """
        bad = self.bad(images.name)
        usable = images.without(f.file for f in bad) if bad else images
        if not len(usable):
            raise DataError(f"{images.folder}: none of its {len(images)} images can be used")
        return usable

    def for_evaluation(self, images: Images, skip_bad: bool = False) -> Images:
        """The images, all of them, because accuracy on a part of them is another number.

        Args:
            skip_bad: whether images that cannot be used are left out, as :meth:`for_training` does
                (default: False).

        Raises:
            DataError: some images cannot be used; the text names them.
        """
        bad = self.bad(images.name)
        if bad and not skip_bad:
            named = [f"{f.file} ({BAD[f.kind]})" for f in bad]
            raise DataError(
                f"{len(bad)} of the images to evaluate on cannot be used: {some(named, 20)}; "
                "replace them, or evaluate on the others by the training scripts' --skip-bad"
            )
        return self.for_training(images)


def scan(tree: Tree, cache_dir: str | None = None, processes: int | None = None) -> Report:
    """Looks at every file of a tree; at those that have changed, where it was scanned before.

    Args:
        tree: result of :func:`sspq.data.ilsvrc.tree.find`.
        cache_dir: folder for what was found (default: ``sspq`` in ``$XDG_CACHE_HOME`` or
            ``~/.cache``, because a data set may be read-only). If nothing can be written there,
            nothing is cached.
        processes: number of processes that look at files (default: two for each core, since they
            wait for the disk); 0 does it in this process.

    Returns:
        What is unusual or bad.
    """
    findings = [Finding(file, "missing") for file in tree.missing]
    processes = 2 * available_cores() if processes is None else processes
    with _cached(tree.root, cache_dir) as cache:
        tasks = [task for part in tree.parts.values() for task in _tasks(part)]
        for key in set(cache) - {key for key, _ in tasks}:
            if key.split(os.sep)[0] in tree.parts:
                del cache[key]  # of files that are gone
        total = sum(len(part) for part in tree.parts.values())
        with Workers(_Scanner(tree.root, cache), processes) as workers:
            # disable=None: no bar where standard error is not a terminal
            with tqdm(total=total, unit="file", desc=f"Checking {tree.root}", disable=None) as bar:
                for (key, files), result in zip(tasks, workers.map(tasks)):
                    cache[key] = result
                    findings += [Finding(files[at], kind) for at, kind in result["findings"]]
                    bar.update(len(files))
    return Report(total, tuple(findings), tree.foreign, tree.empty)


def _tasks(part: Images) -> Iterator[tuple[str, list[str]]]:
    """Files to look at together, named by the first one: never of two folders, so that a file more
    in one of them leaves what is known about the others."""
    for _, group in itertools.groupby(range(len(part)), lambda i: os.path.dirname(part.files[i])):
        indices = list(group)
        for start in range(0, len(indices), _CHUNK):
            files = [part.file(i) for i in indices[start : start + _CHUNK]]
            yield files[0], files


class _Scanner:
    """Judges the files of one task, unless the cache knows them."""

    def __init__(self, root: str, cache: dict[str, Any]) -> None:
        self._root = root
        self._cache = cache

    def __call__(self, task: tuple[str, list[str]]) -> dict[str, Any]:
        key, files = task
        paths = [os.path.join(self._root, file) for file in files]
        fingerprint = _fingerprint(paths)
        known = self._cache.get(key)
        if known is not None and known["fingerprint"] == fingerprint:
            return known
        judged = [(place, judge(path)) for place, path in enumerate(paths)]
        return {
            "fingerprint": fingerprint,
            "findings": [[place, kind] for place, kind in judged if kind is not None],
        }


def _fingerprint(paths: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            stat = os.stat(path)
            facts = (stat.st_size, stat.st_mtime_ns, stat.st_mode)
        except OSError:
            facts = (-1, 0, 0)
        digest.update(b"%s\0%d\0%d\0%d\0" % (os.fsencode(path), *facts))
    return digest.hexdigest()


def judge(path: str) -> str | None:
    """What is unusual or bad about an image file: a key of ``UNUSUAL`` or ``BAD``, or None."""
    try:
        with open(path, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes and of metadata, which concern no pixel
            return _judge(stream)
    except OSError:
        return "unreadable"


def _judge(stream: BinaryIO) -> str | None:
    start = stream.read(8)
    stream.seek(0)
    if not start:
        return "empty"
    if not start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        return "unknown"
    try:
        with Image.open(stream, formats=("JPEG", "PNG")) as image:
            if image.format == "PNG":
                image.load()
                return "PNG"
            # Pillow stops reading behind the header, unless the file holds several pictures.
            data = stream.tell() if image.format == "JPEG" else 0
            mode = image.mode
    except Exception:  # a damaged file may raise anything
        return "truncated"
    if not _has_end(stream, data):
        return "truncated"
    return {"L": "grayscale", "CMYK": "CMYK"}.get(mode)


def _has_end(stream: BinaryIO, data: int) -> bool:
    """Whether a JPEG has its end-of-image marker, which compressed data cannot contain.

    Args:
        stream: the file.
        data: where its header ends; a thumbnail in there has such a marker too.
    """
    size = stream.seek(0, os.SEEK_END)
    for length in (64, size):  # the marker is at the very end, or else other bytes follow it
        stream.seek(max(size - length, data))
        if b"\xff\xd9" in stream.read():
            return True
    return False


@contextmanager
def _cached(root: str, cache_dir: str | None) -> Iterator[dict[str, Any]]:
    """What was found in a tree before, by chunk of files; kept when the block ends, in any way.

    One process at a time: the others wait, and find the cache filled.
    """
    not_cached = f"sspq: the check of {root} is not cached: "
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = cache_dir or os.path.join(base, "sspq")
    name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:16]
    path = os.path.join(folder, f"scan-{name}.json")
    try:
        os.makedirs(folder, exist_ok=True)
        lock = open(path + ".lock", "w")
    except OSError as error:
        print(f"{not_cached}{error}", file=sys.stderr)
        yield {}
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"sspq: waiting for another process that checks {root}", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        chunks = _read(path)
        try:
            yield chunks
        finally:
            try:
                write_json(path, {"version": _VERSION, "root": root, "chunks": chunks})
            except OSError as error:
                print(f"{not_cached}{error}", file=sys.stderr)


def _read(path: str) -> dict[str, Any]:
    try:
        cache = read_json(path)
    except ValueError:
        return {}  # a damaged cache costs another scan, no more
    if not isinstance(cache, dict) or cache.get("version") != _VERSION:
        return {}
    return cache["chunks"]
