"""The packed file: a safetensors file whose metadata says what its bytes mean.

The file holds arrays and JSON, and no code. All tensors of a kind lie one after the other, without
gaps, in up to three arrays: ``codes`` (U8), ``float32`` (F32) and ``float16`` (F16). The one
metadata entry, ``sspq``, is a JSON object:

* ``format``: the version of this layout, 2;
* ``model``: what :func:`sspq.models.rebuild` needs;
* ``tensors`` and ``coding``: what lies where, see :mod:`sspq.export.packed.layout`;
* ``facts``: what is good to know, such as top-1 and versions;
* ``checksum``: SHA-256 of the whole file in hexadecimal, with zeros in this place.

Reading takes memory in proportion to the size of the file, whatever the file says; entropy-coded,
at most as many bytes more as the largest model may have codes.
"""

import hashlib
import json
import os
import struct
from typing import Any, Dict, Mapping, NamedTuple, Tuple

import numpy as np
import safetensors

from sspq.export.packed.encoding import Encoded, EncodingError
from sspq.export.packed.layout import (
    ARRAYS,
    CODINGS,
    join,
    read_table,
    row_of,
    separate,
    write_table,
)
from sspq.files import write_atomically

FORMAT = 2
ENDING = ".safetensors"
SUFFIX = ".sspq" + ENDING

_KEY = "sspq"
_LARGEST_FILE = 2**30
_LARGEST_HEADER = 2**24
_NO_CHECKSUM = "0" * 64
_TOP = {"format", "model", "tensors", "coding", "facts", "checksum"}
_DTYPES = {"F32": np.float32, "F16": np.float16, "U8": np.uint8}


class PackedFileError(ValueError):
    """The file is no packed model, or not a whole one. The text names it and says why."""


class Packed(NamedTuple):
    """What a packed file holds.

    Attributes:
        model: of :func:`sspq.models.identity`.
        tensors: by name, in the order of the names.
        facts: JSON values.
        origin: what errors about the content call it; the path of the file it was read from.
    """

    model: Dict[str, Any]
    tensors: Dict[str, Encoded]
    facts: Dict[str, Any]
    origin: str = "the packed model"

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, without the file's header."""
        return sum(t.nbytes for t in self.tensors.values())


def write(path: str, packed: Packed, coding: str = "plain") -> int:
    """Writes the file, whole or not at all; the same content gives the same bytes.

    Args:
        path: of the file.
        packed: its content.
        coding: "plain", or "xz" to have the codes entropy-coded.

    Returns:
        Its size in bytes.
    """
    tensors = dict(sorted(packed.tensors.items()))
    text = json.dumps(
        {
            "format": FORMAT,
            "model": packed.model,
            "tensors": write_table([row_of(name, t) for name, t in tensors.items()]),
            "coding": coding,
            "facts": packed.facts,
            "checksum": _NO_CHECKSUM,
        },
        separators=(",", ":"),
        sort_keys=True,
        allow_nan=False,
    )
    arrays = join(tensors.values(), coding)
    data = safetensors.serialize(
        {
            name: {"dtype": a.dtype.name, "shape": a.shape, "data": _little_endian(a)}
            for name, a in arrays.items()
            if a.size
        },
        metadata={_KEY: text},
    )
    data = _with_checksum(bytes(data), _NO_CHECKSUM, hashlib.sha256(data).hexdigest())
    write_atomically(path, data)
    return len(data)


def read(path: str) -> Packed:
    """Reads and checks a packed file.

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
        meta = _metadata(_header(f, size))
        f.seek(0)
        data = f.read(size + 1)
    if len(data) != size:
        raise EncodingError("changed while it was read")
    _check_checksum(data, meta["checksum"])
    try:
        entries = safetensors.deserialize(data)
    except safetensors.SafetensorError as e:  # type: ignore[attr-defined]
        raise EncodingError(f"is no safetensors file: {e}") from e
    arrays = dict(_array(name, entry) for name, entry in entries)
    tensors = separate(arrays, read_table(meta["tensors"]), meta["coding"])
    return Packed(meta["model"], tensors, meta["facts"], path)


def _header(f: Any, size: int) -> Any:
    start = f.read(8)
    if len(start) < 8:
        raise EncodingError(f"is no safetensors file: it has {size} bytes")
    (length,) = struct.unpack("<Q", start)
    if length > min(size - 8, _LARGEST_HEADER):
        raise EncodingError(
            f"is no whole safetensors file: its header would have {length} bytes, and the file "
            f"has {size}"
        )
    try:
        return json.loads(f.read(length).decode("utf-8"))
    except (ValueError, RecursionError) as e:
        raise EncodingError(f"is no safetensors file: its header is no JSON: {e}") from e


def _metadata(header: Any) -> Dict[str, Any]:
    stored = header.get("__metadata__") if isinstance(header, dict) else None
    text = stored.get(_KEY) if isinstance(stored, dict) else None
    if not isinstance(text, str):
        raise EncodingError(f"is no packed model: the metadata entry {_KEY!r} is missing")
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise EncodingError(f"the metadata entry {_KEY!r} is no JSON: {e}") from e
    if not isinstance(meta, dict) or type(meta.get("format")) is not int:
        raise EncodingError(f"the metadata entry {_KEY!r} has no format version")
    if meta["format"] != FORMAT:
        raise EncodingError(
            f"has format version {meta['format']!r:.20}; this sspq reads version {FORMAT}"
        )
    if set(meta) != _TOP:
        raise EncodingError(f"the metadata must have {sorted(_TOP)}, got {sorted(meta)!s:.200}")
    for key in ("model", "facts"):
        if not isinstance(meta[key], dict):
            raise EncodingError(f"the metadata's `{key}` must be an object")
    if meta["coding"] not in CODINGS:
        raise EncodingError(f"`coding` must be one of {CODINGS}, got {meta['coding']!r:.50}")
    return meta


def _with_checksum(data: bytes, before: str, after: str) -> bytes:
    # Within JSON within JSON, quotes have backslashes.
    old, new = [f'\\"checksum\\":\\"{value}\\"' for value in (before, after)]
    if data.count(old.encode()) != 1:
        raise EncodingError("the checksum is not where it belongs")
    return data.replace(old.encode(), new.encode())


def _check_checksum(data: bytes, stored: Any) -> None:
    if not isinstance(stored, str) or len(stored) != len(_NO_CHECKSUM):
        raise EncodingError("has no checksum")
    found = hashlib.sha256(_with_checksum(data, stored, _NO_CHECKSUM)).hexdigest()
    if found != stored:
        raise EncodingError(
            f"is damaged: its SHA-256 is {found} and was {stored} when it was written"
        )


def _little_endian(array: np.ndarray) -> bytes:
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def _array(name: str, entry: Mapping[str, Any]) -> Tuple[str, np.ndarray]:
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None or ARRAYS.get(name) is not dtype or len(entry["shape"]) != 1:
        raise EncodingError(
            f"holds {name!r:.100} of the type {entry['dtype']} and shape {entry['shape']}, "
            f"expected one axis of {', '.join(ARRAYS)}"
        )
    little = np.dtype(dtype).newbyteorder("<")
    return name, np.frombuffer(entry["data"], little).astype(dtype)
