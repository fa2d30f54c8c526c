"""The packed file: a safetensors file whose metadata says what the tensors mean.

The file holds arrays and JSON, and no code. Its one metadata entry, ``sspq``, is a JSON object:

* ``format``: the version of this layout, 1;
* ``model``: what :func:`sspq.models.rebuild` needs;
* ``codes``: ``{name: [scheme, bits, shape]}`` of the tensors that are stored as codes, see
  :mod:`sspq.export.encoding`;
* ``facts``: what is good to know, such as top-1 and versions;
* ``checksum``: SHA-256 of the whole file in hexadecimal, with zeros in this place.

A tensor's codes are stored under its name, what its scheme adds under ``name#part``; a float tensor
is stored under its name.

Reading takes memory in proportion to the size of the file, whatever the file says.
"""

import hashlib
import json
import os
import struct
from typing import Any, Dict, Mapping, NamedTuple, Tuple

import numpy as np
import safetensors

from sspq.export.encoding import MOST_BITS, SCHEMES, Encoded, EncodingError
from sspq.report.size import count_of

FORMAT = 1
SUFFIX = ".sspq.safetensors"

_KEY = "sspq"
_LARGEST_FILE = 2**30
_LARGEST_HEADER = 2**24
_NO_CHECKSUM = "0" * 64
_DTYPES = {"F32": np.float32, "F16": np.float16, "U8": np.uint8}
# Type and number of axes of what a scheme stores beside the codes.
_PARTS: Dict[str, Dict[str, int]] = {
    "sign": {"scale": 0},
    "levels": {},
    "quotients": {},
    "codebook": {"centres": 1},
    "uniform": {"scale": 1},
}
_TOP = {"format", "model", "codes", "facts", "checksum"}


class PackedFileError(ValueError):
    """The file is no packed model, or not a whole one. The text names it and says why."""


class Packed(NamedTuple):
    """What a packed file holds.

    Attributes:
        model: of :func:`sspq.models.identity`.
        tensors: by name, in the order of the names.
        facts: JSON values.
    """

    model: Dict[str, Any]
    tensors: Dict[str, Encoded]
    facts: Dict[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, without the file's header."""
        return sum(t.nbytes for t in self.tensors.values())


def write(path: str, packed: Packed) -> int:
    """Writes the file, whole or not at all; the same content gives the same bytes.

    Returns:
        Its size in bytes.
    """
    arrays: Dict[str, np.ndarray] = {}
    codes: Dict[str, Any] = {}
    for name, tensor in packed.tensors.items():
        for part, array in tensor.parts.items():
            arrays[name if part in ("codes", "values") else "%s#%s" % (name, part)] = array
        if tensor.scheme != "float":
            codes[name] = [tensor.scheme, tensor.bits, list(tensor.shape)]
    text = json.dumps(
        {
            "format": FORMAT,
            "model": packed.model,
            "codes": codes,
            "facts": packed.facts,
            "checksum": _NO_CHECKSUM,
        },
        separators=(",", ":"),
        sort_keys=True,
        allow_nan=False,
    )
    data = safetensors.serialize(
        {
            name: {"dtype": a.dtype.name, "shape": a.shape, "data": _little_endian(a)}
            for name, a in arrays.items()
        },
        metadata={_KEY: text},
    )
    data = _with_checksum(bytes(data), _NO_CHECKSUM, hashlib.sha256(data).hexdigest())
    temporary = path + ".tmp"
    with open(temporary, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)
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
        raise PackedFileError("%s: %s" % (path, e)) from e


def _read(path: str) -> Packed:
    size = os.path.getsize(path)
    if size > _LARGEST_FILE:
        raise EncodingError("is larger than the %d bytes that are read" % _LARGEST_FILE)
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
        raise EncodingError("is no safetensors file: %s" % e) from e
    arrays = {name: _array(name, entry) for name, entry in entries}
    tensors = _tensors(arrays, meta["codes"])
    return Packed(meta["model"], tensors, meta["facts"])


def _header(f: Any, size: int) -> Any:
    start = f.read(8)
    if len(start) < 8:
        raise EncodingError("is no safetensors file: it has %d bytes" % size)
    (length,) = struct.unpack("<Q", start)
    if length > min(size - 8, _LARGEST_HEADER):
        raise EncodingError(
            "is no whole safetensors file: its header would have %d bytes, and the file has %d"
            % (length, size)
        )
    try:
        return json.loads(f.read(length).decode("utf-8"))
    except (ValueError, RecursionError) as e:
        raise EncodingError("is no safetensors file: its header is no JSON: %s" % e) from e


def _metadata(header: Any) -> Dict[str, Any]:
    stored = header.get("__metadata__") if isinstance(header, dict) else None
    text = stored.get(_KEY) if isinstance(stored, dict) else None
    if not isinstance(text, str):
        raise EncodingError("is no packed model: the metadata entry %r is missing" % _KEY)
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise EncodingError("the metadata entry %r is no JSON: %s" % (_KEY, e)) from e
    if not isinstance(meta, dict) or type(meta.get("format")) is not int:
        raise EncodingError("the metadata entry %r has no format version" % _KEY)
    if meta["format"] != FORMAT:
        raise EncodingError(
            "has format version %.20r; this sspq reads version %d" % (meta["format"], FORMAT)
        )
    if set(meta) != _TOP:
        raise EncodingError("the metadata must have %s, got %.200s" % (sorted(_TOP), sorted(meta)))
    for key in ("model", "codes", "facts"):
        if not isinstance(meta[key], dict):
            raise EncodingError("the metadata's `%s` must be an object" % key)
    return meta


def _with_checksum(data: bytes, before: str, after: str) -> bytes:
    # Within JSON within JSON, quotes have backslashes.
    old, new = ['\\"checksum\\":\\"%s\\"' % value for value in (before, after)]
    if data.count(old.encode()) != 1:
        raise EncodingError("the checksum is not where it belongs")
    return data.replace(old.encode(), new.encode())


def _check_checksum(data: bytes, stored: Any) -> None:
    if not isinstance(stored, str) or len(stored) != len(_NO_CHECKSUM):
        raise EncodingError("has no checksum")
    found = hashlib.sha256(_with_checksum(data, stored, _NO_CHECKSUM)).hexdigest()
    if found != stored:
        raise EncodingError(
            "is damaged: its SHA-256 is %s and was %s when it was written" % (found, stored)
        )


def _little_endian(array: np.ndarray) -> bytes:
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def _array(name: str, entry: Mapping[str, Any]) -> np.ndarray:
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None:
        raise EncodingError("%.100s: has the type %s" % (name, entry["dtype"]))
    little = np.dtype(dtype).newbyteorder("<")
    return np.frombuffer(entry["data"], little).astype(dtype).reshape(entry["shape"])


def _tensors(arrays: Dict[str, np.ndarray], codes: Dict[str, Any]) -> Dict[str, Encoded]:
    result = {}
    for name, said in codes.items():
        scheme, bits, shape = _checked_code(name, said)
        parts = {"codes": _part(arrays, name, np.uint8, 1)}
        for part, axes in _PARTS[scheme].items():
            parts[part] = _part(arrays, "%s#%s" % (name, part), np.float32, axes)
        count = count_of(shape)
        if len(parts["codes"]) != -(-count * bits // 8):
            raise EncodingError(
                "%.100s: %s values of %d bits do not take %d bytes"
                % (name, list(shape), bits, len(parts["codes"]))
            )
        if scheme == "uniform" and (not shape or parts["scale"].shape != shape[-1:]):
            raise EncodingError("%.100s: needs a scale for each of the last axis" % name)
        result[name] = Encoded(scheme, bits, shape, parts)
    for name, array in arrays.items():
        if array.dtype == np.uint8:
            raise EncodingError("%.100s: nothing says what its codes mean" % name)
        result[name] = Encoded("float", 8 * array.itemsize, array.shape, {"values": array})
    return dict(sorted(result.items()))


def _checked_code(name: str, said: Any) -> Tuple[str, int, Tuple[int, ...]]:
    if not (isinstance(said, list) and len(said) == 3 and isinstance(said[2], list)):
        raise EncodingError("%.100s: must be [scheme, bits, shape], got %.100r" % (name, said))
    scheme, bits, shape = said
    if scheme not in SCHEMES or scheme not in _PARTS:
        raise EncodingError("%.100s: unknown scheme %.100r" % (name, scheme))
    if type(bits) is not int or not 1 <= bits <= MOST_BITS or (scheme == "sign" and bits != 1):
        raise EncodingError("%.100s: codes of %.100r bits" % (name, bits))
    if len(shape) > 8 or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
        raise EncodingError("%.100s: the shape %.100r cannot be" % (name, shape))
    count = 1
    for n in shape:  # Python's integers do not overflow
        count *= n
    if count > 8 * _LARGEST_FILE:
        raise EncodingError("%.100s: the shape %.100r cannot be" % (name, shape))
    return scheme, bits, tuple(shape)


def _part(arrays: Dict[str, np.ndarray], name: str, dtype: Any, axes: int) -> np.ndarray:
    if name not in arrays:
        raise EncodingError("%.100s: is missing" % name)
    array = arrays.pop(name)
    if array.dtype != dtype or array.ndim != axes:
        raise EncodingError(
            "%.100s: must be %s with %d axes, got %s %s"
            % (name, np.dtype(dtype).name, axes, array.dtype, list(array.shape))
        )
    return array
