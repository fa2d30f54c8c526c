"""The devices that the kernels run on."""

import os

import pytest

from tests.gpu import devices

GPU = os.environ.get("SSPQ_TEST_GPU") in ("1", "bare")
gpu_only = pytest.mark.skipif(not GPU, reason="needs a GPU: SSPQ_TEST_GPU=1, see tests/gpu")


@pytest.fixture(scope="session")
def emulation():
    return devices.Emulation(devices.compile_emulation())


@pytest.fixture(scope="session")
def cuda(tmp_path_factory):
    return devices.Cuda(tmp_path_factory.mktemp("cuda"), os.environ["SSPQ_TEST_GPU"] == "bare")


@pytest.fixture(scope="session", params=["emulation", "cuda"] if GPU else ["emulation"])
def kernels(request):
    """The kernels on the host and, where it is asked for, on the GPU."""
    return devices.Kernels(request.getfixturevalue(request.param))


@pytest.fixture
def emulated(emulation):
    """The kernels on the host alone."""
    return devices.Kernels(emulation)


@pytest.fixture(scope="session")
def on_gpu(cuda):
    """The kernels on the GPU alone."""
    return devices.Kernels(cuda)
