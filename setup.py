"""Builds the op library with the flags of the TensorFlow that is installed, and packages sspq.

A second library, for sspq.slq, needs no TensorFlow and is built first.

    python setup.py build_ext --inplace     compile into this folder
    pip install .                           compile and install

Environment:
    CXX              the C++ compiler, g++ by default
    SSPQ_WITH_CUDA   1 or 0: compile the CUDA kernels or not; by default where there is nvcc, in
                     CUDA_HOME, CUDA_PATH or PATH, and TensorFlow is a GPU build
    SSPQ_CUDA_ARCHS  the GPUs to compile for, as "70;75;80+PTX": compute capabilities, where +PTX
                     adds code for newer ones; by default the usual ones that nvcc knows
"""

import concurrent.futures
import glob
import hashlib
import json
import os
import platform
import subprocess
import sys
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, ROOT)  # pip does not

from custom_ops import nvcc  # noqa: E402

# Folders of custom_ops that make up each library.
OPS = ("cpu", "batch_norm", "conv", "dorefa", "pool", "shift2d")
SLQ = ("slq",)

# What comes out, in sspq/lib: the libraries, and beside each a record of what it is made of.
OP_LIBRARY = ("libsspq.so", "build.json")
SLQ_LIBRARY = ("libsspq_slq.so", "build_slq.json")

COMPILE_FLAGS = [
    "-std=c++11",
    "-O3",
    "-fPIC",
    "-Wall",
    # Fused multiply-adds would make the bits depend on the machine.
    "-ffp-contract=off",
    # Nothing here reads errno or floating-point traps; both keep loops from being vectorised.
    "-fno-math-errno",
    "-fno-trapping-math",
]

# Sources for one instruction set, by the ending of their names. The library picks among them at run
# time, so that one build serves every x86-64 machine.
INSTRUCTION_SETS = {
    "_avx2.cc": ["-mavx2", "-mfma"],
    "_avx512.cc": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"],
}

# TensorFlow brings a CUDA runtime of its own, of the version that it was built for, and exports
# functions under some of the runtime's names. Ours is of the version of the nvcc at hand, linked in
# statically and hidden, so that neither takes the other's calls. They get along: memory, streams
# and the current context belong to the driver, which both talk to.
CUDA_LINK_FLAGS = [
    "-lcudart_static",
    "-lrt",
    "-lpthread",
    "-ldl",
    "-Wl,--exclude-libs,libcudart_static.a",
]

# Run by a fresh interpreter: pip hides the installed packages from a build, and the library must
# fit the TensorFlow that will load it, not one fetched for the build.
ASK_TENSORFLOW = """
import json, warnings
warnings.simplefilter("ignore")
import tensorflow as tf
print(json.dumps({
    "tensorflow": tf.__version__,
    "compile_flags": tf.sysconfig.get_compile_flags(),
    "link_flags": tf.sysconfig.get_link_flags(),
    "cuda": tf.test.is_built_with_cuda(),
}))
"""


class BuildError(Exception):
    """Something that the user must mend before the library can be built."""


def read(name: str) -> str:
    with open(os.path.join(ROOT, name)) as f:
        return f.read()


def requirements(name: str) -> List[str]:
    lines = [line.split("#")[0].strip() for line in read(f"requirements/{name}.txt").splitlines()]
    return [line for line in lines if line]


def version() -> str:
    scope: Dict[str, Any] = {}
    exec(read("sspq/version.py"), scope)
    return scope["__version__"]


def ask_tensorflow() -> Dict[str, Any]:
    """Version and flags of the installed TensorFlow."""
    hidden = ("PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONHOME")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    done = subprocess.run(
        [sys.executable, "-c", ASK_TENSORFLOW],
        env=environment,
        cwd=os.path.dirname(sys.executable),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise BuildError(
            f"TensorFlow does not import in {sys.executable}, and sspq's op library is "
            "compiled for the TensorFlow that is installed. Install it first:\n    pip "
            "install -r requirements/base.txt -r requirements/tensorflow.txt   (or "
            f"tensorflow-gpu.txt)\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def compiler() -> str:
    """The C++ compiler and its version."""
    name = os.environ.get("CXX", "g++")
    try:
        done = subprocess.run(name.split() + ["--version"], stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise BuildError(
            f"no C++ compiler {name!r}: install g++ (Debian, Ubuntu: apt-get install g++) or "
            "set CXX"
        ) from None
    return done.stdout.splitlines()[0] if done.stdout else name


def instruction_set(source: str) -> List[str]:
    """The flags that `source` needs beside COMPILE_FLAGS."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return []
    return [f for end, flags in INSTRUCTION_SETS.items() if source.endswith(end) for f in flags]


def host_compiler_flags() -> List[str]:
    """For nvcc: the compiler of CXX without its options."""
    words = os.environ.get("CXX", "").split()
    names = [w for w in words if not w.startswith("-") and os.path.basename(w) != "ccache"]
    return ["-ccbin", names[0]] if names else []


def find(folders: Sequence[str], ending: str) -> List[str]:
    """Files of custom_ops by the ending of their names."""
    patterns = [os.path.join(ROOT, "custom_ops", f, "**", "*" + ending) for f in folders]
    paths = [path for pattern in patterns for path in glob.glob(pattern, recursive=True)]
    return sorted(os.path.relpath(path, ROOT) for path in paths)


def sources(cuda: bool) -> List[str]:
    """What the op library is compiled from; names in _gpu.cc belong to the CUDA kernels."""
    cpu = [name for name in find(OPS, ".cc") if cuda or not name.endswith("_gpu.cc")]
    return cpu + (find(OPS, ".cu") if cuda else [])


def choose_cuda(tensorflow: Dict[str, Any]) -> Optional[nvcc.Toolkit]:
    """The CUDA to compile with, or None for a library without CUDA kernels."""
    wish = os.environ.get("SSPQ_WITH_CUDA", "")
    if wish not in ("", "0", "1"):
        raise BuildError(f"SSPQ_WITH_CUDA must be 0 or 1, got {wish!r}")
    if wish == "0" or not (wish or tensorflow["cuda"]):
        return None
    if not tensorflow["cuda"]:
        raise BuildError(
            f"SSPQ_WITH_CUDA=1, but the installed TensorFlow {tensorflow['tensorflow']} is a "
            "CPU build, which runs no CUDA kernels. Install tensorflow-gpu instead"
        )
    compiler = nvcc.find_nvcc()
    if compiler:
        return nvcc.toolkit(compiler)
    missing = "no nvcc in CUDA_HOME, CUDA_PATH or PATH"
    if wish:
        raise BuildError("SSPQ_WITH_CUDA=1, but there is " + missing)
    print(f"sspq: {missing}, so the op gets CPU kernels only", file=sys.stderr)
    return None


def digest(names: List[str], flags: List[str]) -> str:
    """Of everything that the library is made of."""
    total = hashlib.sha256(" ".join(flags).encode())
    for name in names:
        total.update(name.encode() + read(name).encode())
    return total.hexdigest()


class BuildOps(build_ext):
    """Compiles the op library, in place or into the build folder, and records what it fits."""

    def run(self) -> None:
        self.build_slq()
        self.build_op()

    def build_slq(self) -> None:
        names, flags = find(SLQ, ".cc"), COMPILE_FLAGS + ["-I" + ROOT]
        info = {"compiler": compiler(), "sources": digest(names + find(SLQ, ".h"), flags)}
        self.update(
            SLQ_LIBRARY,
            info,
            lambda path: self.compile_library(path, names, flags, [], ["-pthread"]),
        )

    def build_op(self) -> None:
        facts = ask_tensorflow()
        cuda = choose_cuda(facts)
        flags = COMPILE_FLAGS + ["-I" + ROOT] + facts["compile_flags"]
        link_flags = facts["link_flags"]
        info = {"tensorflow": facts["tensorflow"], "compiler": compiler(), "cuda": bool(cuda)}
        nvcc_command: List[str] = []
        if cuda:
            wish = os.environ.get("SSPQ_CUDA_ARCHS", "")
            info["nvcc"] = cuda.version
            info["cuda_archs"] = nvcc.architectures(cuda.architectures, wish)
            nvcc_command = [cuda.nvcc] + nvcc.FLAGS + nvcc.code_flags(info["cuda_archs"])
            nvcc_command += ["-I" + ROOT] + host_compiler_flags()
            flags += ["-isystem" + cuda.include]
            link_flags = ["-L" + cuda.lib] + CUDA_LINK_FLAGS + link_flags
        names = sources(bool(cuda))
        all_flags = flags + nvcc_command + link_flags
        all_flags += [f for name in names for f in instruction_set(name)]
        info["sources"] = digest(names + find(OPS, ".h"), all_flags)
        self.update(
            OP_LIBRARY,
            info,
            lambda path: self.compile_library(path, names, flags, nvcc_command, link_flags),
        )

    def update(
        self, names: Tuple[str, str], info: Dict[str, Any], build: Callable[[str], object]
    ) -> None:
        """Has a library built where it belongs, unless :meth:`make` finds it there."""
        here = self.inplace or getattr(self, "editable_mode", False)
        folder = os.path.join(ROOT if here else os.path.abspath(self.build_lib), "sspq", "lib")
        library, record = [os.path.join(folder, name) for name in names]
        self.make(library, record, info, build)

    def make(
        self, target: str, record: str, info: Dict[str, Any], build: Callable[[str], object]
    ) -> None:
        """Has a file built, unless it is there and its record says that it was made of the same."""
        if os.path.isfile(target) and os.path.isfile(record) and not self.force:
            with open(record) as f:
                if json.load(f) == info:
                    return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        # The record goes first and comes last: a file without it counts as not built.
        if os.path.exists(record):
            os.remove(record)
        build(target)
        with open(record + ".tmp", "w") as f:
            json.dump(info, f, indent=2)
        os.replace(record + ".tmp", record)

    def compile_library(
        self,
        library: str,
        names: List[str],
        flags: List[str],
        nvcc_command: List[str],
        link_flags: List[str],
    ) -> None:
        cxx, version = os.environ.get("CXX", "g++").split(), compiler()

        def compile_one(source: str) -> str:
            target = os.path.join(os.path.abspath(self.build_temp), source + ".o")
            path = os.path.join(ROOT, source)
            if source.endswith(".cu"):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                self.run_tool(nvcc_command + ["-c", path, "-o", target])
                return target
            command = cxx + flags + instruction_set(source)
            info = {"compiler": version, "source": self.preprocessed(command, path)}
            build = command + ["-c", path, "-o", target]
            self.make(target, target + ".json", info, lambda path: self.run_tool(build))
            return target

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_one, names))
        self.run_tool(cxx + ["-shared", "-o", library + ".tmp"] + objects + link_flags)
        os.replace(library + ".tmp", library)

    def preprocessed(self, command: List[str], path: str) -> str:
        """A digest of what is compiled, wherever the headers lie and whatever comments say.

        The vectorised loops, which take most of the time, know nothing of TensorFlow: builds for
        another one have them already.
        """
        options = [word for word in command if not word.startswith(("-I", "-isystem"))]
        text = self.run_tool(command + ["-E", "-P", path])
        return hashlib.sha256("\n".join(options + [text]).encode()).hexdigest()

    def run_tool(self, command: List[str]) -> str:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise BuildError(f"{' '.join(command)}\nfailed:\n{done.stdout}")
        return done.stdout

    def get_outputs(self) -> List[str]:
        names = OP_LIBRARY + SLQ_LIBRARY
        return [os.path.join(self.build_lib, "sspq", "lib", name) for name in names]

    def get_source_files(self) -> List[str]:
        return sources(cuda=True) + find(OPS, ".h") + find(SLQ, ".cc") + find(SLQ, ".h")


def main() -> None:
    setup(
        name="sspq",
        version=version(),
        description="Quantized networks whose spatial operation is a learned shift",
        long_description=read("README.md"),
        long_description_content_type="text/markdown",
        license="MIT",
        python_requires=">=3.7,<3.9",
        packages=find_packages(include=["sspq", "sspq.*"]),
        package_data={"sspq.analysis": ["published.csv"]},
        # TensorFlow is not among them: whether `tensorflow` or `tensorflow-gpu`, it must be there
        # before the library is compiled.
        install_requires=requirements("base"),
        ext_modules=[Extension("sspq.lib.libsspq", [])],
        cmdclass={"build_ext": BuildOps},
        zip_safe=False,
    )


if __name__ == "__main__":
    try:
        main()
    except (BuildError, nvcc.CudaError) as e:
        sys.exit(f"sspq: {e}")
