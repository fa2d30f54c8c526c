"""Packed files of format 2 give what was packed; those that cannot be are refused."""

import base64
import json
import lzma
import os
import resource
import zlib

import numpy as np
import pytest
import safetensors.numpy

from sspq.export.packed import container, format2
from sspq.export.packed.container import PackedFileError
from sspq.export.packed.pack import pack, unpack
from tests.export.packed_files import (
    assert_same_tensors,
    content,
    header,
    packed,
    with_checksum,
    with_content,
)

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "golden")
NETWORK = os.path.join(GOLDEN, "format2.sspq.safetensors")  # SSPQ34 of golden weights
SCHEMES = os.path.join(GOLDEN, "format2-xz.sspq.safetensors")  # a tensor of each scheme

BOMB = base64.b64encode(zlib.compress(b" " * 2**25)).decode()  # 32 MiB of spaces


def metadata(path):
    return json.loads(header(content(path))["__metadata__"][format2.KEY])


def rewritten(path, folder, change=lambda meta: None, arrays=lambda entries: None):
    """A copy of the file with changed metadata or arrays, and a checksum that fits."""
    meta, entries = metadata(path), safetensors.numpy.load(content(path))
    meta["checksum"] = "0" * 64
    arrays(entries)
    change(meta)
    data = safetensors.numpy.save(entries, {format2.KEY: json.dumps(meta)})
    return with_content(str(folder / "m.safetensors"), with_checksum(data))


def test_entropy_coded_tensors_of_every_scheme_come_back():
    before, after = packed(), container.read(SCHEMES)
    assert metadata(SCHEMES)["coding"] == "xz" and after.about == {}
    assert after.model == before.model and after.facts == before.facts
    assert_same_tensors(after, before)


def test_a_network_has_the_values_of_its_checkpoint(saved):
    again = unpack(pack(saved(bitw=1).source, fold_bn=True, rest="float16")).values
    values = unpack(container.read(NETWORK)).values
    assert metadata(NETWORK)["coding"] == "plain" and values.keys() == again.keys()
    for name, expected in again.items():
        # Scales are means, which are added up in another order elsewhere.
        np.testing.assert_allclose(values[name], expected, rtol=1e-3, atol=1e-6, err_msg=name)


def test_damaged_files_are_refused(tmp_path):
    data, rng = content(SCHEMES), np.random.RandomState(2)
    for i in range(200):
        damaged = bytearray(data)
        place = rng.randint(len(data))
        if i % 2:
            damaged[place] ^= 1 << rng.randint(8)
        else:
            del damaged[place:]
        with pytest.raises(PackedFileError):
            container.read(with_content(str(tmp_path / "m"), bytes(damaged)))


def table(change):
    """Changes the rows of the table."""

    def changed(meta):
        rows = {row[0]: row for row in format2.read_table(meta["tensors"])}
        change(rows)
        text = json.dumps(list(rows.values())).encode()
        meta["tensors"] = base64.b64encode(zlib.compress(text)).decode()

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
        (put("b/W", 2, 9), "quotients of 9 bits"),
        (put("b/W", 3, [1, 1, 12, 11]), "no xz stream of 772 bytes"),
        (put("b/W", 3, [2**30, 2**30, 0]), "cannot be"),
        (put("c/W", 4, 4), "holds 134 values as float32, and its tensors would have 135"),
        (put("c/W", 4, 5), "5 centres of 2 bits"),
        (put("a/W", 0, "e"), "sorted, each one once"),
        (put("a/W", 0, 1), r"must be \[name, scheme, bits, shape\]"),
        (table(lambda rows: rows.update(z="z")), r"must be \[name, scheme, bits, shape\]"),
        (lambda meta: meta.update(tensors=[]), "table of the tensors cannot be read"),
        (lambda meta: meta.update(tensors="AAAA"), "table of the tensors cannot be read"),
        (lambda meta: meta.update(tensors=BOMB), "too long"),
        (lambda meta: meta.update(coding="zip"), "`coding` must be one of"),
        (lambda meta: meta.update(coding="plain"), "holds .* values as codes"),
        (lambda meta: meta.pop("checksum"), "the metadata must have"),
        (lambda meta: meta.update(model="x" * 10), "`model` must be an object"),
        (lambda meta: meta.update(format=1), "has format version 1, expected 2 or 3"),
        (lambda meta: meta.update(format=True), "no format version"),
    ],
)
def test_metadata_that_cannot_be_is_refused_though_the_checksum_fits(change, why, tmp_path):
    with pytest.raises(PackedFileError, match=f"m.safetensors: .*{why}"):
        container.read(rewritten(SCHEMES, tmp_path, change))


def of_codes(data):
    return lambda entries: entries.update(codes=np.frombuffer(data, np.uint8))


@pytest.mark.parametrize(
    "change, why",
    [
        (lambda e: e.update(float32=e["float32"].astype(np.float64)), "'float32' of the type"),
        (lambda e: e.update(more=e["codes"]), "'more' of the type uint8"),
        (lambda e: e.pop("float32"), "holds 0 values as float32, and its tensors would have 134"),
        (lambda e: e.update(float32=e["float32"].reshape(2, 67)), r"shape \[2, 67\]"),
        (of_codes(b"\0" * 14), "no whole xz stream"),
        (of_codes(lzma.compress(bytes(10))), "no xz stream of 760 bytes"),
        (of_codes(lzma.compress(bytes(10**8))), "no xz stream of 760 bytes"),
        (of_codes(lzma.compress(b"\1" * 120 + b"\x10" * 640)), "b/W: a code is 16, expected"),
    ],
)
def test_arrays_that_do_not_fit_the_metadata_are_refused(change, why, tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PackedFileError, match=why):
        container.read(rewritten(SCHEMES, tmp_path, arrays=change))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


def test_metadata_that_are_no_text_are_refused(tmp_path):
    data = content(SCHEMES)
    start = data.index(b'{"sspq":') + len(b'{"sspq":')
    end = data.index(b"}", data.index(b"checksum"))
    with pytest.raises(PackedFileError, match="is no text|is no JSON"):
        number = data[:start] + b"1".ljust(end + 2 - start) + data[end + 2 :]
        container.read(with_content(str(tmp_path / "m"), number))
