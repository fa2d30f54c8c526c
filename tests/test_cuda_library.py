"""The library with CUDA kernels: compiled for tensorflow-gpu, loaded on a machine without a GPU.

Needs nvcc, and once a download of 411 MB into ``.venv-gpu``, which borrows everything else from the
environment of the tests. Without nvcc nothing of this is checked; with CI=true that is a failure.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import textwrap

import pytest

from custom_ops import nvcc

pytestmark = pytest.mark.slow

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
FOLDER = os.path.join(ROOT, ".venv-gpu")
REQUIREMENTS = os.path.join(ROOT, "requirements", "tensorflow-gpu.txt")
KERNELS = ["CPU float32", "CPU float64", "GPU float16", "GPU float32", "GPU float64"]


def run(command, **kwargs):
    done = subprocess.run(command, capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, f"{command}\n{(done.stdout + done.stderr)[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def toolkit():
    found = nvcc.find_nvcc()
    if found is None:
        message = "NOT CHECKED: the CUDA kernels were not compiled, for lack of nvcc"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return nvcc.toolkit(found)


@pytest.fixture(scope="module")
def gpu_python():
    """An interpreter whose TensorFlow is tensorflow-gpu."""
    python, stamp = os.path.join(FOLDER, "bin", "python"), os.path.join(FOLDER, "sspq-stamp")
    with open(REQUIREMENTS) as f:
        wanted = f"{sys.executable} {f.read()}"
    if os.path.exists(stamp):
        with open(stamp) as f:
            if f.read() == wanted:
                return python
    run([sys.executable, "-m", "venv", "--clear", "--without-pip", FOLDER])
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = run([python, "-c", ask]).strip()
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile"]
    run(pip + ["--no-deps", "--target", packages, "-r", REQUIREMENTS])
    with open(os.path.join(packages, "others.pth"), "w") as f:  # comes after this TensorFlow
        f.write(sysconfig.get_path("purelib"))
    with open(stamp, "w") as f:
        f.write(wanted)
    return python


@pytest.fixture(scope="module")
def package(toolkit, gpu_python):
    """The folder with the package, built as ``setup.py`` does it without being told about CUDA."""
    target = os.path.join(ROOT, "build", "cuda", "lib")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SSPQ_")}
    environment["SSPQ_CUDA_ARCHS"] = f"{toolkit.architectures[0]}+PTX"  # one, to save time
    # What needs no TensorFlow was compiled for the other one: the same folder of objects.
    command = [gpu_python, "setup.py", "-q", "build", "--build-lib", target]
    run(command, cwd=ROOT, env=environment)
    return target


@pytest.fixture(scope="module")
def state(package, gpu_python):
    return json.loads(run([gpu_python, "-m", "sspq", "env", "--json"], cwd=package))


def test_cpu_and_gpu_kernels_are_registered_for_every_type(state):
    assert state["built_with_cuda"] and "library_error" not in state
    shifts = {n: kernels for n, kernels in state["kernels"].items() if "Shift2D" in n}
    assert shifts == {"SspqShift2D": KERNELS, "SspqShift2DGrad": KERNELS}


def test_the_record_tells_with_what_the_kernels_were_compiled(state, toolkit):
    assert state["build"]["cuda"] is True
    assert state["build"]["nvcc"] == toolkit.version
    assert state["build"]["cuda_archs"] == [f"{toolkit.architectures[0]}+PTX"]


def test_the_cuda_runtime_is_inside_the_library_and_hidden(state):
    symbols = run(["nm", "--dynamic", state["library"]])
    assert re.search(r" [TW] .*Shift2DGpuForward", symbols)
    assert not re.search(r"\b(cuda|__cuda|cu)[A-Z]\w*", symbols)


def test_cpu_kernels_of_that_library_compute_without_a_gpu(package, gpu_python):
    program = """
        import numpy as np, sspq
        from sspq.compat import tf
        x = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
        with tf.Session() as sess:
            y, = sess.run([sspq.shift2d(x, np.array([[1.0], [0.5]], np.float32))])
        np.testing.assert_array_equal(y[0, 0, 0], [3, 4, 5, 0])
    """
    run(
        [gpu_python, "-c", textwrap.dedent(program)],
        cwd=package,
        env=dict(os.environ, CUDA_VISIBLE_DEVICES=""),
    )
