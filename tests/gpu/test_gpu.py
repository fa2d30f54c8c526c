"""Behaviour of the CUDA kernels that the emulation does not have."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.gpu.conftest import gpu_only
from tests.gpu.devices import ROOT
from tests.gpu.test_kernels import all_types, arrays, assert_right, both_layouts

pytestmark = gpu_only

SHAPES = [(32, 64, 56, 56), (64, 96, 28, 28), (64, 200, 7, 7), (3, 17, 131, 90)]


@all_types
@both_layouts
@pytest.mark.parametrize("stride, pad", [((1, 1), (0, 0)), ((2, 2), (1, 1))])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_of_sizes_that_fill_a_gpu(on_gpu, shape, stride, pad, data_format, dtype):
    inputs = arrays(0, shape, dtype, stride=stride, pad=pad)
    got = on_gpu(*inputs, stride=stride, pad=pad, data_format=data_format)
    assert_right(got, *inputs, stride=stride, pad=pad)


@all_types
@both_layouts
@pytest.mark.parametrize("stride, pad", [((1, 1), (0, 0)), ((2, 2), (1, 1))])
def test_a_hundred_runs_give_the_same_bits(on_gpu, stride, pad, data_format, dtype):
    inputs = arrays(1, (16, 48, 28, 28), dtype, stride=stride, pad=pad)
    seen = set()
    for _ in range(100):
        got = on_gpu(*inputs, stride=stride, pad=pad, data_format=data_format)
        seen.add(b"".join(a.tobytes() for a in got))
    assert len(seen) == 1


@all_types
@both_layouts
@pytest.mark.parametrize("stride, pad", [((1, 1), (0, 0)), ((2, 1), (1, 2))])
@pytest.mark.parametrize("shape", [(9, 5, 7, 7), (2, 40, 30, 24)], ids=str)
def test_the_gpu_gives_the_bits_of_the_emulation(
    on_gpu, emulated, shape, stride, pad, data_format, dtype
):
    inputs = arrays(2, shape, dtype, stride=stride, pad=pad)
    for enough in (4096, 2):
        a, b = [
            k(*inputs, stride=stride, pad=pad, data_format=data_format, enough_blocks=enough)
            for k in (on_gpu, emulated)
        ]
        for name, of_a, of_b in zip(("y", "gx", "gs"), a, b):
            np.testing.assert_array_equal(of_a, of_b, name)


@pytest.mark.parametrize("tool", ["memcheck", "initcheck", "racecheck", "synccheck"])
def test_compute_sanitizer_finds_nothing(tool):
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("NOT CHECKED: no compute-sanitizer in PATH")
    # Without cache and canaries every array is an allocation of its own, whose ends the tool knows.
    environment = dict(os.environ, PYTORCH_NO_CUDA_MEMORY_CACHING="1", SSPQ_TEST_GPU="bare")
    command = [sanitizer, "--tool", tool, "--error-exitcode", "77", sys.executable, "-m", "pytest"]
    command += ["--confcutdir=tests/gpu", "-p", "no:cacheprovider", "-q", "-k", "cuda"]
    command += ["tests/gpu/test_kernels.py::test_many_random_cases"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout.decode()[-4000:]
