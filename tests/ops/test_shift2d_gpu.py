"""The CUDA kernels, emulated on the host, against the op's CPU kernels."""

import itertools

import numpy as np
import pytest

from tests.gpu import devices
from tests.ops import shift2d_reference as reference


@pytest.fixture(scope="session")
def emulated():
    return devices.Kernels(devices.Emulation(devices.compile_emulation()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_cuda_and_cpu_kernels_give_the_same_bits(run_shift2d, emulated, data_format, dtype):
    rng = np.random.RandomState(0)
    shapes = [(4, 19, 7, 7), (2, 5, 18, 16), (2, 16, 9, 7)]
    wheres = [((1, 1), (0, 0)), ((1, 1), (1, 2)), ((2, 2), (1, 1)), ((3, 2), (0, 1))]
    for shape, reach, (stride, pad) in itertools.product(shapes, (0.9, 3), wheres):
        x = rng.randn(*shape).astype(dtype)
        shift = rng.uniform(-reach, reach, (2, shape[1])).astype(dtype)
        shift[:, 1] = np.round(shift[:, 1])
        gy = rng.randn(*reference.output_shape(shape, stride, pad)).astype(dtype)
        where = dict(stride=stride, pad=pad, data_format=data_format)
        cpu, gpu = run_shift2d(x, shift, gy, **where), emulated(x, shift, gy, **where)
        case = str((shape, reach, stride, pad))
        for name, a, b in zip(("y", "gx"), cpu, gpu):
            # A zero may have either sign.
            np.testing.assert_array_equal(a, b, name + " of " + case)
        # The sums are added up in another order.
        atol = 1e-6 * np.abs(cpu[2]).max()
        np.testing.assert_allclose(cpu[2], gpu[2], rtol=0, atol=atol, err_msg=case)
