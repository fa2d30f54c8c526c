"""Packed files of format 2, which are read and not written.

All tensors of a kind lie one after the other, without gaps, in up to three arrays: ``codes`` (U8),
``float32`` (F32) and ``float16`` (F16). Of a tensor that has codes, what its scheme adds lies among
the float32 values. The one metadata entry, ``sspq``, is a JSON object:

* ``format``: 2;
* ``model``, ``facts``: as in format 3;
* ``tensors``: a JSON list of ``[name, scheme, bits, shape, centres]`` in the order of the names,
  deflated, and in base64. The last is the length of a codebook, and missing where there is none;
* ``coding``: "plain", where every code takes its bits and every tensor begins with a new byte, or
  "xz": the codes of all tensors, one a byte, as one xz stream;
* ``checksum``: as in format 3.

A batch normalization has the name of its scope.
"""

import base64
import json
import zlib
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from sspq.analysis.size import count_of
from sspq.export.packed import entropy
from sspq.export.packed.encoding import Encoded, EncodingError
from sspq.export.packed.layout import CODES, CODINGS, FLOAT, check_tensor

KEY = "sspq"
FORMAT = 2

_ENTRIES = {"format", "model", "tensors", "coding", "facts", "checksum"}
_ARRAYS = {CODES: np.uint8, "float32": np.float32, "float16": np.float16}
_LARGEST_TABLE = 2**24

# [name, scheme, bits, shape] and, for a codebook, the number of centres.
Row = List[Any]


def check_metadata(meta: Any) -> Dict[str, Any]:
    """The parsed metadata entry, as it is.

    Raises:
        EncodingError: it is of another format, or not whole.
    """
    if not isinstance(meta, dict) or type(meta.get("format")) is not int:
        raise EncodingError(f"the metadata entry {KEY!r} has no format version")
    if meta["format"] != FORMAT:
        raise EncodingError(f"has format version {meta['format']!r:.20}, expected {FORMAT} or 3")
    if set(meta) != _ENTRIES:
        raise EncodingError(f"the metadata must have {sorted(_ENTRIES)}, got {sorted(meta)!s:.200}")
    for key in ("model", "facts"):
        if not isinstance(meta[key], dict):
            raise EncodingError(f"the metadata's `{key}` must be an object")
    if meta["coding"] not in CODINGS:
        raise EncodingError(f"`coding` must be one of {CODINGS}, got {meta['coding']!r:.50}")
    return meta


def read_table(table: Any) -> List[Row]:
    """The rows of the entry ``tensors``."""
    try:
        inflate = zlib.decompressobj()
        text = inflate.decompress(base64.b64decode(table, validate=True), _LARGEST_TABLE)
        if not inflate.eof or inflate.unused_data:
            raise EncodingError("the table of the tensors is too long or not whole")
        rows = json.loads(text.decode("utf-8"))
    except (TypeError, ValueError, RecursionError, zlib.error) as e:
        if isinstance(e, EncodingError):
            raise
        raise EncodingError(f"the table of the tensors cannot be read: {e}") from e
    if not isinstance(rows, list):
        raise EncodingError("the table of the tensors must be a list")
    for row in rows:
        _check_row(row)
    names = [row[0] for row in rows]
    if names != sorted(set(names)):
        raise EncodingError("the names of the tensors must be sorted, each one once")
    return rows


def _check_row(row: Any) -> None:
    if not (isinstance(row, list) and len(row) in (4, 5) and isinstance(row[0], str)):
        raise EncodingError(f"a tensor must be [name, scheme, bits, shape], got {row!r:.100}")
    name, scheme, bits, shape = row[:4]
    check_tensor(name, scheme, bits, shape)
    if (scheme == "codebook") != (len(row) == 5):
        raise EncodingError(f"{name!s:.100}: unknown scheme {scheme!r:.100}")
    if scheme == "codebook" and not (type(row[4]) is int and 0 <= row[4] <= 2**bits):
        raise EncodingError(f"{name!s:.100}: {row[4]!r:.100} centres of {bits} bits")


def to_tensors(arrays: Dict[str, np.ndarray], rows: Sequence[Row], coding: str) -> Dict[str, Any]:
    """The encoded tensors by name.

    Raises:
        EncodingError: the table does not fit the arrays, or the codes are damaged.
    """
    for name, array in arrays.items():
        if _ARRAYS.get(name) != array.dtype or array.ndim != 1:
            raise EncodingError(
                f"holds {name!r:.100} of the type {array.dtype} and shape {list(array.shape)}, "
                f"expected one axis of {', '.join(_ARRAYS)}"
            )
    layouts = [_layout(row, coding) for row in rows]
    whole = {}
    for where, dtype in _ARRAYS.items():
        expected = sum(n for layout in layouts for place, n, _ in layout.values() if place == where)
        stored = arrays.get(where, np.zeros(0, dtype))
        if where == CODES and coding == "xz":
            stored = entropy.decompress(stored, expected)
        if len(stored) != expected:
            raise EncodingError(
                f"holds {len(stored)} values as {where}, and its tensors would have {expected}"
            )
        whole[where] = stored
    begin = dict.fromkeys(_ARRAYS, 0)
    result = {}
    for (name, scheme, bits, shape, *_), layout in zip(rows, layouts):
        parts = {}
        for part, (where, count, part_shape) in layout.items():
            end = begin[where] + count
            parts[part] = whole[where][begin[where] : end].reshape(part_shape)
            begin[where] = end
        if CODES in parts and coding == "xz":
            try:
                parts[CODES] = entropy.repack(parts[CODES], bits)
            except EncodingError as e:
                raise EncodingError(f"{name!s:.100}: {e}") from e
        result[name] = Encoded(scheme, bits, tuple(shape), parts)
    return result


def _layout(row: Row, coding: str) -> Dict[str, Tuple[str, int, Tuple[int, ...]]]:
    """For every part of a tensor: the array that holds it, how many values, their shape."""
    _, scheme, bits, shape = row[:4]
    count = count_of(tuple(shape))
    if scheme == FLOAT:
        return {"values": (f"float{bits}", count, tuple(shape))}
    codes = count if coding == "xz" else -(-count * bits // 8)
    layout: Dict[str, Tuple[str, int, Tuple[int, ...]]] = {CODES: (CODES, codes, (codes,))}
    if scheme == "sign":
        layout["scale"] = ("float32", 1, ())
    elif scheme == "codebook":
        layout["centres"] = ("float32", row[4], (row[4],))
    elif scheme == "uniform":
        layout["scale"] = ("float32", shape[-1], (shape[-1],))
    return layout
