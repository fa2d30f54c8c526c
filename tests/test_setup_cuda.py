"""Whether, with what and for which GPUs ``setup.py`` compiles CUDA kernels."""

import os
import stat

import pytest

import setup
from custom_ops import nvcc

KNOWN = [50, 60, 70, 75, 80]
GPU_BUILD = {"tensorflow": "1.15.5", "cuda": True}
CPU_BUILD = {"tensorflow": "1.15.5", "cuda": False}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in ("SSPQ_WITH_CUDA", "SSPQ_CUDA_ARCHS", "CUDA_HOME", "CUDA_PATH", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))


def fake_nvcc(folder, architectures="sm_35,sm_70", lib=True):
    """A CUDA folder whose nvcc answers as an old one does."""
    (folder / "bin").mkdir(parents=True)
    path = folder / "bin" / "nvcc"
    path.write_text(
        "#!/bin/sh\ncase $1 in\n--version) echo 'Cuda compilation tools, release 10.0, "
        f"V10.0.130';;\n--dryrun) echo '#$ TOP={folder}/bin/..';;\n--help) echo "
        f"\"'compute_35','{architectures}'\";;\nesac\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    if lib:
        (folder / "lib64").mkdir()
        (folder / "lib64" / "libcudart_static.a").write_text("")
    return str(path)


def error(call, *args):
    with pytest.raises((setup.BuildError, nvcc.CudaError)) as raised:
        call(*args)
    return str(raised.value)


@pytest.mark.parametrize("name", ["CUDA_HOME", "CUDA_PATH"])
def test_a_gpu_build_and_nvcc_give_cuda_kernels(tmp_path, monkeypatch, name):
    path = fake_nvcc(tmp_path / "cuda")
    monkeypatch.setenv(name, str(tmp_path / "cuda"))
    root = str(tmp_path / "cuda")
    assert setup.choose_cuda(GPU_BUILD) == nvcc.Toolkit(
        path, "10.0", root + "/include", root + "/lib64", [35, 70]
    )


def test_nvcc_is_found_in_path(tmp_path, monkeypatch):
    path = fake_nvcc(tmp_path / "cuda")
    monkeypatch.setenv("PATH", os.path.dirname(path))
    assert nvcc.find_nvcc() == path


def test_a_cpu_build_gets_no_cuda_kernels(tmp_path, monkeypatch):
    fake_nvcc(tmp_path / "cuda")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    assert setup.choose_cuda(CPU_BUILD) is None


def test_without_nvcc_a_gpu_build_gets_cpu_kernels_and_is_told(capsys):
    assert setup.choose_cuda(GPU_BUILD) is None
    assert "no nvcc in CUDA_HOME, CUDA_PATH or PATH" in capsys.readouterr().err


def test_cuda_can_be_left_out(tmp_path, monkeypatch):
    fake_nvcc(tmp_path / "cuda")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    monkeypatch.setenv("SSPQ_WITH_CUDA", "0")
    assert setup.choose_cuda(GPU_BUILD) is None


@pytest.mark.parametrize(
    "wish, tensorflow, part",
    [
        ("1", CPU_BUILD, "TensorFlow 1.15.5 is a CPU build"),
        ("1", GPU_BUILD, "no nvcc in CUDA_HOME, CUDA_PATH or PATH"),
        ("yes", GPU_BUILD, "must be 0 or 1, got 'yes'"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(monkeypatch, wish, tensorflow, part):
    monkeypatch.setenv("SSPQ_WITH_CUDA", wish)
    message = error(setup.choose_cuda, tensorflow)
    assert "SSPQ_WITH_CUDA" in message and part in message


def test_a_cuda_folder_without_nvcc_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    message = error(nvcc.find_nvcc)
    assert f"CUDA_HOME={tmp_path}" in message and "bin/nvcc" in message


def test_a_cuda_folder_without_the_static_runtime_is_named(tmp_path):
    path = fake_nvcc(tmp_path / "cuda", lib=False)
    assert "libcudart_static.a" in error(nvcc.toolkit, path)


def test_something_else_than_nvcc_is_named(tmp_path):
    path = fake_nvcc(tmp_path / "cuda", architectures="nothing")
    assert f"{path} does not answer like nvcc" in error(nvcc.toolkit, path)


def test_the_usual_gpus_that_nvcc_knows_are_the_default():
    assert nvcc.architectures(KNOWN + [87]) == ["50", "60", "70", "75", "80+PTX"]


@pytest.mark.parametrize("wish", ["75;80+PTX", "7.5;8.0+PTX", " 75 ; 80+PTX "])
def test_gpus_are_chosen_by_compute_capability(wish):
    chosen = nvcc.architectures(KNOWN, wish)
    assert chosen == ["75", "80+PTX"]
    assert nvcc.code_flags(chosen)[1::2] == [
        "arch=compute_75,code=sm_75",
        "arch=compute_80,code=sm_80",
        "arch=compute_80,code=compute_80",
    ]


@pytest.mark.parametrize("wish", ["75,80", "sm_75", "7", "75;", "PTX"])
def test_a_list_of_gpus_in_another_form_is_refused(wish):
    message = error(nvcc.architectures, KNOWN, wish)
    assert "SSPQ_CUDA_ARCHS" in message and "70;75;80+PTX" in message and repr(wish) in message


def test_a_gpu_that_nvcc_does_not_know_is_refused():
    message = error(nvcc.architectures, KNOWN, "35;75")
    assert "SSPQ_CUDA_ARCHS=35;75" in message and "50, 60, 70, 75, 80" in message


@pytest.mark.parametrize("cxx", ["g++-7", "ccache g++-7", "g++-7 -m64"])
def test_nvcc_uses_the_chosen_compiler(monkeypatch, cxx):
    monkeypatch.setenv("CXX", cxx)
    assert setup.host_compiler_flags() == ["-ccbin", "g++-7"]


def test_files_of_the_cuda_kernels_are_left_out_without_cuda():
    added = set(setup.sources(cuda=True)) - set(setup.sources(cuda=False))
    assert {os.path.basename(name) for name in added} == {"shift2d_gpu.cu", "kernel_gpu.cc"}
