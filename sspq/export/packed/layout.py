"""Encoded tensors as the arrays of a packed file, and what its metadata says of them.

A tensor of codes is one uint8 array under its own name, and the metadata describe it: scheme, bits,
shape, and where its scale or centres lie in the one array that all tensors share for those. A
tensor of floats is an array of its shape under its own name, and the metadata say nothing of it.
"""

from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

from sspq.analysis.size import count_of
from sspq.export.packed import entropy
from sspq.export.packed.encoding import (
    MOST_BITS,
    SCHEMES,
    Encoded,
    EncodingError,
    unpack_bits,
)

CODES, FLOAT = "codes", "float"
CODINGS = ("plain", "xz")

# The arrays that hold one part of all tensors, under the names that the descriptions have for it.
SHARED = {"scale": "scales", "centres": "centres"}

_PART = {"sign": "scale", "uniform": "scale", "codebook": "centres"}
_FLOATS = (np.dtype(np.float32), np.dtype(np.float16))

Arrays = Dict[str, np.ndarray]
Described = Dict[str, Dict[str, Any]]


def to_arrays(tensors: Mapping[str, Encoded], coding: str) -> Tuple[Arrays, Described]:
    """The arrays of a file, and the descriptions of those that hold codes.

    Args:
        tensors: encoded tensors by name.
        coding: "plain", or "xz" to compress the codes of each tensor that gets smaller by it.

    Raises:
        EncodingError: a tensor has the name of a shared array.
    """
    arrays: Arrays = {}
    described: Described = {}
    shared: Dict[str, List[np.float32]] = {part: [] for part in SHARED}
    for name, tensor in sorted(tensors.items()):
        scheme, bits, shape, parts = tensor
        if scheme == FLOAT:
            arrays[name] = parts["values"]
            continue
        arrays[name] = parts[CODES]
        described[name] = {"scheme": scheme, "bits": bits, "shape": list(shape)}
        if coding == "xz":
            coded = entropy.compress(unpack_bits(parts[CODES], bits, count_of(shape)))
            if len(coded) < len(parts[CODES]):
                arrays[name] = coded
                described[name]["coding"] = coding
        if scheme in _PART:
            part = _PART[scheme]
            begin = len(shared[part])
            shared[part].extend(parts[part].ravel())
            described[name][SHARED[part]] = [begin, len(shared[part])]
    for part, values in shared.items():
        if SHARED[part] in arrays:
            raise EncodingError(f"a tensor cannot have the name {SHARED[part]!r}")
        if values:
            arrays[SHARED[part]] = np.array(values, np.float32)
    return arrays, described


def to_tensors(arrays: Arrays, described: Mapping[str, Any]) -> Dict[str, Encoded]:
    """The opposite of :func:`to_arrays`.

    Raises:
        EncodingError: the descriptions do not fit the arrays, or say what cannot be.
    """
    own = {name: array for name, array in arrays.items() if name not in SHARED.values()}
    missing = sorted(set(described) - set(own))
    if missing:
        raise EncodingError(f"lacks the tensor {missing[0]!r:.100} that its metadata describe")
    for name, entry in described.items():
        _check_entry(name, entry)
    compressed = [count_of(tuple(e["shape"])) for e in described.values() if "coding" in e]
    if sum(compressed) > entropy.MOST_CODES:
        raise EncodingError(
            f"would have {sum(compressed)} codes; at most {entropy.MOST_CODES} are read"
        )
    tensors = {}
    for name, array in sorted(own.items()):
        try:
            if name in described:
                tensors[name] = _of_codes(array, described[name], arrays)
            else:
                tensors[name] = _of_floats(array)
        except EncodingError as e:
            raise EncodingError(f"{name!s:.100}: {e}") from e
    return tensors


def check_tensor(name: str, scheme: Any, bits: Any, shape: Any) -> None:
    """Raises EncodingError unless there can be such a tensor."""
    if scheme not in SCHEMES:
        raise EncodingError(f"{name!s:.100}: unknown scheme {scheme!r:.100}")
    fits = {"sign": bits == 1, FLOAT: bits in (16, 32)}.get(scheme, True)
    most = 32 if scheme == FLOAT else MOST_BITS
    if type(bits) is not int or not 1 <= bits <= most or not fits:
        raise EncodingError(f"{name!s:.100}: {scheme} of {bits!r:.100} bits")
    impossible = f"{name!s:.100}: the shape {shape!r:.100} cannot be"
    if not isinstance(shape, list) or len(shape) > 8 or (scheme == "uniform" and not shape):
        raise EncodingError(impossible)
    count = 1  # Python's integers do not overflow
    for n in shape:
        if type(n) is not int or not 0 <= n < 2**31:
            raise EncodingError(impossible)
        count *= max(1, n)
    if count > entropy.MOST_CODES:
        raise EncodingError(impossible)


def _check_entry(name: str, entry: Any) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("scheme"), str):
        raise EncodingError(f"{name!s:.100}: has no scheme in the metadata")
    scheme = entry["scheme"]
    if scheme == FLOAT:
        raise EncodingError(f"{name!s:.100}: unknown scheme {scheme!r} of codes")
    check_tensor(name, scheme, entry.get("bits"), entry.get("shape"))
    expected = {"scheme", "bits", "shape"} | {
        SHARED[part] for s, part in _PART.items() if s == scheme
    }
    if set(entry) - {"coding"} != expected:
        raise EncodingError(
            f"{name!s:.100}: a tensor of the scheme {scheme} has {sorted(expected)} in the "
            f"metadata, got {sorted(entry)!s:.200}"
        )
    if entry.get("coding", "xz") != "xz":
        raise EncodingError(f"{name!s:.100}: `coding` must be 'xz', got {entry['coding']!r:.50}")


def _of_codes(array: np.ndarray, entry: Dict[str, Any], arrays: Arrays) -> Encoded:
    scheme, bits, shape = entry["scheme"], entry["bits"], tuple(entry["shape"])
    if array.dtype != np.uint8 or array.ndim != 1:
        raise EncodingError(
            f"codes must be uint8 of one axis, got {array.dtype} {list(array.shape)}"
        )
    count = count_of(shape)
    if "coding" in entry:
        array = entropy.repack(entropy.decompress(array, count), bits)
    elif len(array) != -(-count * bits // 8):
        raise EncodingError(
            f"{count} codes of {bits} bits take {-(-count * bits // 8)} bytes, got {len(array)}"
        )
    parts = {CODES: array}
    if scheme in _PART:
        part = _PART[scheme]
        parts[part] = _shared(SHARED[part], entry[SHARED[part]], arrays)
        least, most = {
            "sign": (1, 1),
            "uniform": (shape[-1:] * 2),
            "codebook": (0, 2**bits),
        }[scheme]
        if not least <= len(parts[part]) <= most:
            raise EncodingError(
                f"{len(parts[part])} {SHARED[part]} of the scheme {scheme}, {bits} bits and the "
                f"shape {list(shape)}"
            )
        if scheme == "sign":
            parts[part] = parts[part].reshape(())
    return Encoded(scheme, bits, shape, parts)


def _shared(name: str, place: Any, arrays: Arrays) -> np.ndarray:
    """Values ``begin`` to ``end - 1`` of a shared array, ``place`` being ``[begin, end]``."""
    array = arrays.get(name, np.zeros(0, np.float32))
    if array.dtype != np.float32 or array.ndim != 1:
        raise EncodingError(
            f"`{name}` must be float32 of one axis, got {array.dtype} {list(array.shape)}"
        )
    if not (
        isinstance(place, list)
        and [type(n) for n in place] == [int, int]
        and 0 <= place[0] <= place[1] <= len(array)
    ):
        raise EncodingError(
            f"`{name}` must be [begin, end] within {len(array)} values, got {place!r:.100}"
        )
    return array[place[0] : place[1]]


def _of_floats(array: np.ndarray) -> Encoded:
    if array.dtype not in _FLOATS:
        raise EncodingError(f"{array.dtype} values have no scheme in the metadata")
    return Encoded(FLOAT, 8 * array.itemsize, array.shape, {"values": array})
