"""Reads a packed file with numpy and safetensors alone, as docs/packed-format.md specifies it."""

import json
import lzma
import sys

import numpy as np
from safetensors import safe_open

VALUES = {  # values of codes c, with n = 2**bits - 1 and p = scales or centres
    "sign": lambda c, n, p: (2 * c - 1) * p,
    "levels": lambda c, n, p: 2 * (c * (np.float32(1) / n)) - 1,
    "quotients": lambda c, n, p: 2 * (c / n) - 1,
    "uniform": lambda c, n, p: (c - (n - 1) / 2) * p,
    "codebook": lambda c, n, p: p[c.astype(int)],
}


def read(path, show=lambda *line: None):  # {name: float32 array}, batch normalizations as stored
    with safe_open(path, "np") as file:  # type: ignore[attr-defined]
        described, values = json.loads(file.metadata()["tensors"]), {}
        stored = {name: file.get_tensor(name) for name in file.keys()}
    for name in sorted(set(stored) - {"scales", "centres"}):
        array, about = stored[name], described.get(name, {})
        scheme, bits = about.get("scheme", "float"), about.get("bits", 8 * array.itemsize)
        if about:
            raw, width = (lzma.decompress(array), 8) if "coding" in about else (array, bits)
            count = int(np.prod(about["shape"]))
            each = np.unpackbits(np.frombuffer(raw, np.uint8))[: count * width]
            c = np.packbits(each.reshape(count, width), axis=1) >> (8 - width)
            c, n = c.reshape(about["shape"]).astype(np.float32), np.float32(2**bits - 1)
            p = [stored[k][slice(*about[k])] for k in ("scales", "centres") if k in about]
            array = VALUES[scheme](c, n, *(p or [None]))
        values[name] = array.astype(np.float32)
        show(name, array.shape, scheme, bits, array.min(), array.max())
    return values


if __name__ == "__main__":
    read(sys.argv[1], show=print)
