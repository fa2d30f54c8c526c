"""Finds nvcc and chooses what it compiles for. Needs nothing but Python."""

import os
import re
import shutil
import subprocess
from collections import namedtuple
from typing import List, Mapping, Optional

# The default: one for every generation from Kepler on, as far as the nvcc at hand knows it, since
# code runs on later GPUs of the same first number, and Turing for its share; PTX of the newest,
# which drivers compile for GPUs that are newer still.
USUAL = (35, 50, 60, 70, 75, 80, 90, 100, 120)

# C++11 and no fused multiply-adds, as for the CPU: those would make the bits differ from there.
FLAGS = ["-std=c++11", "-O3", "-fmad=false", "-Xcompiler", "-fPIC,-Wall"]

Toolkit = namedtuple("Toolkit", "nvcc version include lib architectures")
Toolkit.__doc__ = """nvcc, as "13.0", headers, libraries, and the compute capabilities it knows."""


class CudaError(Exception):
    """What the user has to mend before CUDA kernels can be compiled."""


def find_nvcc(environment: Mapping[str, str] = os.environ) -> Optional[str]:
    """nvcc in CUDA_HOME, CUDA_PATH or PATH; None if none of them is set and PATH has none.

    Raises:
        CudaError: CUDA_HOME or CUDA_PATH is set to a folder without nvcc.
    """
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if environment.get(name):
            path = os.path.join(environment[name], "bin", "nvcc")
            if not os.access(path, os.X_OK):
                raise CudaError(f"{name}={environment[name]}, but there is no {path}")
            return path
    return shutil.which("nvcc", path=environment.get("PATH", os.defpath))


def toolkit(nvcc: str) -> Toolkit:
    """Asks nvcc what it is and where its files are.

    Raises:
        CudaError: it does not answer as nvcc does.
    """
    version = re.search(r"release (\d+\.\d+)", _ask(nvcc, "--version"))
    # nvcc may be a wrapper or a link; only itself knows where it lives.
    top = re.search(r"^#\$ TOP=(.*)$", _ask(nvcc, "--dryrun", "-c", "-x", "cu", os.devnull), re.M)
    known = sorted({int(n) for n in re.findall(r"\bsm_(\d+)\b", _ask(nvcc, "--help"))})
    if not (version and top and known):
        raise CudaError(f"{nvcc} does not answer like nvcc")
    root = os.path.normpath(top.group(1).strip())
    folders = [os.path.join(root, name) for name in ("lib64", "lib")]
    lib = [d for d in folders if os.path.isfile(os.path.join(d, "libcudart_static.a"))]
    if not lib:
        raise CudaError(
            f"libcudart_static.a is in neither of {' and '.join(folders)}: install the "
            "development files of the CUDA runtime (Debian, Ubuntu: cuda-cudart-dev)"
        )
    return Toolkit(nvcc, version.group(1), os.path.join(root, "include"), lib[0], known)


def _ask(nvcc: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [nvcc] + list(arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except OSError as e:
        raise CudaError(f"{nvcc} does not run: {e}") from None
    if done.returncode != 0:
        raise CudaError(f"{nvcc} {' '.join(arguments)} failed:\n{done.stdout}")
    return done.stdout


def architectures(known: List[int], wish: str = "") -> List[str]:
    """What to compile for, as ["70", "75+PTX"].

    Args:
        known: compute capabilities that nvcc knows.
        wish: capabilities separated by semicolons, "7.5;8.0+PTX" or "75;80+PTX"; "+PTX" adds code
            that drivers compile for newer GPUs. Empty for the usual ones.

    Raises:
        CudaError: the wish is none, or nvcc does not know what it names.
    """
    if not wish:
        usual = [str(n) for n in USUAL if n in known] or [str(known[-1])]
        return usual[:-1] + [usual[-1] + "+PTX"]
    chosen = []
    for part in wish.split(";"):
        match = re.fullmatch(r"(\d+)\.?(\d)(\+PTX)?", part.strip())
        if not match:
            raise CudaError(
                "SSPQ_CUDA_ARCHS must be compute capabilities separated by semicolons, such as "
                f"'70;75;80+PTX', got {wish!r}"
            )
        capability = int(match.group(1) + match.group(2))
        if capability not in known:
            raise CudaError(
                f"SSPQ_CUDA_ARCHS={wish}: this nvcc does not compile for {capability}, but for "
                f"{', '.join(str(n) for n in known)}"
            )
        chosen.append(f"{capability}{match.group(3) or ''}")
    return chosen


def code_flags(chosen: List[str]) -> List[str]:
    """-gencode flags for what :func:`architectures` gives."""
    flags = []
    for name in chosen:
        number = name.split("+")[0]
        flags += ["-gencode", f"arch=compute_{number},code=sm_{number}"]
        if name.endswith("+PTX"):
            flags += ["-gencode", f"arch=compute_{number},code=compute_{number}"]
    return flags
