"""Finds, checks and loads the compiled op library, once, on first use."""

import ctypes
import functools
import json
import os
from typing import Any, Dict, List

from sspq.compat import TF_VERSION, tf

LIB_DIR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib")
LIB_PATH = os.path.join(LIB_DIR, "libsspq.so")
BUILD_INFO_PATH = os.path.join(LIB_DIR, "build.json")

_REBUILD = (
    "Build it with the TensorFlow you are going to use: in the source folder run\n"
    "    python setup.py build_ext --inplace        (to use sspq from that folder)\n"
    "    pip install --no-cache-dir --force-reinstall --no-deps .   (to install it)"
)


class OpLibraryError(ImportError):
    """The compiled op library is missing, or does not fit what is running or was asked for."""


def build_info() -> Dict[str, Any]:
    """What the library was built with, as recorded by ``setup.py``.

    Raises:
        OpLibraryError: the library, or the record beside it, is missing.
    """
    if not (os.path.isfile(LIB_PATH) and os.path.isfile(BUILD_INFO_PATH)):
        raise OpLibraryError(f"sspq's op library is not built: {LIB_PATH} is missing.\n{_REBUILD}")
    with open(BUILD_INFO_PATH) as f:
        try:
            return json.load(f)
        except ValueError as e:
            raise OpLibraryError(f"{BUILD_INFO_PATH} is damaged: {e}\n{_REBUILD}") from e


def check_build(info: Dict[str, Any], running: str = TF_VERSION) -> None:
    """Raises OpLibraryError unless the library was built for the ``running`` TensorFlow."""
    built_for = info.get("tensorflow")
    if built_for != running:
        raise OpLibraryError(
            f"sspq's op library was built for TensorFlow {built_for}, but TensorFlow {running} "
            f"is running ({LIB_PATH}).\n{_REBUILD}"
        )


@functools.lru_cache(maxsize=None)
def load() -> Any:
    """Returns the module with the compiled ops, loaded on the first call.

    Raises:
        OpLibraryError: the library is missing, was built for another TensorFlow, or does not load;
            or ``SSPQ_CPU`` names none of its versions.
    """
    check_build(build_info())
    try:
        ops = tf.load_op_library(LIB_PATH)
    except tf.errors.OpError as e:
        raise OpLibraryError(f"sspq's op library does not load: {e.message}\n{_REBUILD}") from e
    wish, names = os.environ.get("SSPQ_CPU"), _cpu_versions()
    if wish and wish not in names:
        raise OpLibraryError(
            f"SSPQ_CPU={wish}: must be one of {', '.join(names)}, which this machine runs, or "
            "not set, for the first"
        )
    return ops


def cpu_versions() -> List[str]:
    """Versions of the CPU kernels that this machine runs, the fastest first.

    The environment variable ``SSPQ_CPU`` names the one to use, the fastest by default. It is read
    when TensorFlow creates a kernel. All give the same bits.

    Raises:
        OpLibraryError: as :func:`load`.
    """
    load()
    return _cpu_versions()


def _cpu_versions() -> List[str]:
    names = ctypes.CDLL(LIB_PATH).sspq_cpu_versions
    names.restype = ctypes.c_char_p
    return names().decode().split()
