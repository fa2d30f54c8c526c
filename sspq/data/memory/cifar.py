"""CIFAR-100 from its official Python release, checked before anything in it is believed.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import pickle
import reprlib
import tarfile
import tempfile
import urllib.request
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from sspq.data.checks import DataError
from sspq.data.memory.dataset import Dataset

ARCHIVE = "cifar-100-python.tar.gz"
FOLDER = "cifar-100-python"
_PIXELS = 3 * 32 * 32
_CHUNK = 1 << 20
_TIMEOUT = 60  # seconds without a byte
# Not all commands that read images have the option.
_FETCH = "--download of the training scripts fetches it"
_REPLACE = "put a good copy there; or remove it, and " + _FETCH


@dataclass(frozen=True)
class Part:
    """One of the two files: its name, how many images it holds and the MD5 it has unpacked."""

    name: str
    size: int
    md5: str

    @property
    def most_bytes(self) -> int:
        """More than the file can need: 1 KiB per image is left for labels and file names."""
        return self.size * (_PIXELS + 1024) + (1 << 16)


@dataclass(frozen=True)
class Release:
    """Which bytes are the data set. The defaults are the official release."""

    url: str = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    archive_bytes: int = 169_001_437
    archive_sha256: str = "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
    archive_md5: str = "eb9058c3a382ffc7106e4002c42a8d85"
    train: Part = Part("train", 50_000, "16019d7e3df5f24257cddd939b257f8d")
    test: Part = Part("test", 10_000, "f0ef6b0ae62326f3e7ffdfab6717acfc")
    num_classes: int = 100


OFFICIAL = Release()


def load(path: str, may_download: bool = False, release: Release = OFFICIAL) -> Dataset:
    """CIFAR-100 with its 100 fine labels.

    Args:
        path: a directory with ``cifar-100-python.tar.gz`` or the unpacked ``cifar-100-python``
            in it, that folder itself, or the archive itself. The archive is preferred.
        may_download: whether the archive is fetched if nothing is there.
        release: expected checksums and sizes.

    Returns:
        50,000 training and 10,000 test images, RGB; a flip keeps their class.

    Raises:
        DataError: nothing is there, a checksum or the content is wrong, or the download failed.
    """
    directory = os.path.dirname(path) or "." if os.path.basename(path) == ARCHIVE else path
    found = _find(path)
    if found is None and may_download:
        found = download(directory, release)
    if found is None:
        target = os.path.join(directory, ARCHIVE)
        raise DataError(
            f"CIFAR-100 is not at {path!r}: put the file of {release.url} at {target!r} or "
            f"unpack it to {os.path.join(directory, FOLDER)!r}; {_FETCH}; "
            "or use `--data digits`, which needs no file"
        )
    try:
        read = _read_archive if os.path.isfile(found) else _read_folder
        parts = read(found, release)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{found}: cannot be read: {error}") from error
    # pop: a file's bytes are no longer needed once its images are there
    train = parse(parts.pop("train"), f"{found}, train", release.train.size, release.num_classes)
    test = parse(parts.pop("test"), f"{found}, test", release.test.size, release.num_classes)
    return Dataset("cifar100", *train, *test, num_classes=release.num_classes, mirror=True)


def download(directory: str, release: Release = OFFICIAL) -> str:
    """Downloads the archive into ``directory``, which is made if need be, and returns its path.

    The file gets its name only when its checksums are right: an interrupted or wrong download
    leaves nothing behind.

    Raises:
        DataError: the archive could not be fetched or stored, or is not the expected file.
    """
    target = os.path.join(directory, ARCHIVE)
    advice = f"fetch it by other means and put it at {target!r}, or use `--data digits`"
    temporary = ""
    try:
        os.makedirs(directory, exist_ok=True)
        # In the same directory, because a rename is atomic only within one file system.
        handle, temporary = tempfile.mkstemp(".part", f".{ARCHIVE}.", directory)
        with os.fdopen(handle, "w+b") as out:
            _receive(out, release)
            out.seek(0)
            _check_archive(out, release.url, release, advice)
        os.chmod(temporary, 0o644)  # mkstemp's files are private, a data set may be shared
        os.replace(temporary, target)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"{release.url}: no download: {error!r}; {advice}") from error
    finally:
        if temporary and os.path.exists(temporary):
            os.remove(temporary)
    return target


def _receive(out: BinaryIO, release: Release) -> None:
    answer = urllib.request.urlopen(release.url, timeout=_TIMEOUT)
    # disable=None: no bar where standard error is not a terminal
    bar = tqdm(total=release.archive_bytes, unit="B", unit_scale=True, desc=ARCHIVE, disable=None)
    with answer, bar:
        received = 0
        while received <= release.archive_bytes:  # one chunk too many is told by the checksum
            chunk = answer.read(_CHUNK)
            if not chunk:
                break
            out.write(chunk)
            received += len(chunk)
            bar.update(len(chunk))


def _find(path: str) -> str | None:
    """The archive, or the folder of the unpacked files; None if there is neither."""
    for archive in (path, os.path.join(path, ARCHIVE)):
        if os.path.isfile(archive):
            return archive
    for folder in (os.path.join(path, FOLDER), path):
        # One of the two is enough to be sure what was meant, and to name the other as missing.
        if any(os.path.isfile(os.path.join(folder, part)) for part in ("train", "test")):
            return folder
    return None


def _check_archive(archive: BinaryIO, where: str, release: Release, advice: str) -> None:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(), 0
    for chunk in iter(lambda: archive.read(_CHUNK), b""):
        sha256.update(chunk)
        md5.update(chunk)
        size += len(chunk)
    for what, got, expected in (
        ("size in bytes", size, release.archive_bytes),
        ("sha256", sha256.hexdigest(), release.archive_sha256),
        ("md5", md5.hexdigest(), release.archive_md5),
    ):
        if got != expected:
            raise _damaged(where, what, got, expected, advice)


def _damaged(where: str, what: str, got: object, expected: object, advice: str) -> DataError:
    return DataError(
        f"{where}: {what} is {got}, expected {expected}: not the official file or damaged; {advice}"
    )


def _read_archive(path: str, release: Release) -> dict[str, bytes]:
    """The two files inside the archive, in memory: nothing it names is ever written to disk."""
    members = {f"{FOLDER}/{part.name}": part for part in (release.train, release.test)}
    parts: dict[str, bytes] = {}
    # One open file for both steps, so that what is read is what was checked.
    with open(path, "rb") as archive:
        _check_archive(archive, path, release, _REPLACE)
        archive.seek(0)
        with tarfile.open(fileobj=archive, mode="r:gz") as tar:
            for member in tar:
                if member.name in members and member.isreg():
                    part = members.pop(member.name)
                    parts[part.name] = _bounded(tar.extractfile(member), path, part)
    if members:
        raise DataError(f"{path}: holds no file {' and no file '.join(members)}")
    return parts


def _read_folder(folder: str, release: Release) -> dict[str, bytes]:
    """The two unpacked files, read once, so that what is parsed is what was checked."""
    parts = {}
    for part in (release.train, release.test):
        path = os.path.join(folder, part.name)
        with open(path, "rb") as stream:
            parts[part.name] = _bounded(stream, path, part)
        md5 = hashlib.md5(parts[part.name]).hexdigest()
        if md5 != part.md5:
            raise _damaged(path, "md5", md5, part.md5, _REPLACE)
    return parts


def _bounded(stream: Any, where: str, part: Part) -> bytes:
    content = stream.read(part.most_bytes + 1)
    if len(content) > part.most_bytes:
        raise DataError(f"{where}: {part.name} has more than the {part.most_bytes} bytes it needs")
    return content


_KNOWN = (("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"))


class _Inert:
    """Stands in for everything of numpy in a file: keeps what it is given, does nothing with it."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Builds Python's plain values and :class:`_Inert`, and nothing else.

    An MD5 can be forged, so an unpacked file may hold anything. Numpy's own classes are no safe
    exception: ``numpy.ndarray((1,), "O", b"12345678")`` alone ends the process, because it takes
    the bytes for an address.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which CIFAR-100 never does")
        return _Inert


def parse(content: bytes, where: str, size: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 ``[size, 32, 32, 3]`` and fine labels int64 ``[size]`` of one pickled file.

    Nothing in ``content`` is executed, whatever it holds.

    Raises:
        DataError: the file holds something else; ``where`` names it.
    """
    try:
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a hostile or damaged stream may raise anything
        raise DataError(f"{where}: not a file of CIFAR-100: {error}") from error
    if not isinstance(batch, dict):
        raise DataError(f"{where}: holds a {type(batch).__name__}, expected a dict")
    values = []
    for key in ("data", "fine_labels"):
        # Python 2 wrote the official files: their keys come out as bytes.
        values.append(batch.get(key.encode(), batch.get(key)))
        if values[-1] is None:
            raise DataError(f"{where}: has no {key!r}, only {reprlib.repr(list(batch))}")
    return _images(values[0], where, size), _labels(values[1], where, size, num_classes)


def _images(data: Any, where: str, size: int) -> np.ndarray:
    state = data.state if isinstance(data, _Inert) else None
    if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _Inert):
        raise DataError(f"{where}: 'data' is not a numpy array")
    _version, shape, dtype, fortran, raw = state
    # reprlib, here and below: what is printed may be nested or long without end.
    if dtype.args[:1] not in (("u1",), (b"u1",)):
        raise DataError(f"{where}: 'data' is of {reprlib.repr(dtype.args)}, expected uint8")
    if shape != (size, _PIXELS):
        got = reprlib.repr(shape)
        raise DataError(f"{where}: 'data' has shape {got}, expected {(size, _PIXELS)}")
    if not isinstance(raw, bytes) or len(raw) != size * _PIXELS:
        raise DataError(f"{where}: 'data' does not hold {size * _PIXELS} bytes, as its shape says")
    flat = np.frombuffer(raw, np.uint8).reshape((size, _PIXELS), order="F" if fortran else "C")
    # A row is the red plane, then the green, then the blue.
    return np.ascontiguousarray(flat.reshape(size, 3, 32, 32).transpose(0, 2, 3, 1))


def _labels(values: Any, where: str, size: int, num_classes: int) -> np.ndarray:
    if not isinstance(values, list) or len(values) != size:
        got = len(values) if isinstance(values, list) else type(values).__name__
        raise DataError(f"{where}: 'fine_labels' must be a list of {size} ints, got {got}")
    for value in values:
        if type(value) is not int or not 0 <= value < num_classes:
            got = reprlib.repr(value)
            raise DataError(f"{where}: 'fine_labels' must be ints in [0, {num_classes}), got {got}")
    return np.array(values, np.int64)
