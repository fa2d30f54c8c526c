"""A packed file that is damaged, or says what cannot be, is refused with a reason."""

import json
import lzma
import resource
import struct

import numpy as np
import pytest
import safetensors.numpy

from sspq.export.packed import container
from sspq.export.packed.container import Packed, PackedFileError
from sspq.export.packed.encoding import encode_codebook
from tests.export.packed_files import array, content, header, rewritten, with_checksum, with_content


def test_a_thousand_damaged_files_are_refused(file):
    data = content(file)
    rng = np.random.RandomState(1)
    for i in range(1000):
        damaged = bytearray(data)
        place = rng.randint(len(data))
        if i % 4 == 0:
            damaged[place] ^= 1 << rng.randint(8)
        elif i % 4 == 1:
            del damaged[place:]
        elif i % 4 == 2:
            damaged[place:place] = bytes(rng.randint(0, 256, rng.randint(1, 20)).tolist())
        else:
            # In the header, where the structure is.
            place = rng.randint(data.index(b"}}") + 2)
            damaged[place : place + 2] = bytes(rng.randint(0, 256, 2).tolist())
            if bytes(damaged) == data:
                continue
        with pytest.raises(PackedFileError):
            container.read(with_content(file, bytes(damaged)))


def test_a_change_of_case_in_the_checksum_is_refused(file):
    data = content(file)
    start = data.index(b'"checksum":"') + len(b'"checksum":"')
    upper = data[:start] + data[start : start + 64].upper() + data[start + 64 :]
    assert upper != data
    with pytest.raises(PackedFileError):
        container.read(with_content(file, upper))


@pytest.mark.parametrize(
    "data, why",
    [
        (b"", "it has 0 bytes"),
        (b"\x80\x04K\x01.", "it has 5 bytes"),
        (b"\xff" * 100, "its header would have 18446744073709551615 bytes"),
        (struct.pack("<Q", 2) + b"[]", "is no packed model"),
        (struct.pack("<Q", 4) + b"\xff\xfe\x00\x00", "its header is no JSON"),
        (struct.pack("<Q", 10**5) + b"[" * 10**5, "its header is no JSON"),
        (safetensors.numpy.save({}), "is no packed model"),
        (safetensors.numpy.save({}, {"format": "pt"}), "has the format 'pt'; this sspq reads"),
        (safetensors.numpy.save({}, {"format": "sspq 4"}), "has the format 'sspq 4'"),
        (safetensors.numpy.save({}, {"format": "sspq 3"}), "the metadata must have texts as"),
        (
            struct.pack("<Q", 34) + b'{"__metadata__":{"a":"1","a":"2"}}',
            "a name is there twice among",
        ),
    ],
)
def test_foreign_files_are_named_with_a_reason(data, why, tmp_path):
    path = with_content(str(tmp_path / "x"), bytes(data))
    with pytest.raises(PackedFileError, match=why) as error:
        container.read(path)
    assert path in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PackedFileError, match="nowhere"):
        container.read(str(tmp_path / "nowhere"))


def put(name, **values):
    return lambda meta: meta["tensors"][name].update(values)


def drop(name, key):
    return lambda meta: meta["tensors"][name].pop(key)


@pytest.mark.parametrize(
    "change, why",
    [
        (put("a/W", scheme="pickle"), "a/W: unknown scheme 'pickle'"),
        (put("a/W", scheme=["sign"]), "a/W: has no scheme"),
        (put("a/W", scheme="codebook"), "of the scheme codebook has"),
        (put("a/W", scheme="float"), "unknown scheme 'float' of codes"),
        (put("a/W", bits=2), "sign of 2 bits"),
        (put("a/W", more=1), "of the scheme sign has"),
        (drop("a/W", "scales"), "of the scheme sign has"),
        (drop("a/W", "bits"), "sign of None bits"),
        (drop("a/W", "shape"), "the shape None cannot be"),
        (put("a/W", scales=[0, 2]), "2 scales of the scheme sign"),
        (put("a/W", scales=[11, 12]), r"within 11 values, got \[11, 12\]"),
        (put("a/W", scales=[1, 0]), "within 11 values"),
        (put("a/W", scales=[-1, 0]), "within 11 values"),
        (put("a/W", scales=[False, True]), "within 11 values"),
        (put("a/W", scales=0), "within 11 values"),
        (put("a/W", coding="zip"), "`coding` must be 'xz', got 'zip'"),
        (put("a/W", coding=None), "`coding` must be 'xz', got None"),
        (put("a/W", coding="xz"), "a/W: the codes are no whole xz stream"),
        (put("b/W", bits=9), "quotients of 9 bits"),
        (put("b/W", bits=3), "b/W: 120 codes of 3 bits take 45 bytes, got 60"),
        (put("b/W", bits=True), "quotients of True bits"),
        (put("b/W", shape=[1, 1, 12, 11]), "b/W: 132 codes of 4 bits take 66 bytes, got 60"),
        (put("b/W", shape=[2**40]), "cannot be"),
        (put("b/W", shape=[2**30, 2**30, 2**30]), "cannot be"),
        (put("b/W", shape=[2**30, 2**30, 0]), "cannot be"),
        (put("b/W", shape=[-1, 120]), "cannot be"),
        (put("b/W", shape="huge"), "cannot be"),
        (put("c/W", bits=1, shape=[800], centres=[0, 3]), "3 centres of the scheme codebook"),
        (put("c/W", centres=[0, 4]), "within 3 values"),
        (put("d/W", shape=[]), "cannot be"),
        (put("d/W", shape=[10, 12]), "10 scales of the scheme uniform"),
        (put("d/W", scales=[0, 11]), "11 scales of the scheme uniform"),
        (lambda meta: meta["tensors"].pop("a/W"), "a/W: uint8 values have no scheme"),
        (lambda meta: meta["tensors"].update(z=meta["tensors"]["a/W"]), "lacks the tensor 'z'"),
        (
            lambda meta: meta["tensors"].update(scales=meta["tensors"]["a/W"]),
            "lacks the tensor 'scales'",
        ),
        (lambda meta: meta["tensors"].update({"a/W": "sign"}), "a/W: has no scheme"),
        (
            lambda meta: meta["tensors"].update({"d/b": meta["tensors"]["b/W"]}),
            "d/b: codes must be uint8 of one axis, got float16",
        ),
        (lambda meta: meta.update(tensors=[]), "`tensors` must be an object"),
        (lambda meta: meta.update(tensors="A"), "the metadata entry 'tensors' is no JSON"),
        (lambda meta: meta.update(tensors="[" * 9999), "the metadata entry 'tensors' is no JSON"),
        (lambda meta: meta.update(tensors='{"a":1,"a":2}'), "a name is there twice"),
        (lambda meta: meta.pop("checksum"), "the metadata must have"),
        (lambda meta: meta.update(checksum="none"), "has no checksum"),
        (lambda meta: meta.pop("classes"), "the metadata must have"),
        (lambda meta: meta.update(more="1"), "the metadata must have"),
        (lambda meta: meta.update(model='"x"'), "`model` must be an object"),
    ],
)
def test_metadata_that_cannot_be_is_refused_though_the_checksum_fits(file, change, why):
    with pytest.raises(PackedFileError, match=why):
        container.read(rewritten(file, change))


def test_metadata_that_are_no_texts_are_refused(file):
    data, text = content(file), b'"facts":"{\\"top1\\":12.5}"'
    assert text in data
    number = data.replace(text, b'"facts":12.5'.ljust(len(text)))
    with pytest.raises(PackedFileError, match="the metadata must have texts as"):
        container.read(with_content(file, number))


@pytest.mark.parametrize(
    "change, why",
    [
        (array("e", lambda a: a.astype(np.float64)), "e: float64 values have no scheme"),
        (array("e", lambda a: a.astype(bool)), "e: bool values have no scheme"),
        (array("scales", lambda a: a.astype(np.float16)), "`scales` must be float32 of one axis"),
        (array("scales", lambda a: a.reshape(1, 11)), r"one axis, got float32 \[1, 11\]"),
        (array("scales", lambda a: a[:5]), "within 5 values"),
        (array("a/W", lambda a: a.astype(np.float32)), "codes must be uint8 of one axis"),
        (array("a/W", lambda a: a.reshape(3, 5)), r"one axis, got uint8 \[3, 5\]"),
        (array("a/W", lambda a: a[:14]), "120 codes of 1 bits take 15 bytes, got 14"),
        (lambda entries: entries.update(more=entries["a/W"]), "more: uint8 values have no scheme"),
        (lambda entries: entries.pop("scales"), "within 0 values"),
        (lambda entries: entries.pop("a/W"), "lacks the tensor 'a/W'"),
    ],
)
def test_tensors_that_do_not_fit_the_metadata_are_refused(file, change, why):
    with pytest.raises(PackedFileError, match=why):
        container.read(rewritten(file, arrays=change))


@pytest.mark.parametrize(
    "change, why",
    [
        ({"dtype": "BF16"}, "holds a tensor of the type BF16"),
        ({"dtype": "pickle"}, "is no safetensors file"),
        ({"data_offsets": [0, 20]}, "is no safetensors file"),
        ({"shape": [2**62, 2**62]}, "is no safetensors file"),
        ({"shape": -1}, "is no safetensors file"),
    ],
)
def test_a_header_that_cannot_be_is_refused(change, why, file):
    data = content(file)
    head = header(data)
    head["d/b"].update(change)
    head["__metadata__"]["checksum"] = "0" * 64
    text = json.dumps(head).encode()
    body = data[8 + struct.unpack("<Q", data[:8])[0] :]
    hostile = with_checksum(struct.pack("<Q", len(text)) + text + body)
    with pytest.raises(PackedFileError, match=why):
        container.read(with_content(file, hostile))


@pytest.fixture
def coded(tmp_path):
    """A file of one tensor of 2000 codes of 4 bits, entropy-coded."""
    path = str(tmp_path / "coded")
    values = np.repeat(np.arange(10, dtype=np.float32), 200)
    container.write(path, Packed({}, {"W": encode_codebook(values)}, {}), "xz")
    return path


@pytest.mark.parametrize(
    "data, why",
    [
        (lzma.compress(bytes(10)), "no xz stream of 2000 bytes|10 codes"),
        (lzma.compress(bytes(10**9))[:100], "no xz stream"),
        (lzma.compress(bytes(10**8)), "no xz stream of 2000 bytes"),
        (lzma.compress(bytes(2000)) + b"more", "no xz stream"),
        (lzma.compress(b"\1" * 120 + b"\x10" * 1880), "W: a code is 16, expected less than 16"),
    ],
    ids=["short", "truncated", "bomb", "followed", "too large"],
)
def test_entropy_coded_bytes_that_do_not_fit_are_refused(data, why, coded):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PackedFileError, match=why):
        container.read(rewritten(coded, arrays=array("W", lambda _: np.frombuffer(data, np.uint8))))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


def test_tensors_that_are_too_many_codes_together_are_refused(coded):
    def ten(meta):
        meta["tensors"] = {f"{i}": dict(meta["tensors"]["W"], shape=[2**27]) for i in range(3)}

    def copies(entries):
        codes = entries.pop("W")
        entries.update({f"{i}": codes for i in range(3)})

    with pytest.raises(PackedFileError, match="would have 402653184 codes; at most 268435456"):
        container.read(rewritten(coded, ten, copies))


def test_a_hostile_size_takes_no_memory(file, tmp_path):
    """A sparse file of 8 GiB, whose header claims to fill it."""
    path = str(tmp_path / "huge")
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", 2**33 - 8))
        f.truncate(2**33)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PackedFileError, match="larger than"):
        container.read(path)
    with open(path, "r+b") as f:
        f.truncate(2**29)
    with pytest.raises(PackedFileError, match="header would have"):
        container.read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB
