"""Where in a packed file each tensor lies: a table of them, and the arrays that they share.

All tensors of a kind lie one after the other, without gaps, in up to three arrays: ``codes`` (U8),
``float32`` (F32) and ``float16`` (F16). Of a tensor that has codes, what its scheme adds lies among
the float32 values. A small network has more to say about names and shapes than about weights, so
there is one table of them, and it is compressed.

The table is a JSON list of ``[name, scheme, bits, shape, centres]`` in the order of the names. The
last is the length of a codebook, and missing where there is none. It is deflated, and in base64.

The coding is "plain", where every code takes its bits and every tensor begins with a new byte
(:mod:`sspq.export.packed.encoding`), or "xz": the codes, one a byte, entropy-coded by LZMA.
"""

import base64
import json
import lzma
import zlib
from typing import Any, Dict, Iterable, List, Sequence, Tuple

import numpy as np

from sspq.analysis.size import count_of
from sspq.export.packed.encoding import (
    MOST_BITS,
    SCHEMES,
    Encoded,
    EncodingError,
    pack_bits,
    unpack_bits,
)

CODES = "codes"
ARRAYS = {CODES: np.uint8, "float32": np.float32, "float16": np.float16}
CODINGS = ("plain", "xz")

_LARGEST_TABLE = 2**24
_MOST_CODES = 2**28  # four times as many as AlexNet has weights

# [name, scheme, bits, shape] and, for a codebook, the number of centres.
Row = List[Any]


def write_table(rows: List[Row]) -> str:
    text = json.dumps(rows, separators=(",", ":")).encode()
    return base64.b64encode(zlib.compress(text, 9)).decode()


def read_table(table: Any) -> List[Row]:
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
    names = [_checked(row)[0] for row in rows]
    if names != sorted(set(names)):
        raise EncodingError("the names of the tensors must be sorted, each one once")
    return rows


def row_of(name: str, tensor: Encoded) -> Row:
    row = [name, tensor.scheme, tensor.bits, list(tensor.shape)]
    return row + [len(tensor.parts["centres"])] if tensor.scheme == "codebook" else row


def _checked(row: Any) -> Row:
    if not (isinstance(row, list) and len(row) in (4, 5) and isinstance(row[0], str)):
        raise EncodingError(f"a tensor must be [name, scheme, bits, shape], got {row!r:.100}")
    name, scheme, bits, shape = row[:4]
    if scheme not in SCHEMES or (scheme == "codebook") != (len(row) == 5):
        raise EncodingError(f"{name!s:.100}: unknown scheme {scheme!r:.100}")
    fits = {"sign": bits == 1, "float": bits in (16, 32)}.get(scheme, True)
    most = 32 if scheme == "float" else MOST_BITS
    if type(bits) is not int or not 1 <= bits <= most or not fits:
        raise EncodingError(f"{name!s:.100}: {scheme} of {bits!r:.100} bits")
    if scheme == "codebook" and not (type(row[4]) is int and 0 <= row[4] <= 2**bits):
        raise EncodingError(f"{name!s:.100}: {row[4]!r:.100} centres of {bits} bits")
    if not isinstance(shape, list) or not 0 <= len(shape) <= 8:
        raise EncodingError(f"{name!s:.100}: the shape {shape!r:.100} cannot be")
    count = 1  # Python's integers do not overflow
    for n in shape:
        if type(n) is not int or not 0 <= n < 2**31:
            raise EncodingError(f"{name!s:.100}: the shape {shape!r:.100} cannot be")
        count *= max(1, n)
    if count > _MOST_CODES or (scheme == "uniform" and not shape):
        raise EncodingError(f"{name!s:.100}: the shape {shape!r:.100} cannot be")
    return row


def join(tensors: Iterable[Encoded], coding: str) -> Dict[str, np.ndarray]:
    """``codes``, ``float32`` and ``float16`` of a file."""
    found: Dict[str, List[np.ndarray]] = {name: [] for name in ARRAYS}
    for t in tensors:
        for part, array in t.parts.items():
            if part != CODES:
                found[array.dtype.name].append(array.ravel())
            elif coding == "plain":
                found[CODES].append(array)
            else:
                found[CODES].append(unpack_bits(array, t.bits, count_of(t.shape)))
    arrays = {
        name: np.concatenate(parts or [np.zeros(0, ARRAYS[name])]) for name, parts in found.items()
    }
    if coding == "xz":
        arrays[CODES] = np.frombuffer(lzma.compress(arrays[CODES].tobytes()), np.uint8)
    return arrays


def separate(arrays: Dict[str, np.ndarray], rows: Sequence[Row], coding: str) -> Dict[str, Encoded]:
    """The opposite of :func:`join`."""
    layouts = [_layout(row, coding) for row in rows]
    for array in ARRAYS:
        expected = sum(n for layout in layouts for where, n, _ in layout.values() if where == array)
        stored = arrays.get(array, np.zeros(0, ARRAYS[array]))
        if array == CODES and coding == "xz":
            stored = _from_xz(stored, expected)
        if len(stored) != expected:
            raise EncodingError(
                f"holds {len(stored)} values as {array}, and its tensors would have {expected}"
            )
        arrays[array] = stored
    begin = dict.fromkeys(ARRAYS, 0)
    result = {}
    for (name, scheme, bits, shape, *_), layout in zip(rows, layouts):
        parts = {}
        for part, (where, count, part_shape) in layout.items():
            end = begin[where] + count
            parts[part] = arrays[where][begin[where] : end].reshape(part_shape)
            begin[where] = end
        if CODES in parts and coding == "xz":
            codes = parts[CODES]
            if codes.size and codes.max() >= 2**bits:
                raise EncodingError(f"{name!s:.100}: a code is {codes.max()}, of {bits} bits")
            parts[CODES] = pack_bits(codes, bits)
        result[name] = Encoded(scheme, bits, tuple(shape), parts)
    return result


def _layout(row: Row, coding: str) -> Dict[str, Tuple[str, int, Tuple[int, ...]]]:
    """For every part of a tensor: the array that holds it, how many values, their shape."""
    _, scheme, bits, shape = row[:4]
    count = count_of(tuple(shape))
    if scheme == "float":
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


def _from_xz(stored: np.ndarray, count: int) -> np.ndarray:
    """``count`` bytes, and not more than that many are made of whatever was stored."""
    if count > _MOST_CODES:
        raise EncodingError(f"would have {count} codes; at most {_MOST_CODES} are read")
    xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2**28)
    try:
        codes = xz.decompress(stored.tobytes(), count + 1)
    except lzma.LZMAError as e:
        raise EncodingError(f"the codes are no whole xz stream: {e}") from e
    if not xz.eof or xz.unused_data:
        raise EncodingError(f"the codes are no xz stream of {count} bytes")
    return np.frombuffer(codes, np.uint8)
