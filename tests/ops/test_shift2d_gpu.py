"""The CUDA kernels, emulated on the host, against the op's CPU kernels."""

import numpy as np
import pytest

from tests.gpu import devices
from tests.ops import shift2d_reference as reference


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("emulation")
    return devices.Kernels(devices.Emulation(devices.compile_emulation(folder)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("reach", [0.9, 3])
@pytest.mark.parametrize("stride, pad", [((1, 1), (0, 0)), ((1, 1), (1, 2)), ((2, 2), (1, 1))])
@pytest.mark.parametrize("shape", [(4, 19, 7, 7), (2, 5, 18, 16)], ids=str)
def test_cuda_and_cpu_kernels_give_the_same_bits(
    run_shift2d, emulated, *, shape, stride, pad, reach, data_format, dtype
):
    rng = np.random.RandomState(0)
    x = rng.randn(*shape).astype(dtype)
    shift = rng.uniform(-reach, reach, (2, shape[1])).astype(dtype)
    shift[:, 1] = np.round(shift[:, 1])
    gy = rng.randn(*reference.output_shape(shape, stride, pad)).astype(dtype)
    where = dict(stride=stride, pad=pad, data_format=data_format)
    cpu, gpu = run_shift2d(x, shift, gy, **where), emulated(x, shift, gy, **where)
    for name, a, b in zip(("y", "gx"), cpu, gpu):
        # A zero may have either sign.
        np.testing.assert_array_equal(a, b, name)
    # The sums are added up in another order.
    np.testing.assert_allclose(cpu[2], gpu[2], rtol=0, atol=1e-6 * np.abs(cpu[2]).max())
