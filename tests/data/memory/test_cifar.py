"""CIFAR-100 is read only from the bytes that were expected, and nothing in them is executed."""

import hashlib
import io
import os
import pickle
import struct
import tarfile
import urllib.error
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from sspq.data import DataError, Dataset, load
from sspq.data.memory import cifar

TRAIN, TEST, CLASSES = 6, 4, 5


def pickled(value):
    """A file with ``value``, its text in 8-bit strings as Python 2 wrote the official files."""
    stream = io.BytesIO()
    pickler: Any = pickle._Pickler(stream, protocol=3)

    def save(_, value):
        text = value.encode("ascii") if isinstance(value, str) else value
        pickler.write(pickle.BINSTRING + struct.pack("<i", len(text)) + text)
        pickler.memoize(value)

    pickler.dispatch = {**pickler.dispatch, bytes: save, str: save}
    pickler.dump(value)
    return stream.getvalue()


def batch(size, **changes):
    """What one file holds, with some of its entries changed."""
    rng = np.random.RandomState(size)
    content = {
        "data": rng.randint(0, 256, (size, 3072)).astype(np.uint8),
        "fine_labels": [int(v) for v in rng.randint(0, CLASSES, size)],
        "coarse_labels": [0] * size,
        "filenames": [b"a.png"] * size,
    }
    content.update(changes)
    return {k.encode(): v for k, v in content.items() if v is not None}


def write(folder, train=None, members=None, archived=True):
    """Writes an archive, if wanted, and the unpacked files; returns the release that they are."""
    train, test = train or pickled(batch(TRAIN)), pickled(batch(TEST))
    files = {"meta": b"something else", "train": train, "test": test}
    unpacked, archive = folder / cifar.FOLDER, folder / cifar.ARCHIVE
    unpacked.mkdir(parents=True)
    for name, content in files.items():
        (unpacked / name).write_bytes(content)
    with tarfile.open(str(archive), "w:gz") as tar:
        for name in members or files:
            content = files.get(name, test)
            member = tarfile.TarInfo(f"{cifar.FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    whole = archive.read_bytes()
    if not archived:
        archive.unlink()
    return cifar.Release(
        archive_bytes=len(whole),
        archive_sha256=hashlib.sha256(whole).hexdigest(),
        archive_md5=hashlib.md5(whole).hexdigest(),
        train=cifar.Part("train", TRAIN, hashlib.md5(train).hexdigest()),
        test=cifar.Part("test", TEST, hashlib.md5(test).hexdigest()),
        num_classes=CLASSES,
    )


def refusal(call, *args, **kwargs):
    with pytest.raises(DataError) as raised:
        call(*args, **kwargs)
    return str(raised.value)


def refusal_of(content):
    """Why ``content`` is refused as a training file although its checksum is right."""
    return refusal(cifar.parse, content, "/data/train", TRAIN, CLASSES)


def test_the_official_release_is_the_default():
    assert cifar.OFFICIAL == cifar.Release()
    assert cifar.OFFICIAL.url.startswith("https://")
    assert (cifar.OFFICIAL.train.size, cifar.OFFICIAL.test.size) == (50000, 10000)


@pytest.mark.parametrize("named", [".", cifar.ARCHIVE, cifar.FOLDER])
def test_every_way_to_name_the_data_gives_the_same_images(tmp_path, named):
    release = write(tmp_path)
    dataset = cifar.load(str(tmp_path / named), release=release)
    assert isinstance(dataset, Dataset) and dataset.mirror
    assert dataset.train_images.shape == (TRAIN, 32, 32, 3)
    expected = batch(TEST)
    assert dataset.test_labels.tolist() == expected[b"fine_labels"]
    for plane in range(3):
        rows = expected[b"data"][:, plane * 1024 : (plane + 1) * 1024]
        np.testing.assert_array_equal(dataset.test_images[..., plane].reshape(TEST, -1), rows)


def test_the_unpacked_folder_is_enough(tmp_path):
    release = write(tmp_path, archived=False)
    assert len(cifar.load(str(tmp_path), release=release).train_images) == TRAIN


def test_a_column_major_array_is_read_as_what_it_holds():
    content = batch(TRAIN)
    rows = content[b"data"]
    content[b"data"] = np.asfortranarray(rows)
    images, _ = cifar.parse(pickled(content), "train", TRAIN, CLASSES)
    np.testing.assert_array_equal(images.transpose(0, 3, 1, 2).reshape(TRAIN, -1), rows)


def test_reading_the_archive_writes_nothing(tmp_path):
    release = write(tmp_path)
    (tmp_path / cifar.FOLDER).rename(tmp_path / "aside")
    cifar.load(str(tmp_path), release=release)
    assert sorted(os.listdir(str(tmp_path))) == ["aside", cifar.ARCHIVE]


class Hostile:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.parametrize("checksum", ["right", "wrong"])
def test_a_hostile_file_is_refused_and_never_runs(tmp_path, archived, checksum):
    trace = tmp_path / "trace"
    hostile = pickle.dumps({b"data": Hostile(trace), b"fine_labels": []})
    release = write(tmp_path, hostile, archived=archived)
    if checksum == "wrong":
        release = replace(
            release, archive_sha256="0" * 64, train=replace(release.train, md5="0" * 32)
        )
    message = refusal(cifar.load, str(tmp_path), release=release)
    assert ("it asks for io.open" if checksum == "right" else ", expected 0000") in message
    assert not trace.exists()
    pickle.loads(hostile)[b"data"].close()
    assert trace.exists(), "the file is harmless, so this test shows nothing"


@pytest.mark.parametrize("file", [cifar.ARCHIVE, f"{cifar.FOLDER}/train", f"{cifar.FOLDER}/test"])
def test_one_flipped_bit_is_refused_before_anything_is_unpickled(tmp_path, monkeypatch, file):
    release = write(tmp_path, archived=file == cifar.ARCHIVE)
    content = bytearray((tmp_path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / file).write_bytes(content)
    monkeypatch.setattr(cifar, "parse", lambda *args: pytest.fail("it was unpickled"))
    message = refusal(cifar.load, str(tmp_path), release=release)
    assert os.path.basename(file) in message and "expected" in message


def test_a_truncated_archive_is_refused_with_both_sizes(tmp_path):
    release = write(tmp_path)
    archive = tmp_path / cifar.ARCHIVE
    archive.write_bytes(archive.read_bytes()[:-100])
    message = refusal(cifar.load, str(tmp_path), release=release)
    assert f"is {release.archive_bytes - 100}, expected {release.archive_bytes}" in message


def test_a_numpy_object_array_over_raw_bytes_is_never_built():
    # With the real numpy.ndarray this stream takes the text for an address and ends the process.
    stream = (
        b"\x80\x02}(U\x04datacnumpy\nndarray\nK\x01\x85U\x01OU\x0812345678\x87RU\x0bfine_labels]u."
    )
    assert "not a numpy array" in refusal_of(stream)


@pytest.mark.parametrize("name", ["numpy.load", "numpy.core.multiarray.fromstring", "os.system"])
def test_other_functions_are_refused_by_name(name):
    module, function = name.rsplit(".", 1)
    stream = f"c{module}\n{function}\n.".encode()
    assert name in refusal_of(stream)


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({})[:-1]])
def test_what_is_no_pickle_of_a_dict_is_refused(content):
    assert "/data/train: not a file of CIFAR-100" in refusal_of(content)
    assert "holds a list, expected a dict" in refusal_of(pickled([content]))


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"data": None}, "has no 'data'"),
        ({"data": np.zeros((TRAIN, 3072), np.float32)}, "expected uint8"),
        ({"data": np.zeros((TRAIN, 3071), np.uint8)}, f"expected ({TRAIN}, 3072)"),
        ({"data": np.zeros((TRAIN + 1, 3072), np.uint8)}, f"shape ({TRAIN + 1}, 3072)"),
        ({"data": [[0] * 3072] * TRAIN}, "not a numpy array"),
        ({"fine_labels": None}, "has no 'fine_labels'"),
        ({"fine_labels": [0] * (TRAIN - 1)}, f"list of {TRAIN} ints, got {TRAIN - 1}"),
        ({"fine_labels": [0] * (TRAIN - 1) + [CLASSES]}, f"[0, {CLASSES}), got {CLASSES}"),
        ({"fine_labels": [-1] + [0] * (TRAIN - 1)}, "got -1"),
        ({"fine_labels": [0.5] * TRAIN}, "got 0.5"),
        ({"fine_labels": b"\0" * TRAIN}, "got bytes"),
    ],
)
def test_wrong_keys_types_shapes_and_labels_are_named(change, reason):
    assert reason in refusal_of(pickled(batch(TRAIN, **change)))


def test_an_array_with_fewer_bytes_than_its_shape_says_is_refused():
    content = pickled(batch(TRAIN))
    start = content.index(struct.pack("<i", TRAIN * 3072))
    end = start + 4 + TRAIN * 3072
    short = content[:start] + struct.pack("<i", 8) + bytes(8) + content[end:]
    assert f"does not hold {TRAIN * 3072} bytes" in refusal_of(short)


def test_an_endless_file_is_not_read_to_its_end(tmp_path):
    release = write(tmp_path, bytes(cifar.Part("train", TRAIN, "").most_bytes + 1))
    assert "has more than" in refusal(cifar.load, str(tmp_path), release=release)


@pytest.mark.parametrize("members", [("train",), ("train", "../test"), ("train", "x/test")])
def test_an_archive_without_one_of_the_two_files_is_refused(tmp_path, members):
    release = write(tmp_path, members=members)
    message = refusal(cifar.load, str(tmp_path), release=release)
    assert f"holds no file {cifar.FOLDER}/test" in message


def test_a_folder_without_one_of_the_two_files_names_it(tmp_path):
    release = write(tmp_path, archived=False)
    (tmp_path / cifar.FOLDER / "test").unlink()
    message = refusal(cifar.load, str(tmp_path), release=release)
    assert str(tmp_path / cifar.FOLDER / "test") in message


@pytest.mark.parametrize("named", ["", cifar.ARCHIVE])
def test_missing_data_says_which_file_to_put_where(tmp_path, named):
    message = refusal(load, str(tmp_path / named))
    assert repr(str(tmp_path / cifar.ARCHIVE)) in message
    for help_ in (cifar.OFFICIAL.url, "--download", "--data digits"):
        assert help_ in message


class Answer(io.BytesIO):
    """What urlopen gives; the connection breaks where ``broken`` says."""

    def __init__(self, content, broken=None):
        super().__init__(content)
        self._broken = broken

    def read(self, size=-1):
        if self._broken and self.tell():
            raise self._broken
        return super().read(10 if self._broken else size)


@pytest.fixture
def serve(monkeypatch):
    """Lets urlopen give or raise what it is told, once."""
    return lambda answer: monkeypatch.setattr("urllib.request.urlopen", Mock(side_effect=[answer]))


def test_a_download_is_loaded_and_found_the_next_time(tmp_path, serve):
    release = write(tmp_path / "source")
    serve(Answer((tmp_path / "source" / cifar.ARCHIVE).read_bytes()))
    target = tmp_path / "new" / "directory"
    first = cifar.load(str(target), may_download=True, release=release)
    second = cifar.load(str(target), may_download=True, release=release)
    np.testing.assert_array_equal(first.train_images, second.train_images)
    assert os.listdir(str(target)) == [cifar.ARCHIVE]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"x" * 1000, broken=ConnectionResetError("reset by peer")),
        Answer(b"too short"),
        urllib.error.URLError("no route to host"),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_where_the_file_goes(tmp_path, serve, answer):
    serve(answer)
    message = refusal(load, str(tmp_path), True)
    assert repr(str(tmp_path / cifar.ARCHIVE)) in message and "--data digits" in message
    assert os.listdir(str(tmp_path)) == []


def test_a_download_stopped_by_the_user_leaves_nothing(tmp_path, serve):
    serve(Answer(b"x" * 1000, broken=KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        load(str(tmp_path), download=True)
    assert os.listdir(str(tmp_path)) == []
