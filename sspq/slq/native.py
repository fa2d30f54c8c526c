"""The three passes over all weights, compiled: ``custom_ops/slq`` says what each does."""

import ctypes
import functools
import os
from typing import Any, Optional

import numpy as np

LIB_PATH = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib", "libsspq_slq.so"
)
INTERFACE = 1


@functools.lru_cache(maxsize=None)
def load() -> Any:
    """The library, loaded on the first call.

    Raises:
        OSError: the library is missing, does not load, or is from another version of the sources.
    """
    library = ctypes.CDLL(LIB_PATH)
    found = library.sspq_slq_interface()
    if found != INTERFACE:
        raise OSError(f"{LIB_PATH} has interface {found}, expected {INTERFACE}")
    for name in ("histogram", "gather", "assign"):
        getattr(library, "sspq_slq_" + name).restype = None
    return library


def histogram(
    weights: np.ndarray, skip: Optional[np.ndarray], threads: int, bins: np.ndarray
) -> None:
    load().sspq_slq_histogram(*_common(weights, skip, threads), _pointer(bins))


def gather(
    weights: np.ndarray,
    skip: Optional[np.ndarray],
    threads: int,
    slot: np.ndarray,
    cursor: np.ndarray,
    places: np.ndarray,
) -> None:
    load().sspq_slq_gather(
        *_common(weights, skip, threads),
        _pointer(slot),
        ctypes.c_int64(cursor.shape[1]),
        _pointer(cursor),
        _pointer(places),
    )


def assign(
    weights: np.ndarray,
    skip: Optional[np.ndarray],
    threads: int,
    table: np.ndarray,
    cuts: np.ndarray,
    labels: np.ndarray,
    index: np.ndarray,
) -> None:
    load().sspq_slq_assign(
        *_common(weights, skip, threads),
        _pointer(table),
        _pointer(cuts),
        ctypes.c_int64(len(cuts)),
        _pointer(labels),
        _pointer(index),
    )


def _common(weights: np.ndarray, skip: Optional[np.ndarray], threads: int) -> Any:
    return (
        _pointer(weights),
        None if skip is None else _pointer(skip),
        ctypes.c_int64(len(weights)),
        ctypes.c_int32(threads),
    )


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    if not array.flags.c_contiguous:
        raise ValueError(f"the library takes contiguous arrays, got strides {array.strides}")
    return ctypes.c_void_p(array.ctypes.data)
