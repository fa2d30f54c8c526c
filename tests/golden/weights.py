"""Deterministic variable values: a function of the variable's name and shape alone.

Two graphs that name and shape their variables alike get identical values, so their outputs can
be compared without shipping weights.
"""

import zlib

import numpy as np


def value(name, shape):
    """A float32 array for variable `name` (no ':0') of `shape`."""
    rng = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    leaf = name.rsplit("/", 1)[-1]
    scope = name.rsplit("/", 2)[-2] if name.count("/") else ""
    if leaf == "W":
        fan_in = int(np.prod(shape[:-1]))
        out = rng.randn(*shape) * np.sqrt(2.0 / fan_in)
    elif leaf == "gamma":
        out = 1 + 0.1 * rng.randn(*shape)
    elif leaf in ("beta", "b"):
        out = 0.1 * rng.randn(*shape)
    elif leaf == "EMA" and scope == "mean":
        out = 0.1 * rng.randn(*shape)
    elif leaf == "EMA" and scope == "variance":
        out = 1 + 0.1 * np.abs(rng.randn(*shape))
    elif leaf == "SP":
        out = rng.uniform(-1.5, 1.5, shape)
    else:
        raise KeyError(f"no rule for variable {name!r}")
    return out.astype("float32")


def images(n, size):
    """uint8 images [n, size, size, 3] and int labels [n] below 10."""
    rng = np.random.RandomState(2021)
    return rng.randint(0, 256, (n, size, size, 3)).astype("uint8"), rng.randint(0, 10, n)
