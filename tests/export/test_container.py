"""A packed file is read as it was written, or refused with a reason."""

import base64
import hashlib
import json
import lzma
import resource
import struct
import zlib

import numpy as np
import pytest
import safetensors

from sspq.export.packed import container, layout
from sspq.export.packed.container import Packed, PackedFileError
from sspq.export.packed.encoding import (
    encode_codebook,
    encode_float,
    encode_quantized,
    encode_uniform,
)
from tests.export.test_encoding import _divided

KERNEL = np.random.RandomState(0).randn(1, 1, 12, 10).astype(np.float32)


# 32 MiB of spaces.
BOMB = base64.b64encode(zlib.compress(b" " * 2**25)).decode()


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
    """The file with changed metadata or arrays, and a checksum that fits."""
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


@pytest.mark.parametrize("coding", layout.CODINGS)
def test_everything_comes_back(coding, tmp_path):
    path = str(tmp_path / "m")
    container.write(path, packed(), coding)
    before, after = packed(), container.read(path)
    assert after.model == before.model and after.facts == before.facts
    assert list(after.tensors) == sorted(before.tensors)
    for name, tensor in after.tensors.items():
        assert tensor[:3] == before.tensors[name][:3]
        assert tensor.parts.keys() == before.tensors[name].parts.keys()
        for part, array in tensor.parts.items():
            expected = before.tensors[name].parts[part]
            assert array.dtype == expected.dtype and array.shape == expected.shape
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("coding", layout.CODINGS)
def test_a_file_may_hold_nothing(coding, tmp_path):
    path = str(tmp_path / "m")
    container.write(path, Packed({}, {}, {}), coding)
    assert container.read(path) == Packed({}, {}, {}, path)


def test_entropy_coding_is_close_to_the_entropy(tmp_path):
    """Codes as SLQ leaves them: nine of ten are the centre at zero."""
    chance = np.array([0.9] + [0.1 / 16] * 16)
    book = np.arange(17, dtype=np.float32)
    values = np.random.RandomState(0).choice(book, 400000, p=chance)
    model = Packed({}, {"W": encode_codebook(values)}, {})
    plain = container.write(str(tmp_path / "plain"), model)
    coded = container.write(str(tmp_path / "xz"), model, "xz")
    entropy = -(chance * np.log2(chance)).sum() * len(values) / 8
    assert 400000 * 5 / 8 < plain < 400000 * 5 / 8 + 1000
    assert entropy < coded < 1.25 * entropy


def test_the_same_content_gives_the_same_bytes(file, tmp_path):
    other = str(tmp_path / "other")
    assert container.write(other, packed()) == len(content(file))
    assert content(other) == content(file)


def test_any_safetensors_reader_opens_it(file):
    entries = dict(safetensors.deserialize(content(file)))
    assert {n: (e["dtype"], e["shape"]) for n, e in entries.items()} == {
        "codes": ("U8", [15 + 60 + 100 + 120]),
        "float32": ("F32", [1 + 3 + 10 + 120]),
        "float16": ("F16", [10]),
    }


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
        (safetensors.serialize({}, {"sspq": '{"format":1}'}), "format version 1"),
        (safetensors.serialize({}, {"sspq": '{"format":2}'}), "the metadata must have"),
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


def table(change):
    """Changes the rows of the table."""

    def changed(meta):
        rows = {row[0]: row for row in layout.read_table(meta["tensors"])}
        change(rows)
        meta["tensors"] = layout.write_table(list(rows.values()))

    return changed


def put(name, index, value):
    return table(lambda rows: rows[name].__setitem__(index, value))


@pytest.mark.parametrize(
    "change, why",
    [
        (put("a/W", 1, "pickle"), "unknown scheme 'pickle'"),
        (put("a/W", 1, ["sign"]), "unknown scheme"),
        (put("a/W", 1, "codebook"), "unknown scheme"),
        (put("a/W", 1, "float"), "float of 1 bits"),
        (put("a/W", 2, 2), "sign of 2 bits"),
        (put("b/W", 2, 9), "quotients of 9 bits"),
        (put("b/W", 2, 3), "holds 295 values as codes, and its tensors would have 280"),
        (put("b/W", 2, True), "quotients of True bits"),
        (put("b/W", 3, [1, 1, 12, 11]), "holds 295 values as codes"),
        (put("b/W", 3, [2**40]), "cannot be"),
        (put("b/W", 3, [2**30, 2**30, 2**30]), "cannot be"),
        (put("b/W", 3, [2**30, 2**30, 0]), "cannot be"),
        (put("b/W", 3, [-1, 120]), "cannot be"),
        (put("b/W", 3, "huge"), "cannot be"),
        (put("c/W", 4, 4), "holds 134 values as float32"),
        (put("c/W", 4, 5), "5 centres of 2 bits"),
        (put("c/W", 4, -1), "-1 centres"),
        (put("d/W", 3, []), "cannot be"),
        (put("d/b", 2, 8), "float of 8 bits"),
        (put("a/W", 0, "e"), "sorted, each one once"),
        (put("a/W", 0, 1), r"must be \[name, scheme, bits, shape\]"),
        (table(lambda rows: rows.pop("a/W")), "holds 295 values as codes"),
        (table(lambda rows: rows.update(z=["z", "levels", 2, [4]])), "holds 295 values as codes"),
        (table(lambda rows: rows.update(z="z")), r"must be \[name, scheme, bits, shape\]"),
        (lambda meta: meta.update(tensors=[]), "table of the tensors cannot be read"),
        (lambda meta: meta.update(tensors="A"), "table of the tensors cannot be read"),
        (lambda meta: meta.update(tensors="AAAA"), "table of the tensors cannot be read"),
        (lambda meta: meta.update(tensors=meta["tensors"][:40]), "cannot be read|not whole"),
        (lambda meta: meta.update(tensors=BOMB), "too long"),
        (lambda meta: meta.update(coding="zip"), "`coding` must be one of"),
        (lambda meta: meta.update(coding="xz"), "no whole xz stream"),
        (lambda meta: meta.pop("checksum"), "the metadata must have"),
        (lambda meta: meta.update(model="x" * 10), "`model` must be an object"),
    ],
)
def test_metadata_that_cannot_be_is_refused_though_the_checksum_fits(file, change, why):
    with pytest.raises(PackedFileError, match=why):
        container.read(rewritten(file, change))


def f64(entries):
    entries["float32"].update(dtype="float64", data=entries["float32"]["data"] * 2)


@pytest.mark.parametrize(
    "change, why",
    [
        (f64, "'float32' of the type F64"),
        (lambda e: e.update(more=e["codes"]), "'more' of the type U8"),
        (lambda e: e.pop("float32"), "holds 0 values as float32, and its tensors would have 134"),
        (lambda e: e["float32"].update(shape=[2, 67]), r"shape \[2, 67\]"),
        (lambda e: e["codes"].update(data=b"\0" * 14, shape=[14]), "holds 14 values as codes"),
    ],
)
def test_tensors_that_do_not_fit_the_metadata_are_refused(file, change, why):
    with pytest.raises(PackedFileError, match=why):
        container.read(rewritten(file, arrays=change))


def of_codes(data):
    def change(entries):
        entries["codes"].update(data=data, shape=[len(data)])

    return change


@pytest.mark.parametrize(
    "data, why",
    [
        (lzma.compress(bytes(10)), "holds 10 values as codes"),
        (lzma.compress(bytes(10**9))[:100], "no xz stream"),
        (lzma.compress(bytes(10**8)), "no xz stream of 760 bytes"),
        (lzma.compress(bytes(760)) + b"more", "no xz stream"),
        (lzma.compress(b"\1" * 120 + b"\x10" * 640), "a code is 16, of 4 bits"),
    ],
    ids=["short", "truncated", "bomb", "followed", "too large"],
)
def test_entropy_coded_bytes_that_do_not_fit_are_refused(data, why, tmp_path):
    path = str(tmp_path / "m")
    container.write(path, packed(), "xz")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PackedFileError, match=why):
        container.read(rewritten(path, arrays=of_codes(data)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


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
