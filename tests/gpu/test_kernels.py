"""Values of the CUDA kernels, on the host and on a GPU."""

import itertools
import os

import numpy as np
import pytest

from tests.ops import shift2d_reference as reference

# In the quick run, tests/ops/test_shift2d_gpu.py compares the emulation with the CPU kernels.
pytestmark = pytest.mark.slow

GOLDEN = np.load(os.path.join(os.path.dirname(__file__), "..", "golden", "shift2d.npz"))
LAYOUTS = ("NCHW", "NHWC")
# Relative to the largest magnitude of a case. A float16 has 11 bits; the inputs are rounded to
# them before the reference sees them.
TOLERANCE = {np.float16: 1e-3, np.float32: 1e-5, np.float64: 1e-12}

both_layouts = pytest.mark.parametrize("data_format", LAYOUTS)
all_types = pytest.mark.parametrize("dtype", sorted(TOLERANCE, key=lambda t: t(0).itemsize))


def assert_right(got, x, shift, gy, *, stride=(1, 1), pad=(0, 0), normalize=False, case=""):
    where = dict(stride=stride, pad=pad)
    exact = [a.astype(np.float64) for a in (x, shift, gy)]
    gs = reference.gradient_to_shift(*exact, **where)
    expected = [
        reference.forward(*exact[:2], **where),
        reference.gradient_to_x(*exact, **where),
        reference.normalized(gs) if normalize else gs,
    ]
    finite = [a[np.isfinite(a)] for a in [gs] + expected[:2]]
    largest = max([np.abs(a).max() for a in finite if a.size] or [0])
    atol = TOLERANCE[x.dtype.type] * largest
    # Dividing by a small norm magnifies what rounding left in the sums.
    norm = np.linalg.norm(gs, axis=0) if normalize else 1
    for name, factor, value, right in zip(("y", "gx", "gs"), (1, 1, norm), got, expected):
        assert value.dtype == x.dtype
        message = f"{name} of {case or (x.shape, stride, pad)}"
        np.testing.assert_allclose(
            value * factor, right * factor, rtol=0, atol=atol, err_msg=message
        )


def arrays(seed, shape, dtype, *, stride=(1, 1), pad=(0, 0), reach=2.5):
    rng = np.random.RandomState(seed)
    x = rng.randn(*shape).astype(dtype)
    shift = rng.uniform(-reach, reach, (2, shape[1])).astype(dtype)
    gy = rng.randn(*reference.output_shape(shape, stride, pad)).astype(dtype)
    return x, shift, gy


@all_types
@both_layouts
def test_golden_values(kernels, data_format, dtype):
    for case in range(108):
        names = ("x", "shift", "gy", "y", "gx", "gs")
        x, shift, gy, *right = [GOLDEN[f"case{case}_{name}"] for name in names]
        attrs = [int(v) for v in GOLDEN[f"case{case}_attrs"]]
        where = dict(stride=attrs[:2], pad=attrs[2:4], normalize=bool(attrs[4]))
        inputs = [a.astype(dtype) for a in (x, shift, gy)]
        got = kernels(*inputs, data_format=data_format, **where)
        if dtype == np.float16:  # the golden values are those of other inputs
            assert_right(got, *inputs, **where, case=f"case {case}")
            continue
        largest = max(np.abs(a).max() for a in right)
        for name, value, expected in zip(names[3:], got, right):
            message = f"{name} of case {case}"
            atol = TOLERANCE[dtype] * largest
            np.testing.assert_allclose(value, expected, rtol=0, atol=atol, err_msg=message)


# Widths that allow each access width, planes of less and of more than a block, channels of less and
# of more than 32 neighbouring threads.
SHAPES = [
    (3, 5, 7, 7),
    (5, 3, 6, 14),
    (2, 4, 5, 28),
    (3, 2, 33, 56),
    (1, 1, 40, 24),
    (2, 33, 9, 8),
    (1, 70, 3, 5),
    (9, 6, 1, 1),
    (2, 3, 1, 37),
    (1, 300, 1, 2),
]
WHERE = [
    ((1, 1), (0, 0)),
    ((1, 1), (2, 0)),
    ((1, 1), (0, 1)),
    ((2, 2), (0, 0)),
    ((2, 2), (1, 1)),
    ((3, 1), (0, 2)),
]


@all_types
@both_layouts
def test_random_values(kernels, data_format, dtype):
    for shape, (stride, pad) in itertools.product(SHAPES, WHERE):
        where = dict(stride=stride, pad=pad)
        x, shift, gy = arrays(0, shape, dtype, **where)
        shift[0, ::3] = np.round(shift[0, ::3])  # some integers, along one axis and along both
        shift[1, ::2] = np.round(shift[1, ::2])
        # Of 4 blocks every thread has one thing to do; from 2 on it has several.
        for enough in (4096, 2):
            got = kernels(x, shift, gy, **where, data_format=data_format, enough_blocks=enough)
            assert_right(got, x, shift, gy, **where)


@all_types
@both_layouts
def test_many_random_cases(kernels, data_format, dtype):
    rng = np.random.RandomState(1)
    for seed in range(60):
        shape = tuple(rng.randint(0, 7, 1)) + tuple(rng.randint(1, 12, 1))
        shape += tuple(rng.choice([0, 1, 2, 3, 5, 8, 12, 16, 19], 2))
        stride, pad = tuple(rng.randint(1, 5, 2)), tuple(rng.randint(0, 3, 2))
        if seed % 2:
            stride, pad = (1, 1), (0, 0)
        where = dict(stride=stride, pad=pad, normalize=bool(rng.randint(2)))
        x, shift, gy = arrays(seed, shape, dtype, stride=stride, pad=pad, reach=20)
        special = [0, -1, 2, 15.5, 3e4, -3e4, np.nan, np.inf]
        chosen = rng.randint(0, 3, shift.shape) == 0
        shift[chosen] = rng.choice(special, shift.shape)[chosen]
        got = kernels(x, shift, gy, **where, data_format=data_format, enough_blocks=2)
        assert_right(got, x, shift, gy, **where)


@all_types
def test_both_layouts_give_the_same_bits(kernels, dtype):
    for shape, (stride, pad) in itertools.product([(2, 5, 6, 16), (3, 40, 9, 7)], WHERE):
        inputs = arrays(2, shape, dtype, stride=stride, pad=pad)
        a, b = [kernels(*inputs, stride=stride, pad=pad, data_format=f) for f in LAYOUTS]
        for name, of_a, of_b in zip(("y", "gx"), a, b):
            assert of_a.tobytes() == of_b.tobytes(), (name, shape, stride, pad)


@all_types
@both_layouts
def test_unaligned_pointers_give_the_same_bits(kernels, data_format, dtype):
    inputs = arrays(3, (3, 4, 5, 16), dtype)
    aligned = kernels(*inputs, data_format=data_format)
    for which, offset in itertools.product(range(4), (1, 2, 4)):  # x, gy, y, gx
        offsets = [offset * (k == which) for k in range(4)]
        shifted = kernels(*inputs, data_format=data_format, offsets=offsets)
        for name, a, b in zip(("y", "gx"), aligned, shifted):
            assert a.tobytes() == b.tobytes(), (name, offsets)
        assert_right(shifted, *inputs, case=offsets)


@all_types
@both_layouts
def test_empty_images_give_padding_alone(kernels, data_format, dtype):
    shapes = [(0, 3, 5, 4), (4, 3, 0, 5), (4, 3, 5, 0), (4, 0, 5, 4)]
    for shape, where in itertools.product(shapes, [((1, 1), (0, 0)), ((2, 3), (1, 2))]):
        stride, pad = where
        x, shift, gy = arrays(4, shape, dtype, stride=stride, pad=pad)
        y, gx, gs = kernels(x, shift, gy, stride=stride, pad=pad, data_format=data_format)
        for got, like in ((y, gy), (gx, x), (gs, shift)):
            np.testing.assert_array_equal(got, np.zeros_like(like), str((shape, where)))


@both_layouts
@pytest.mark.parametrize("stride, pad", [((1, 1), (0, 0)), ((2, 2), (1, 1))])
@all_types
def test_a_shift_that_is_not_finite_makes_its_channel_nan_and_no_other(
    kernels, stride, pad, data_format, dtype
):
    where = dict(stride=stride, pad=pad, data_format=data_format)
    x, shift, gy = arrays(5, (3, 4, 5, 8), dtype, stride=stride, pad=pad)
    before = kernels(x, shift, gy, **where)
    for lost in (np.nan, np.inf, -np.inf):
        shift[1, 2] = lost
        for a, b in zip(kernels(x, shift, gy, **where), before):
            assert np.isnan(a[:, 2]).all(), lost
            np.testing.assert_array_equal(np.delete(a, 2, 1), np.delete(b, 2, 1), str(lost))


@both_layouts
@pytest.mark.parametrize("stride, pad", [((1, 1), (0, 0)), ((2, 2), (1, 1))])
def test_a_shift_beyond_the_image_gives_zeros(kernels, stride, pad, data_format):
    x, shift, gy = arrays(6, (2, 3, 5, 8), np.float32, stride=stride, pad=pad)
    for far in (1e30, -1e30, 2.0**31, -(2.0**31), 100.5):
        shift[0, 1] = far
        for a in kernels(x, shift, gy, stride=stride, pad=pad, data_format=data_format):
            np.testing.assert_array_equal(a[:, 1], np.zeros_like(a[:, 1]), str(far))


@both_layouts
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shift", [0.25, 1.0])
def test_values_that_are_not_finite_reach_only_what_reads_them(kernels, shift, stride, data_format):
    where = dict(stride=(stride, stride), pad=(0, 0))
    x, shifts, gy = arrays(7, (2, 1, 8, 8), np.float32, **where)
    shifts[:] = shift
    x[1, 0, 3, 3] = np.nan
    gy[0, 0, 2, 2] = np.inf
    y, gx, _ = kernels(x, shifts, gy, **where, data_format=data_format)
    right = reference.forward(x, shifts, **where)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(right))
    right = reference.gradient_to_x(x, shifts, gy, **where)
    np.testing.assert_array_equal(np.isfinite(gx), np.isfinite(right))


@both_layouts
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shift", [-3.5, -3.0])
def test_pixels_that_nothing_reads_do_not_reach_the_sums(kernels, shift, stride, data_format):
    where = dict(stride=(stride, stride), pad=(0, 0))
    x, shifts, gy = arrays(12, (2, 2, 9, 9), np.float32, **where)
    shifts[:] = shift
    x[:, :, 7:] = np.inf
    x[:, :, :, 7:] = np.nan
    gs = kernels(x, shifts, gy, **where, data_format=data_format)[2]
    right = reference.gradient_to_shift(np.where(np.isfinite(x), x, 0), shifts, gy, **where)
    np.testing.assert_allclose(gs, right, rtol=0, atol=1e-5 * np.abs(right).max())


@both_layouts
@pytest.mark.parametrize("pad", [0, 1])
def test_float32_sums_lose_nothing_that_a_float64_sum_keeps(kernels, pad, data_format):
    # Along x the derivative is 1: the sum is that of gy, large numbers that cancel and small ones
    # that a float32 sum would swallow.
    where = dict(stride=(1, 1), pad=(pad, pad))
    x = np.tile(np.arange(64, dtype=np.float32), (1, 2, 64, 1))
    gy = np.zeros(reference.output_shape(x.shape, **where), np.float32)
    inside = gy[:, :, pad : pad + 64, pad : pad + 63]
    inside[:] = 1
    inside[:, :, ::2, ::5], inside[:, :, 1::2, ::5] = 1e9, -1e9
    shift = np.array([[0.5, 0.5], [0, 0]], np.float32)
    gs = kernels(x, shift, gy, **where, data_format=data_format)[2]
    assert (gs[0] == inside[0, 0].sum(dtype=np.float64)).all()


def test_float16_sums_are_not_summed_in_float16(kernels):
    x = np.tile(np.arange(64, dtype=np.float16), (1, 2, 64, 1))
    gy = np.full(x.shape, 2.0**-4, np.float16)  # from 128 on a float16 sum would stand still
    shift = np.array([[0.5, 0.5], [0, 0]], np.float16)
    gs = kernels(x, shift, gy)[2]
    right = reference.gradient_to_shift(*[a.astype(np.float64) for a in (x, shift, gy)])
    np.testing.assert_allclose(gs[0], right[0], rtol=1e-3)


def test_normalize_keeps_a_zero_gradient_zero(kernels):
    x, shift, gy = arrays(8, (2, 3, 4, 4), np.float32)
    x[:, 1] = 0
    gs = kernels(x, shift, gy, normalize=True)[2]
    np.testing.assert_allclose(np.linalg.norm(gs, axis=0), [1, 0, 1], rtol=1e-6)


HUGE = 2**31 - 1


@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("stride", [(HUGE, HUGE), (HUGE, 1), (1, HUGE)])
@pytest.mark.parametrize("shift", [0.5, -0.5, 1.0])
def test_a_stride_beyond_everything_takes_the_first_pixel(kernels, shift, stride, data_format):
    where = dict(stride=stride, pad=(1, 0))
    x, shifts, gy = arrays(9, (2, 3, 4, 5), np.float64, **where)
    shifts[:] = shift
    got = kernels(x, shifts, gy, **where, data_format=data_format)
    assert_right(got, x, shifts, gy, **where)


@pytest.mark.parametrize(
    "shape, attrs, part",
    [
        ((1, 1, 2**16, 2**16), dict(stride=(2, 2)), "in an image of `x`"),
        ((2**20, 2**11, 1, 1), {}, "in `y`"),
        ((1, 1, 2, 2), dict(stride=(2**20, 1), pad=(2**28, 0)), "2^28"),
        ((1, 1, 2, 2), dict(stride=(HUGE, HUGE), pad=(HUGE, HUGE)), "2^28"),
    ],
)
def test_sizes_beyond_32_bits_are_refused(kernels, shape, attrs, part):
    assert part in kernels.limit(shape, **attrs)


@pytest.mark.parametrize("shape", [(2**20, 2**11 - 1, 1, 1), (0, 3, 4, 5), (1, 1, 2**15, 2**15)])
def test_sizes_within_32_bits_are_not_refused(kernels, shape):
    assert kernels.limit(shape) is None


@all_types
@both_layouts
@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("reach", [0.9, 30])
def test_nothing_outside_the_arrays_is_touched(emulated, reach, at_end, data_format, dtype):
    # The arrays lie between pages that end the process when touched.
    emulated.device.at_end = at_end
    try:
        for shape, (stride, pad) in itertools.product(SHAPES, WHERE):
            inputs = arrays(10, shape, dtype, stride=stride, pad=pad, reach=reach)
            for enough in (4096, 2):
                emulated(*inputs, stride=stride, pad=pad, data_format=data_format,
                         enough_blocks=enough)  # fmt: skip
    finally:
        emulated.device.at_end = True


@all_types
@both_layouts
@pytest.mark.parametrize("stride, pad", [((1, 1), (0, 0)), ((2, 2), (1, 1))])
@pytest.mark.parametrize("shape", [(7, 5, 7, 7), (5, 3, 20, 24), (4, 40, 5, 6)], ids=str)
def test_the_order_of_blocks_and_threads_changes_no_bit(
    emulated, shape, stride, pad, data_format, dtype
):
    inputs = arrays(11, shape, dtype, stride=stride, pad=pad)
    seen = set()
    try:
        for seed in range(6):
            emulated.device.compiled.sspq_shuffle(seed)
            got = emulated(*inputs, stride=stride, pad=pad, data_format=data_format,
                           enough_blocks=2)  # fmt: skip
            seen.add(b"".join(a.tobytes() for a in got))
    finally:
        emulated.device.compiled.sspq_shuffle(0)
    assert len(seen) == 1


def test_the_emulated_float16_is_that_of_numpy(emulated):
    # Shift 0 at a single pixel hands every value through float32 and back.
    bits = np.arange(2**16, dtype=np.uint16)
    x = bits.view(np.float16).reshape(-1, 1, 1, 1)
    y = emulated(x, np.zeros((2, 1), np.float16), x)[0]
    finite = np.isfinite(x)
    np.testing.assert_array_equal(y[finite], x[finite])
