"""Packed files for tests, and what makes hostile ones of them."""

import hashlib
import json
import struct

import numpy as np
import safetensors.numpy

from sspq.export.packed.container import Packed
from sspq.export.packed.encoding import (
    encode_codebook,
    encode_float,
    encode_quantized,
    encode_uniform,
)
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
        about={"batch_norm": {}, "preprocessing": {"size": [32, 32]}, "classes": {"count": 10}},
    )


def content(path):
    with open(path, "rb") as f:
        return f.read()


def with_content(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def header(data):
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])


def with_checksum(data):
    """The file, its checksum of zeros replaced by the one that fits."""
    return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1)


def rewritten(path, change=lambda meta: None, arrays=lambda entries: None):
    """The file with changed metadata or arrays, and a checksum that fits."""
    data = content(path)
    texts = header(data)["__metadata__"]
    meta = {k: v if k in ("format", "checksum") else json.loads(v) for k, v in texts.items()}
    entries = safetensors.numpy.load(data)
    if "checksum" in meta:
        meta["checksum"] = "0" * 64
    arrays(entries)
    change(meta)
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in meta.items()}
    return with_content(path, with_checksum(safetensors.numpy.save(entries, texts)))


def array(name, change):
    return lambda entries: entries.update({name: change(entries[name])})


def assert_same_tensors(after, before):
    """Fails unless ``after`` has the tensors of ``before``, in order and to the bit."""
    assert list(after.tensors) == sorted(before.tensors)
    for name, tensor in after.tensors.items():
        assert tensor[:3] == before.tensors[name][:3]
        assert tensor.parts.keys() == before.tensors[name].parts.keys()
        for part, array in tensor.parts.items():
            expected = before.tensors[name].parts[part]
            assert array.dtype == expected.dtype and array.shape == expected.shape
            np.testing.assert_array_equal(array, expected)
