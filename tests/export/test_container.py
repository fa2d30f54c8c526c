"""A packed file is read as it was written, or refused with a reason."""

import hashlib
import json
import resource
import struct

import numpy as np
import pytest
import safetensors

from sspq.export import container
from sspq.export.container import Packed, PackedFileError
from sspq.export.encoding import encode_codebook, encode_float, encode_quantized, encode_uniform
from tests.export.test_encoding import _divided

KERNEL = np.random.RandomState(0).randn(1, 1, 12, 10).astype(np.float32)


def packed():
    book = np.array([0.5, 0.0, -0.5], np.float32)
    return Packed(
        {"model": "SSPQ34", "num_classes": 10},
        {
            "a/W": encode_quantized(_divided(KERNEL, 1), 1),
            "b/W": encode_quantized(_divided(KERNEL, 4), 4),
            "c/W": encode_codebook(book[np.random.RandomState(1).randint(0, 3, (20, 20))]),
            "d/W": encode_uniform(KERNEL.reshape(12, 10), 8),
            "d/b": encode_float(KERNEL[0, 0, 0], "float16"),
            "e": encode_float(KERNEL, "float32"),
        },
        {"top1": 12.5},
    )


@pytest.fixture
def file(tmp_path):
    path = str(tmp_path / "m.sspq.safetensors")
    container.write(path, packed())
    return path


def content(path):
    with open(path, "rb") as f:
        return f.read()


def with_content(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def rewritten(path, change=lambda meta: None, arrays=lambda entries: None):
    """The file with changed metadata or tensors, and a checksum that fits."""
    data = content(path)
    (length,) = struct.unpack("<Q", data[:8])
    meta = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["sspq"])
    entries = {name: dict(entry) for name, entry in safetensors.deserialize(data)}
    for entry in entries.values():
        names = {"F32": "float32", "F16": "float16", "U8": "uint8", "F64": "float64"}
        entry.update(dtype=names[entry["dtype"]], data=bytes(entry["data"]))
    arrays(entries)
    change(meta)
    if "checksum" in meta:
        meta["checksum"] = "0" * 64
    text = json.dumps(meta, separators=(",", ":"), sort_keys=True)
    new = bytes(safetensors.serialize(entries, metadata={"sspq": text}))
    if "checksum" in meta:
        new = container._with_checksum(new, "0" * 64, hashlib.sha256(new).hexdigest())
    return with_content(path, new)


def test_everything_comes_back(file):
    before, after = packed(), container.read(file)
    assert after.model == before.model and after.facts == before.facts
    assert list(after.tensors) == sorted(before.tensors)
    for name, tensor in after.tensors.items():
        assert tensor[:3] == before.tensors[name][:3]
        for part, array in tensor.parts.items():
            assert array.dtype == before.tensors[name].parts[part].dtype
            np.testing.assert_array_equal(array, before.tensors[name].parts[part])


def test_the_same_content_gives_the_same_bytes(file, tmp_path):
    other = str(tmp_path / "other")
    assert container.write(other, packed()) == len(content(file))
    assert content(other) == content(file)


def test_any_safetensors_reader_opens_it(file):
    entries = dict(safetensors.deserialize(content(file)))
    assert entries["e"]["dtype"] == "F32" and entries["e"]["shape"] == [1, 1, 12, 10]
    assert entries["a/W"]["dtype"] == "U8"


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
    start = data.index(b'checksum\\":\\"') + len(b'checksum\\":\\"')
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
        (safetensors.serialize({}, None), "is no packed model"),
        (safetensors.serialize({}, {"sspq": "[" * 9999}), "is no JSON"),
        (safetensors.serialize({}, {"sspq": "{}"}), "no format version"),
        (safetensors.serialize({}, {"sspq": '{"format":true}'}), "no format version"),
        (safetensors.serialize({}, {"sspq": '{"format":2}'}), "format version 2"),
        (safetensors.serialize({}, {"sspq": '{"format":1}'}), "the metadata must have"),
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


def set_code(name, index, value):
    return lambda meta: meta["codes"][name].__setitem__(index, value)


@pytest.mark.parametrize(
    "change, why",
    [
        (set_code("a/W", 0, "pickle"), "unknown scheme 'pickle'"),
        (set_code("a/W", 0, ["sign"]), "unknown scheme"),
        (set_code("a/W", 0, "float"), "unknown scheme"),
        (set_code("a/W", 1, 2), "codes of 2 bits"),
        (set_code("b/W", 1, 9), "codes of 9 bits"),
        (set_code("b/W", 1, 3), "do not take 60 bytes"),
        (set_code("b/W", 1, True), "codes of True bits"),
        (set_code("b/W", 2, [1, 1, 12, 11]), "do not take"),
        (set_code("b/W", 2, [2**40]), "cannot be"),
        (set_code("b/W", 2, [2**30, 2**30, 2**30]), "cannot be"),
        (set_code("b/W", 2, [-1, 120]), "cannot be"),
        (set_code("b/W", 2, "huge"), r"must be \[scheme, bits, shape\]"),
        (set_code("d/W", 2, [120]), "a scale for each"),
        (lambda meta: meta["codes"].pop("a/W"), "nothing says what its codes mean"),
        (lambda meta: meta["codes"].update(z=["levels", 2, [4]]), "z: is missing"),
        (lambda meta: meta.update(codes=[]), "`codes` must be an object"),
        (lambda meta: meta.pop("checksum"), "the metadata must have"),
        (lambda meta: meta.update(model="x" * 10), "`model` must be an object"),
    ],
)
def test_metadata_that_cannot_be_is_refused_though_the_checksum_fits(file, change, why):
    with pytest.raises(PackedFileError, match=why):
        container.read(rewritten(file, change))


def f64(entries):
    entries["e"].update(dtype="float64", data=entries["e"]["data"] * 2)


@pytest.mark.parametrize(
    "change, why",
    [
        (f64, "has the type F64"),
        (lambda e: e.pop("a/W#scale"), "a/W#scale: is missing"),
        (lambda e: e["a/W#scale"].update(shape=[1]), "must be float32 with 0 axes"),
        (lambda e: e["a/W"].update(data=b"\0" * 14, shape=[14]), "do not take 14 bytes"),
    ],
)
def test_tensors_that_do_not_fit_the_metadata_are_refused(file, change, why):
    with pytest.raises(PackedFileError, match=why):
        container.read(rewritten(file, arrays=change))


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
