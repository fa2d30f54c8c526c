"""The compiled and the numpy implementation: same bits, choice, sanitizers, no TensorFlow."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import setup
from custom_ops.program import build_program
from sspq.slq import BackendError, backend, backend_name, cluster, initial_centres, native, plain

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DRIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "slq_driver.cc")


def bits_of(clusters):
    return [a.tobytes() for a in (clusters.centres, clusters.index, clusters.sizes, clusters.loss)]


def test_both_implementations_and_any_number_of_threads_give_the_same_bits(many, monkeypatch):
    centres = initial_centres(many, 5)
    skip = np.random.RandomState(0).rand(len(many)) < 0.3
    for mask in (None, skip):
        monkeypatch.setenv("SSPQ_SLQ", "numpy")
        expected = bits_of(cluster(many, centres, fixed=[0], skip=mask))
        monkeypatch.setenv("SSPQ_SLQ", "native")
        for threads in (1, 2, 7):
            found = cluster(many, centres, fixed=[0], skip=mask, threads=threads)
            assert bits_of(found) == expected


# -O1: the sanitizers' own advice, and a fraction of the time.
@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_sanitizers_find_nothing(tmp_path, sanitizer):
    flags = setup.COMPILE_FLAGS + ["-O1", "-g1", "-fsanitize=" + sanitizer]
    flags += ["-fno-sanitize-recover=all"]
    (source,) = setup.find(setup.SLQ, ".cc")
    program = build_program(DRIVER, str(tmp_path), flags, setup.instruction_set, sources=[source])
    done = subprocess.run(
        [program, "8"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "8 cases, 0 bad" in done.stdout


def test_constants_are_those_of_the_header():
    with open(os.path.join(ROOT, "custom_ops", "slq", "slq.h")) as f:
        header = f.read()
    assert f"kSspqSlqInterface = {native.INTERFACE}," in header
    assert f"kSspqSlqPart = 1 << {(plain.PART.bit_length() - 1)}," in header
    assert f"kSspqSlqMixed = 0x{plain.MIXED:x}," in header


def test_the_compiled_one_is_the_default(monkeypatch):
    monkeypatch.delenv("SSPQ_SLQ", raising=False)
    assert backend_name() == "native"


def test_a_name_that_there_is_not_is_refused(monkeypatch):
    monkeypatch.setenv("SSPQ_SLQ", "cuda")
    with pytest.raises(BackendError, match="SSPQ_SLQ=cuda: must be one of native, numpy"):
        cluster(np.ones(3, np.float32), [0])


@pytest.fixture
def no_library(tmp_path, monkeypatch):
    path = str(tmp_path / "libsspq_slq.so")
    monkeypatch.setattr(native, "LIB_PATH", path)
    monkeypatch.delenv("SSPQ_SLQ", raising=False)
    native.load.cache_clear()
    backend._warn.cache_clear()
    yield path
    native.load.cache_clear()
    backend._warn.cache_clear()


def test_without_the_library_numpy_computes_and_says_so_once(no_library):
    with pytest.warns(RuntimeWarning, match="(?s)in numpy.*build_ext --inplace") as warnings:
        for _ in range(3):
            assert backend_name() == "numpy"
            assert cluster(np.ones(3, np.float32), [0]).centres == [1]
    assert len(warnings) == 1 and no_library in str(warnings[0].message)


def test_the_compiled_one_can_be_insisted_on(no_library, monkeypatch):
    monkeypatch.setenv("SSPQ_SLQ", "native")
    with pytest.raises(
        BackendError, match="(?s)SSPQ_SLQ=native, but .*build_ext --inplace"
    ) as error:
        backend_name()
    assert no_library in str(error.value)


def test_a_library_of_other_sources_is_not_used(no_library, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(native, "INTERFACE", 99)
    native.load.cache_clear()
    monkeypatch.setenv("SSPQ_SLQ", "native")
    with pytest.raises(BackendError, match="has interface 1, expected 99"):
        backend_name()


def test_it_runs_where_there_is_no_tensorflow():
    # `import sspq` brings the layer and the graphs in; a folder on the path brings SLQ alone.
    program = """
        import sys, types
        sys.modules["tensorflow"] = sys.modules["tensorpack"] = None
        package = types.ModuleType("sspq")
        package.__path__ = ["sspq"]
        sys.modules["sspq"] = package
        import numpy as np
        from sspq.slq import SLQ, next_stage, start
        w = np.linspace(-1, 1, 1000, dtype=np.float32)
        print(next_stage(w, start(w, SLQ[5]), SLQ[5]).frozen_centres.sum())
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "5"
