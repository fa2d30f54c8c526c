"""Versions and devices, which bug reports need and results depend on."""

import os
import platform
import sys
import warnings
from typing import Any, Dict, List

import numpy as np

from sspq import oplib
from sspq.compat import TF_VERSION, tf
from sspq.slq import backend, native
from sspq.version import __version__

OPS = (
    "SspqShift2D",
    "SspqShift2DGrad",
    "SspqBatchNorm",
    "SspqBatchNormInference",
    "SspqBatchNormGrad",
)


def versions() -> Dict[str, str]:
    """The versions of Python and of the packages that compute results."""
    import tensorpack

    return {
        "sspq": __version__,
        "python": platform.python_version(),
        "tensorflow": TF_VERSION,
        "tensorpack": tensorpack.__version__,
        "numpy": np.__version__,
    }


def registered_kernels(op_name: str) -> List[str]:
    """The kernels of an op that this process has registered, each as "CPU float32"."""
    from tensorflow.python.framework import kernels

    names = []
    for kernel in kernels.get_registered_kernels_for_op(op_name).kernel:
        types = [tf.as_dtype(t).name for c in kernel.constraint for t in c.allowed_values.list.type]
        names.append(" ".join([kernel.device_type] + types))
    return sorted(names)


def slq_state() -> str:
    """The implementation of SLQ's k-means, with the reason if it is not the compiled one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            name = backend.backend_name()
        native.load()
        return name
    except (ImportError, OSError) as e:  # numpy computes, or nothing does
        return f"{'none' if isinstance(e, backend.BackendError) else name} ({e})"


def environment() -> Dict[str, Any]:
    """Versions, platform, devices, op library and kernels, as values for JSON.

    A library that cannot be loaded raises nothing: its error is the value ``library_error``.
    """
    from tensorflow.python.client import device_lib

    result: Dict[str, Any] = {
        "versions": versions(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "executable": sys.executable,
        "built_with_cuda": tf.test.is_built_with_cuda(),
        "devices": [d.physical_device_desc or d.name for d in device_lib.list_local_devices()],
        "library": oplib.LIB_PATH,
        "slq": slq_state(),
    }
    try:
        result["build"] = oplib.build_info()
        oplib.load()
        result["kernels"] = {name: registered_kernels(name) for name in OPS}
        result["cpu_versions"] = oplib.cpu_versions()
    except oplib.OpLibraryError as e:
        result["library_error"] = str(e)
    return result


def format_environment(state: Dict[str, Any]) -> str:
    """The result of :func:`environment` as text for a bug report."""
    lines = [f"{name:<16} {version}" for name, version in state["versions"].items()]
    lines += [
        f"{name:<16} {state[name]}"
        for name in ("platform", "cpus", "executable", "built_with_cuda", "library", "slq")
    ]
    if "library_error" in state:
        lines.append(f"{'NOT LOADED':<16} {state['library_error']}")
    lines += [f"{'built: ' + k:<16} {v}" for k, v in state.get("build", {}).items()]
    for op, kernels in state.get("kernels", {}).items():
        lines.append(f"{op:<22} {', '.join(kernels) or 'none'}")
    if "cpu_versions" in state:
        lines.append(f"{'CPU versions':<16} {', '.join(state['cpu_versions'])}")
    lines += [f"{'device':<16} {d}" for d in state["devices"]]
    return "\n".join(lines)
