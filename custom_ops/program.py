"""Builds programs from C++ without TensorFlow: for sanitizers and for timing."""

import concurrent.futures
import glob
import os
import subprocess
from typing import Callable, List, Sequence

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# The sources of shift2d's CPU kernels, which include nothing of TensorFlow.
SOURCES = ("custom_ops/cpu/*.cc", "custom_ops/shift2d/cpu/*.cc")


def build_program(
    source: str,
    folder: str,
    flags: Sequence[str],
    instruction_set: Callable[[str], List[str]],
    sources: Sequence[str] = SOURCES,
) -> str:
    """Compiles ``source`` with the kernels into ``folder`` and returns the program's path.

    Args:
        source: a C++ file with ``main``.
        folder: where objects and program go.
        flags: for all files, those that the op library is built with among them.
        instruction_set: the flags that one kernel source needs beside them.
        sources: patterns of the sources to compile in, those of shift2d's CPU kernels by default.

    Raises:
        subprocess.CalledProcessError: the compiler failed; it has printed why.
    """
    command = os.environ.get("CXX", "g++").split() + list(flags) + ["-I" + ROOT]
    patterns = [os.path.join(ROOT, pattern) for pattern in sources]
    names = sorted(name for pattern in patterns for name in glob.glob(pattern)) + [source]

    def compile_one(name: str) -> str:
        target = os.path.join(folder, os.path.basename(name) + ".o")
        subprocess.run(command + instruction_set(name) + ["-c", name, "-o", target], check=True)
        return target

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, names))
    program = os.path.join(folder, os.path.splitext(os.path.basename(source))[0])
    subprocess.run(command + objects + ["-o", program, "-pthread"], check=True)
    return program
