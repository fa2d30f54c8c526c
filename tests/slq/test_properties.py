"""What holds for any weights and centres."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sspq.slq import backend, cluster
from sspq.slq.keys import first_key_above, first_key_from, keys_of, lines_of, values_of
from tests.slq import plain_kmeans

REALS = st.one_of(
    st.floats(-2, 2, width=32),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    # Ties, and many weights with one value or in one bin.
    st.integers(-8, 8).map(float),
    st.integers(-40, 40).map(lambda n: 1 + n * 2.0**-23),
    st.integers(-9, 9).map(lambda n: n * 2.0**-149),
)
WEIGHTS = st.lists(REALS, min_size=1, max_size=60).map(lambda v: np.array(v, np.float32))
CENTRES = st.lists(REALS, min_size=1, max_size=9).map(np.array)


@st.composite
def cases(draw):
    """Weights, centres and fixed centres."""
    centres = draw(CENTRES)
    fixed = draw(st.lists(st.integers(0, len(centres) - 1), unique=True))
    return draw(WEIGHTS), centres, fixed


def examples(count):
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        print_blob=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@examples(300)
@given(case=cases())
def test_one_pass_takes_the_nearest_centre_and_moves_it_to_the_mean(case):
    weights, centres, fixed = case
    found = cluster(weights, centres, passes=1, fixed=fixed)
    index = plain_kmeans.nearest(weights, centres)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_array_equal(found.centres, plain_kmeans.means(weights, index, centres, fixed))
    np.testing.assert_array_equal(found.sizes, np.bincount(index, minlength=len(centres)))
    expected = plain_kmeans.losses(weights, index, found.centres)
    np.testing.assert_allclose(found.loss, expected, rtol=1e-11)


@examples(100)
@given(case=cases())
def test_several_passes_are_single_passes_one_after_the_other(case):
    weights, centres, fixed = case
    together = cluster(weights, centres, passes=3, fixed=fixed)
    for _ in range(3):
        last = cluster(weights, centres, passes=1, fixed=fixed)
        centres = last.centres
    np.testing.assert_array_equal(together.centres, last.centres)
    np.testing.assert_array_equal(together.index, last.index)


@examples(100)
@given(case=cases())
def test_the_loss_never_rises_from_pass_to_pass(case):
    weights, centres, fixed = case
    totals = [cluster(weights, centres, passes=p, fixed=fixed).loss.sum() for p in range(1, 7)]
    for before, after in zip(totals, totals[1:]):
        assert after <= before * (1 + 1e-9)


@examples(100)
@given(case=cases())
def test_fixed_centres_and_those_without_members_never_move(case):
    weights, centres, fixed = case
    found = cluster(weights, centres, fixed=fixed)
    np.testing.assert_array_equal(found.centres[fixed], centres[fixed])
    never = [k for k in range(len(centres)) if centres[k] in centres[:k]]
    np.testing.assert_array_equal(
        cluster(weights, centres, passes=1).centres[never], centres[never]
    )


@examples(100)
@given(case=cases(), seed=st.integers(0, 2**31))
def test_the_order_of_the_weights_does_not_matter(case, seed):
    weights, centres, fixed = case
    order = np.random.RandomState(seed).permutation(len(weights))
    one = cluster(weights, centres, fixed=fixed)
    other = cluster(weights[order], centres, fixed=fixed)
    np.testing.assert_array_equal(one.centres, other.centres)
    np.testing.assert_array_equal(one.loss, other.loss)
    np.testing.assert_array_equal(one.index[order], other.index)


@examples(100)
@given(case=cases())
def test_the_sign_does_not_matter(case):
    weights, centres, fixed = case
    one = cluster(weights, centres, fixed=fixed)
    other = cluster(-weights, -centres, fixed=fixed)
    np.testing.assert_array_equal(one.centres, -other.centres)
    np.testing.assert_array_equal(one.index, other.index)


@examples(100)
@given(case=cases(), seed=st.integers(0, 2**31))
def test_skipped_weights_are_as_if_they_were_not_there(case, seed):
    weights, centres, fixed = case
    skip = np.random.RandomState(seed).rand(len(weights)) < 0.5
    skip[0] = False
    one = cluster(weights, centres, fixed=fixed, skip=skip)
    other = cluster(weights[~skip], centres, fixed=fixed)
    np.testing.assert_array_equal(one.centres, other.centres)
    np.testing.assert_array_equal(one.loss, other.loss)
    np.testing.assert_array_equal(one.index[~skip], other.index)
    assert not one.index[skip].any()


@examples(150)
@given(case=cases(), seed=st.integers(0, 2**31))
def test_both_implementations_give_the_same_bits(case, seed):
    weights, centres, fixed = case
    skip = np.random.RandomState(seed).rand(len(weights)) < 0.3
    results = []
    for name in backend.NAMES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSPQ_SLQ", name)
            results.append(cluster(weights, centres, fixed=fixed, skip=skip))
    one, other = results
    for name in ("centres", "index", "sizes", "loss"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


@examples(200)
@given(values=st.lists(REALS, min_size=2, max_size=2).map(lambda v: np.array(v, np.float32)))
def test_keys_are_in_the_order_of_the_values(values):
    a, b = (int(k) for k in keys_of(values))
    if values[0] < values[1]:
        assert a < b
        assert first_key_from(values[1]) <= b and first_key_above(values[0]) <= b
        assert first_key_from(values[1]) > a
    assert first_key_from(values[0]) <= a < first_key_above(values[0])
    np.testing.assert_array_equal(values_of(keys_of(values)), values)


@examples(200)
@given(value=REALS)
def test_a_number_is_a_linear_function_of_its_place_in_the_bin(value):
    key = keys_of(np.array([value], np.float32))
    base, unit = lines_of(key >> np.uint32(16))
    assert base + unit * (key & np.uint32(0xFFFF)) == np.float32(value)
