"""The packed file: a safetensors file that any reader of safetensors opens, and no code.

``docs/packed-format.md`` specifies format 3, which is written. Its metadata entries:

* ``format``: "sspq 3";
* ``model``: what :func:`sspq.models.rebuild` needs;
* ``tensors``: scheme, bits and shape of each tensor of codes, see :mod:`sspq.export.packed.layout`;
* ``batch_norm``, ``preprocessing``, ``classes``: what a reader without sspq needs to know;
* ``facts``: what is good to know, such as top-1 and versions;
* ``checksum``: SHA-256 of the whole file in hexadecimal, with zeros in this place.

All but the first and the last are JSON objects. Reading takes memory in proportion to the size of
the file, whatever the file says; entropy-coded, at most as many bytes more as the largest model may
have codes.
"""

import hashlib
import json
import os
import re
import struct
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np
import safetensors
import safetensors.numpy

from sspq.export.packed import format2, layout
from sspq.export.packed.encoding import Encoded, EncodingError
from sspq.files import write_atomically

FORMAT = "sspq 3"
ENDING = ".safetensors"
SUFFIX = ".sspq" + ENDING

# Metadata entries for readers without sspq.
ABOUT = ("batch_norm", "preprocessing", "classes")

_OBJECTS = ("model", "tensors", "facts", *ABOUT)
_ENTRIES = {"format", "checksum", *_OBJECTS}
_LARGEST_FILE = 2**30
_LARGEST_HEADER = 2**24
_NO_CHECKSUM = "0" * 64
_DTYPES = {"uint8": "U8", "float16": "F16", "float32": "F32"}


class PackedFileError(ValueError):
    """The file is no packed model, or not a whole one. The text names it and says why."""


class Packed(NamedTuple):
    """What a packed file holds.

    Attributes:
        model: description of :func:`sspq.models.identity`.
        tensors: encoded tensors by name, in the order of the names.
        facts: JSON values.
        origin: name for errors about the content; the path of the file it was read from.
        about: JSON objects ``batch_norm``, ``preprocessing`` and ``classes``; empty for a file of
            format 2.
    """

    model: Dict[str, Any]
    tensors: Dict[str, Encoded]
    facts: Dict[str, Any]
    origin: str = "the packed model"
    about: Dict[str, Dict[str, Any]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, without the file's header."""
        return sum(t.nbytes for t in self.tensors.values())


def write(path: str, packed: Packed, coding: str = "plain") -> int:
    """Writes the file, whole or not at all; the same content gives the same bytes.

    Args:
        path: path of the file.
        packed: content of the file.
        coding: "plain" (default), or "xz" to have the codes entropy-coded where that saves bytes.

    Returns:
        Its size in bytes.
    """
    arrays, described = layout.to_arrays(packed.tensors, coding)
    objects: Dict[str, Any] = {key: packed.about.get(key, {}) for key in ABOUT}
    objects.update(model=packed.model, tensors=described, facts=packed.facts)
    metadata = {key: _json(value) for key, value in objects.items()}
    metadata.update(format=FORMAT, checksum=_NO_CHECKSUM)
    data = _serialized(arrays, metadata)
    before, after = [
        f'"checksum":"{value}"'.encode()
        for value in (_NO_CHECKSUM, hashlib.sha256(data).hexdigest())
    ]
    data = data.replace(before, after, 1)  # the header comes first
    write_atomically(path, data)
    return len(data)


def _serialized(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The safetensors file; the library orders metadata in another way each time."""
    header: Dict[str, Any] = {"__metadata__": metadata}
    chunks: List[bytes] = []
    end = 0
    # Wide values first: every tensor is aligned.
    for name, array in sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])):
        chunks.append(array.astype(array.dtype.newbyteorder("<")).tobytes())
        begin, end = end, end + len(chunks[-1])
        header[name] = {
            "dtype": _DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = _json(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(chunks)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)


def read(path: str) -> Packed:
    """Reads and checks a packed file of format 2 or 3.

    Raises:
        PackedFileError: it is truncated, damaged, of another kind or version, or says what cannot
            be.
    """
    try:
        return _read(path)
    except (EncodingError, OSError) as e:
        raise PackedFileError(f"{path}: {e}") from e


def _read(path: str) -> Packed:
    size = os.path.getsize(path)
    if size > _LARGEST_FILE:
        raise EncodingError(f"is larger than the {_LARGEST_FILE} bytes that are read")
    with open(path, "rb") as f:
        stored = _stored_metadata(_header(f, size))
        is_old = "format" not in stored and format2.KEY in stored
        meta = _old_metadata(stored) if is_old else _metadata(stored)
        f.seek(0)
        data = f.read(size + 1)
    if len(data) != size:
        raise EncodingError("changed while it was read")
    _check_checksum(data, meta["checksum"])
    try:
        arrays = safetensors.numpy.load(data)
    except safetensors.SafetensorError as e:  # type: ignore[attr-defined]
        raise EncodingError(f"is no safetensors file: {e}") from e
    except KeyError as e:  # of the library's types
        raise EncodingError(f"holds a tensor of the type {e.args[0]!s:.50}") from e
    if is_old:
        rows = format2.read_table(meta["tensors"])
        tensors = format2.to_tensors(arrays, rows, meta["coding"])
        return Packed(meta["model"], tensors, meta["facts"], path)
    tensors = layout.to_tensors(arrays, meta["tensors"])
    about = {key: meta[key] for key in ABOUT}
    return Packed(meta["model"], tensors, meta["facts"], path, about)


def header_bytes(path: str) -> int:
    """Bytes of a packed file ahead of its tensors."""
    with open(path, "rb") as f:
        return 8 + _length(f.read(8))


def _length(start: bytes) -> int:
    """Length of the header that follows the first 8 bytes of a file."""
    (length,) = struct.unpack("<Q", start)
    return length


def _header(f: Any, size: int) -> Any:
    start = f.read(8)
    if len(start) < 8:
        raise EncodingError(f"is no safetensors file: it has {size} bytes")
    length = _length(start)
    if length > min(size - 8, _LARGEST_HEADER):
        raise EncodingError(
            f"is no whole safetensors file: its header would have {length} bytes, and the file "
            f"has {size}"
        )
    return _parsed(f.read(length), "is no safetensors file: its header")


def _parsed(text: Any, what: str) -> Any:
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as e:
        raise EncodingError(f"{what} is no JSON: {e}") from e


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a name is there twice among {[name for name, _ in pairs]!s:.200}")
    return found


def _stored_metadata(header: Any) -> Dict[str, Any]:
    stored = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(stored, dict) or not {"format", format2.KEY} & set(stored):
        raise EncodingError("is no packed model: the metadata entry 'format' is missing")
    return stored


def _old_metadata(stored: Dict[str, Any]) -> Dict[str, Any]:
    entry = f"the metadata entry {format2.KEY!r}"
    if not isinstance(stored[format2.KEY], str):
        raise EncodingError(f"{entry} is no text")
    return format2.check_metadata(_parsed(stored[format2.KEY], entry))


def _metadata(stored: Dict[str, Any]) -> Dict[str, Any]:
    if stored["format"] != FORMAT:
        raise EncodingError(
            f"has the format {stored['format']!r:.40}; this sspq reads {FORMAT!r} and format 2"
        )
    if set(stored) != _ENTRIES or not all(isinstance(text, str) for text in stored.values()):
        raise EncodingError(
            f"the metadata must have texts as {sorted(_ENTRIES)}, got {sorted(stored)!s:.200}"
        )
    meta = dict(stored)
    for key in _OBJECTS:
        meta[key] = _parsed(stored[key], f"the metadata entry {key!r}")
        if not isinstance(meta[key], dict):
            raise EncodingError(f"the metadata's `{key}` must be an object")
    return meta


def _check_checksum(data: bytes, stored: Any) -> None:
    if not isinstance(stored, str) or not re.fullmatch("[0-9a-f]{64}", stored):
        raise EncodingError("has no checksum")
    found = hashlib.sha256(data.replace(stored.encode(), _NO_CHECKSUM.encode(), 1)).hexdigest()
    if found != stored:
        raise EncodingError(
            f"is damaged: its SHA-256 is {found} and was {stored} when it was written"
        )
