"""The depthwise convolution gives what the shift does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sspq.export.shift_kernel import shift_kernel
from tests.ops import shift2d_reference as reference


def depthwise(x, kernel, strides):
    """Plain convolution of ``[N, C, H, W]``."""
    top, left, bottom, right = kernel.pads
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    height, width = kernel.weights.shape[1:]
    rows = range(0, x.shape[2] - height + 1, strides[0])
    columns = range(0, x.shape[3] - width + 1, strides[1])
    y = np.zeros(x.shape[:2] + (len(rows), len(columns)))
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            y[:, :, i, j] = (x[:, :, r : r + height, c : c + width] * kernel.weights).sum((2, 3))
    return y


SHIFTS = st.one_of(
    st.floats(-2, 2, width=32),
    st.floats(-25, 25, width=32),
    st.integers(-12, 12).map(float),
    st.sampled_from([1e30, -1e30, 1e9 + 0.5, -1e-10, 40.5, -40.0]),
)


@given(st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_shift_stride_and_padding_give_the_values_of_the_definition(data):
    size = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    stride = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pad = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    shift = data.draw(st.lists(SHIFTS, min_size=6, max_size=6))
    shift = np.array(shift, np.float32).reshape(2, 3)
    x = np.random.RandomState(0).randn(2, 3, *size)
    expected = reference.forward(x, shift, stride=stride, pad=pad)
    got = depthwise(x, shift_kernel(shift, size, stride, pad), stride)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_window_is_as_large_as_the_shifts_need():
    shift = np.array([[0.0, 1.5], [-2.0, 0.25]])
    kernel = shift_kernel(shift, (9, 9))
    assert kernel.weights.shape == (2, 4, 3)  # rows -2 to 1, columns 0 to 2
    far = shift_kernel(np.array([[1e30, 0.0], [0.0, -1e30]]), (9, 9))
    assert far.weights.shape == (2, 1, 1) and (far.weights == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_shift_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        shift_kernel(np.array([[value], [0.0]]), (4, 4))
