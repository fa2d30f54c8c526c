"""The versions of the CPU kernels: same bits, chosen by SSPQ_CPU, safe on machines without AVX."""

import functools
import os
import platform
import subprocess

import numpy as np
import pytest

import setup
from custom_ops.program import build_program
from sspq import oplib
from sspq.compat import tf
from sspq.ops import shift2d

VERSIONS = ("baseline", "avx2", "avx512")
DRIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shift2d_driver.cc")


@pytest.fixture(scope="module")
def build_driver(tmp_path_factory):
    """A function from a sanitizer's name to the driver compiled with it, once each."""

    @functools.lru_cache(maxsize=None)
    def build(sanitizer):
        # -O1: the sanitizers' own advice, and a fraction of the time. Checks of addresses by calls,
        # not in place, take GCC a third of the time, too; functions that need not be inlined, two
        # thirds.
        flags = setup.COMPILE_FLAGS + ["-O1", "-g1", "-fsanitize=" + sanitizer]
        flags += ["-DSSPQ_INLINE=inline"]
        flags += ["--param", "asan-instrumentation-with-call-threshold=0"]
        folder = str(tmp_path_factory.mktemp(sanitizer))
        return build_program(DRIVER, folder, flags, flags_of)

    return build


def flags_of(source):
    """No checks in code that this machine cannot run: they take the compiler most of its time."""
    version = os.path.splitext(os.path.basename(source))[0][len("loops_") :]
    runs = version not in VERSIONS or version in oplib.cpu_versions()
    return setup.instruction_set(source) + ([] if runs else ["-fno-sanitize=all"])


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_sanitizers_find_nothing_and_all_versions_agree(build_driver, sanitizer):
    program = build_driver(sanitizer)
    done = subprocess.run(
        [program, "30"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]
    expected = "30 cases, 0 bad, 0 paths missed, versions: " + " ".join(oplib.cpu_versions())
    assert expected in done.stdout


@pytest.mark.slow
def test_code_for_one_instruction_set_shares_no_function_with_the_rest(build_driver):
    # The linker keeps one copy of an inline function; it must not be one compiled for AVX-512. In
    # the driver more functions are left that are not inlined than in the library.
    folder = os.path.dirname(build_driver("address"))
    for version in VERSIONS:
        target = os.path.join(folder, f"loops_{version}.cc.o")
        listing = subprocess.run(
            ["nm", "-C", "--defined-only", target], stdout=subprocess.PIPE, check=True
        ).stdout.decode()
        names = [line.split(None, 2)[1:] for line in listing.splitlines()]
        functions = [name for kind, name in names if kind in "TWi"]
        assert functions
        assert [name for name in functions if version + "::" not in name] == []


def both_gradients(x, shift, data_format):
    y = shift2d(tf.constant(x), tf.constant(shift), data_format=data_format)
    inputs = y.op.inputs[0], y.op.inputs[1]
    with tf.Session() as sess:
        return sess.run([y] + tf.gradients(y, list(inputs), tf.sin(y)))


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", [21, 32])
@pytest.mark.parametrize("reach", [0.9, 3, 20])
def test_every_version_gives_the_same_bits(monkeypatch, data_format, channels, reach):
    rng = np.random.RandomState(0)
    size = (channels, 14, 21) if data_format == "NCHW" else (14, 21, channels)
    x = rng.randn(3, *size).astype(np.float32)
    shift = rng.uniform(-reach, reach, (2, channels)).astype(np.float32)
    results = []
    for version in oplib.cpu_versions():
        monkeypatch.setenv("SSPQ_CPU", version)
        results.append(both_gradients(x, shift, data_format))
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


def test_a_version_that_is_not_there_is_named_with_those_that_are(monkeypatch):
    names = oplib.cpu_versions()  # the library checks the name as well when it is loaded
    monkeypatch.setenv("SSPQ_CPU", "avx1024")
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        both_gradients(np.zeros((1, 2, 3, 4), np.float32), np.zeros((2, 2), np.float32), "NCHW")
    assert "SSPQ_CPU=avx1024" in str(error.value)
    assert all(name in str(error.value) for name in names)


def test_the_widest_version_is_the_default(monkeypatch):
    monkeypatch.delenv("SSPQ_CPU", raising=False)
    with open("/proc/cpuinfo") as f:
        flags = set(f.read().split())
    names = oplib.cpu_versions()
    assert names[-2:] == ["baseline", "reference"]
    if platform.machine() == "x86_64":
        assert ("avx2" in names) == ("avx2" in flags)
        needed = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
        assert (names[0] == "avx512") == (needed <= flags)


def test_flags_for_x86_are_used_there_only(monkeypatch):
    source = "custom_ops/shift2d/cpu/loops_avx2.cc"
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert setup.instruction_set(source) == ["-mavx2", "-mfma"]
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert setup.instruction_set(source) == []
