"""What holds for any valid input of shift2d."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ops import shift2d_reference as reference

LAYOUTS = ("NCHW", "NHWC")
FAR = (1e30, -1e30, 1e9 + 0.5, 40.5, -40.0)  # beyond every image here
LOST = (np.nan, np.inf, -np.inf)


def shifts(reach):
    """Shifts of up to that many pixels, integers among them; one in some twenty is anything."""
    near = st.one_of(
        st.floats(-reach, reach, width=32, allow_subnormal=False),
        st.floats(-reach, reach, width=32, allow_subnormal=False),
        st.integers(-int(reach), int(reach)).map(float),
    )
    return st.one_of(*[near] * 20, st.sampled_from(FAR + LOST))


# Within a pixel, as a barrel shifter takes them, and beyond: each has a path of its own.
REACHES = (1, 3, 25)
# Strides and paddings. Each makes a graph, which takes longer than many examples.
ATTRIBUTES = [
    ((1, 1), (0, 0)),
    ((1, 1), (0, 0)),
    ((1, 1), (1, 1)),
    ((1, 1), (3, 0)),
    ((2, 2), (0, 0)),
    ((2, 2), (1, 1)),
    ((3, 3), (0, 2)),
    ((4, 4), (1, 0)),
    ((1, 2), (0, 0)),
    ((2, 1), (1, 3)),
    ((3, 2), (2, 1)),
    ((4, 1), (3, 3)),
]

both_layouts = pytest.mark.parametrize("data_format", LAYOUTS)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def examples(count):
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        print_blob=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@st.composite
def cases(draw):
    """x, shift, gy and the attributes."""
    # Multiples of 16 channels are worked off in place where they come last, others in blocks.
    batch, channels = draw(st.integers(0, 4)), draw(st.sampled_from([1, 3, 5, 16, 19, 32]))
    size = draw(st.tuples(st.integers(0, 20), st.integers(0, 20)))
    stride, pad = draw(st.sampled_from(ATTRIBUTES))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    one = shifts(draw(st.sampled_from(REACHES)))
    shift = draw(st.lists(one, min_size=2 * channels, max_size=2 * channels))
    rng = np.random.RandomState(draw(st.integers(0, 2**31)))
    x = rng.randn(batch, channels, *size).astype(dtype)
    gy = rng.randn(*reference.output_shape(x.shape, stride, pad)).astype(dtype)
    arrays = x, np.array(shift, dtype).reshape(2, channels), gy
    return arrays, dict(stride=stride, pad=pad)


# In the quick run the golden values stand for these.
@pytest.mark.slow
@examples(400)
@given(case=cases(), normalize=st.booleans(), data_format=st.sampled_from(LAYOUTS))
def test_values_and_gradients_are_those_of_the_reference(run_shift2d, case, normalize, data_format):
    (x, shift, gy), where = case
    got = run_shift2d(x, shift, gy, **where, normalize=normalize, data_format=data_format)
    y = reference.forward(x, shift, **where)
    gx = reference.gradient_to_x(x, shift, gy, **where)
    gs = reference.gradient_to_shift(x, shift, gy, **where)
    finite = [a[np.isfinite(a)] for a in (x, gy, y, gx, gs)]
    largest = max(np.abs(a).max() for a in finite if a.size) if x.size or gy.size else 0
    atol = (1e-5 if x.dtype == np.float32 else 1e-12) * largest
    np.testing.assert_allclose(got.y, y, rtol=0, atol=atol)
    np.testing.assert_allclose(got.gx, gx, rtol=0, atol=atol)
    if not normalize:
        np.testing.assert_allclose(got.gs, gs, rtol=0, atol=atol)
        return
    # Dividing by a small norm magnifies what rounding left in the sums.
    norm = np.linalg.norm(gs, axis=0)
    np.testing.assert_allclose(got.gs * norm, reference.normalized(gs) * norm, rtol=0, atol=atol)


@pytest.mark.slow
@examples(150)
@given(case=cases())
def test_both_layouts_give_the_same_bits(run_shift2d, case):
    arrays, where = case
    nchw, nhwc = [run_shift2d(*arrays, **where, data_format=f) for f in LAYOUTS]
    _assert_same_bits(nchw.y, nhwc.y)
    _assert_same_bits(nchw.gx, nhwc.gx)


def _assert_same_bits(a, b):
    word = {4: np.int32, 8: np.int64}[a.dtype.itemsize]
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    np.testing.assert_array_equal(a.view(word), b.view(word))


def _arrays(dtype, batch=4, channels=3, size=(7, 6), *, stride=(1, 1), pad=(0, 0)):
    rng = np.random.RandomState(0)
    x = rng.randn(batch, channels, *size).astype(dtype)
    shift = rng.uniform(-0.9, 0.9, (2, channels)).astype(dtype)
    gy = rng.randn(*reference.output_shape(x.shape, stride, pad)).astype(dtype)
    return x, shift, gy


@both_dtypes
def test_both_layouts_give_the_same_bits_on_larger_images(run_shift2d, dtype):
    sizes, wheres = (
        ((16, 16), (28, 28), (33, 17)),
        (((1, 1), (0, 0)), ((2, 2), (0, 0)), ((2, 2), (1, 1))),
    )
    for size, (stride, pad), channels in itertools.product(sizes, wheres, (19, 32)):
        where = dict(stride=stride, pad=pad)
        arrays = _arrays(dtype, 2, channels, size, **where)
        nchw, nhwc = [run_shift2d(*arrays, **where, data_format=f) for f in LAYOUTS]
        _assert_same_bits(nchw.y, nhwc.y)
        _assert_same_bits(nchw.gx, nhwc.gx)


# 3 channels are worked off in blocks, 32 of NHWC in place.
CHANNELS = (3, 32)
WHERE = ((1, 0), (2, 0), (2, 1))  # stride and padding


@both_layouts
@both_dtypes
def test_a_shift_that_is_not_finite_makes_its_channel_nan_and_no_other(
    run_shift2d, dtype, data_format
):
    for channels, (stride, pad), axis, lost in itertools.product(CHANNELS, WHERE, (0, 1), LOST):
        where = dict(stride=(stride, stride), pad=(pad, pad))
        x, shift, gy = _arrays(dtype, 2, channels, **where)
        before = run_shift2d(x, shift, gy, **where, data_format=data_format)
        shift[axis, 1] = lost
        after = run_shift2d(x, shift, gy, **where, data_format=data_format)
        for name, a, b in zip(after._fields, after, before):
            case = f"{name} of {channels} channels, stride {stride}, pad {pad}, {lost:g}"
            assert np.isnan(a[:, 1]).all(), case
            np.testing.assert_array_equal(np.delete(a, 1, 1), np.delete(b, 1, 1), case)


@both_layouts
@both_dtypes
def test_a_shift_beyond_the_image_gives_zeros_in_its_channel(run_shift2d, dtype, data_format):
    beyond = (1e30, -1e30, 1e19, -1e19, 2.0**31, -(2.0**31), 100.5, -100.0)
    for channels, (stride, pad), axis, far in itertools.product(CHANNELS, WHERE, (0, 1), beyond):
        where = dict(stride=(stride, stride), pad=(pad, pad))
        x, shift, gy = _arrays(dtype, 2, channels, **where)
        shift[axis, 1] = far
        got = run_shift2d(x, shift, gy, **where, data_format=data_format)
        for name, a in zip(got._fields, got):
            case = f"{name} of {channels} channels, stride {stride}, pad {pad}, {far:g}"
            np.testing.assert_array_equal(a[:, 1], np.zeros_like(a[:, 1]), case)
            assert np.all(np.abs(np.delete(a, 1, 1)).sum() > 0), case


@pytest.mark.parametrize("pad", [(0, 0), (2, 1)])
@both_layouts
@both_dtypes
def test_the_last_shift_that_reaches_the_image_reads_its_edge(run_shift2d, dtype, pad, data_format):
    x = np.arange(1, 5 * 6 + 1, dtype=dtype).reshape(1, 1, 5, 6).repeat(4, axis=0)
    gy = np.zeros(reference.output_shape(x.shape, (1, 1), pad), dtype)
    shift = np.array([[5.0 + pad[1]], [4.0 + pad[0]]], dtype)
    y = run_shift2d(x, shift, gy, pad=pad, data_format=data_format).y
    assert (y[:, 0, 0, 0] == x[0, 0, -1, -1]).all()
    assert np.count_nonzero(y) == len(y)


@both_layouts
@both_dtypes
def test_the_widest_paddings_and_strides_reach_the_image(run_shift2d, data_format, dtype):
    # Offsets of 2^27 pixels, of which only those that lie on the image may count.
    pad, stride = 2**27 - 2, 2**26
    x = np.arange(1, 9, dtype=dtype).reshape(1, 2, 1, 4)
    shift = np.array([[0, stride], [0, 0]], dtype)  # to output 2, and to the one before
    gy = np.ones((1, 2, 1, 4), dtype)
    where = dict(stride=(1, stride), pad=(0, pad), data_format=data_format)
    y, gx, gs = run_shift2d(x, shift, gy, **where)
    np.testing.assert_array_equal(y[0, :, 0], [[0, 0, 3, 0], [0, 7, 0, 0]])
    np.testing.assert_array_equal(gx[0, :, 0], [[0, 0, 1, 0], [0, 0, 1, 0]])
    np.testing.assert_array_equal(gs, [[1, 1], [0, 0]])


# Within a pixel, and as far as channels differ for the barrel shifter.
SPREADS = (0, 3)


def _spread(dtype, channels, spread):
    return np.array([[0.25], [-0.5]], dtype) + np.linspace(-spread, spread, channels).astype(dtype)


@both_layouts
@both_dtypes
def test_an_output_gradient_that_is_not_finite_reaches_only_pixels_that_were_read(
    run_shift2d, dtype, data_format
):
    bads, strides = (np.nan, np.inf), (1, 2, 3, 4)
    for channels, spread, stride, pad, bad in itertools.product(
        (1, 16), SPREADS, strides, (0, 1), bads
    ):
        where = dict(stride=(stride, stride), pad=(pad, pad))
        x, _, gy = _arrays(dtype, 2, channels, (11, 10), **where)
        shift = _spread(dtype, channels, spread)
        gy[1, 0, 1, 1] = bad
        gx = run_shift2d(x, shift, gy, **where, data_format=data_format).gx
        expected = reference.gradient_to_x(x, shift, gy, **where)
        case = f"{channels} channels, spread {spread}, stride {stride}, pad {pad}"
        np.testing.assert_array_equal(np.isfinite(gx), np.isfinite(expected), case)


@both_layouts
@both_dtypes
def test_pixels_that_are_not_finite_reach_only_outputs_that_read_them(
    run_shift2d, dtype, data_format
):
    for channels, spread, stride, pad in itertools.product((1, 16), SPREADS, (1, 2, 3), (0, 1)):
        where = dict(stride=(stride, stride), pad=(pad, pad))
        x, _, gy = _arrays(dtype, 2, channels, (11, 10), **where)
        shift = _spread(dtype, channels, spread)
        x[1, 0, 3:5, 3:5] = np.nan
        y = run_shift2d(x, shift, gy, **where, data_format=data_format).y
        expected = reference.forward(x, shift, **where)
        assert np.isnan(expected).any()
        case = f"{channels} channels, spread {spread}, stride {stride}, pad {pad}"
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected), case)


@both_layouts
@both_dtypes
def test_normalize_divides_the_gradient_of_each_channel_by_its_norm(
    run_shift2d, dtype, data_format
):
    arrays = _arrays(dtype)
    arrays[0][:, 1] = 0  # the gradient of channel 1 is zero and stays zero
    plain, unit = [
        run_shift2d(*arrays, normalize=n, data_format=data_format).gs for n in (False, True)
    ]
    np.testing.assert_allclose(np.linalg.norm(unit, axis=0), [1, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(plain, axis=0), plain, rtol=1e-6)


@both_layouts
def test_normalize_changes_neither_the_values_nor_the_gradient_to_x(run_shift2d, data_format):
    arrays = _arrays(np.float32)
    plain, unit = [
        run_shift2d(*arrays, normalize=n, data_format=data_format) for n in (False, True)
    ]
    np.testing.assert_array_equal(plain.y, unit.y)
    np.testing.assert_array_equal(plain.gx, unit.gx)
