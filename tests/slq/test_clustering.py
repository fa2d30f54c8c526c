"""k-means of weights: golden values, defined results for odd input, and clear errors."""

import tracemalloc

import numpy as np
import pytest

from sspq.slq import cluster, initial_centres
from tests.slq import plain_kmeans

pytestmark = pytest.mark.usefixtures("backend")


def f32(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_ten_passes_give_the_released_centres_and_indices(golden, bits):
    w = golden["w"]
    found = cluster(w, initial_centres(w, bits), fixed=[0])
    centres = golden[f"centres{bits}"]
    np.testing.assert_allclose(found.centres, centres, rtol=1e-6, atol=0)
    assert found.centres[0] == 0
    distances = np.sort(np.abs(w[:, None] - centres), axis=1)
    sure = distances[:, 1] - distances[:, 0] > 1e-6
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(found.index[sure], golden[f"index{bits}"][sure])


def test_sizes_and_losses_are_those_of_the_members(golden):
    w = golden["w"][:3000]
    found = cluster(w, initial_centres(w, 4), fixed=[0])
    np.testing.assert_array_equal(found.sizes, np.bincount(found.index, minlength=9))
    expected = plain_kmeans.losses(w, found.index, found.centres)
    np.testing.assert_allclose(found.loss, expected, rtol=1e-13)


def test_initial_centres_halve_from_the_power_of_two_below_the_largest_magnitude():
    expected = [0, 0.5, -0.5, 0.25, -0.25, 0.125, -0.125, 0.0625, -0.0625]
    np.testing.assert_array_equal(initial_centres(f32(0.1, -0.99), 4), expected)
    np.testing.assert_array_equal(initial_centres(f32(0.5), 2), [0, 0.5, -0.5])
    tiny = 2.0**-149
    np.testing.assert_array_equal(initial_centres(f32(3 * tiny), 2), [0, 2 * tiny, -2 * tiny])


@pytest.mark.parametrize("bits", range(2, 9))
def test_there_are_two_to_the_bits_less_one_centres_and_zero(bits):
    assert len(set(initial_centres(f32(1, -3), bits))) == 2 ** (bits - 1) + 1


def test_all_zero_weights_are_all_in_cluster_zero_without_loss():
    w = np.zeros((3, 4), np.float32)
    w[0] = -0.0
    found = cluster(w, initial_centres(w, 3), fixed=[0])
    np.testing.assert_array_equal(found.centres, np.zeros(5))
    np.testing.assert_array_equal(found.index, np.zeros((3, 4)))
    np.testing.assert_array_equal(found.sizes, [12, 0, 0, 0, 0])
    np.testing.assert_array_equal(found.loss, np.zeros(5))


@pytest.mark.parametrize("value", [0.3, -0.3, 1e-45, 3.4e38])
def test_one_single_value_becomes_a_centre_without_loss(value):
    w = np.full(1000, value, np.float32)
    found = cluster(w, initial_centres(w, 5), fixed=[0])
    assert (found.centres[found.index] == w).all()
    assert len(set(found.index)) == 1 and not found.loss.any()


def test_fewer_distinct_weights_than_centres_are_found_exactly():
    w = f32(0.5, -0.25, 0.5, 0, 0.5)
    found = cluster(w, initial_centres(w, 5), fixed=[0])
    np.testing.assert_array_equal(found.centres[found.index], w)
    assert found.sizes.sum() == 5 and not found.loss.any()
    empty = found.sizes == 0
    np.testing.assert_array_equal(found.centres[empty], initial_centres(w, 5)[empty])


def test_of_equal_centres_the_first_takes_all():
    found = cluster(f32(1, 2), [5, 1, 1, 2, 2], passes=1)
    np.testing.assert_array_equal(found.index, [1, 3])


def test_a_tie_goes_to_the_lower_index_whichever_side_it_is_on():
    np.testing.assert_array_equal(cluster(f32(1), [0, 2], passes=1).index, [0])
    np.testing.assert_array_equal(cluster(f32(1), [2, 0], passes=1).index, [0])
    for zero in (0.0, -0.0):
        np.testing.assert_array_equal(cluster(f32(zero), [1, -1], passes=1).index, [0])
        np.testing.assert_array_equal(cluster(f32(zero), [-1, 1], passes=1).index, [0])


def test_a_difference_below_double_precision_is_no_tie():
    w, far = f32(1), 1 + 2.0**-52
    np.testing.assert_array_equal(cluster(w, [-1e-17, 2], passes=1).index, [1])
    np.testing.assert_array_equal(cluster(w, [2 * far, 1e-17], passes=1).index, [1])


def test_skipped_weights_take_no_part():
    w = f32(1, 2, 100, np.nan)
    skip = np.array([False, False, True, True])
    found = cluster(w, [0, 1], passes=3, skip=skip)
    np.testing.assert_array_equal(found.centres, [0, 1.5])
    np.testing.assert_array_equal(found.index, [1, 1, 0, 0])
    np.testing.assert_array_equal(found.sizes, [0, 2])
    np.testing.assert_array_equal(found.loss, [0, 0.5])


def test_when_all_are_skipped_nothing_moves():
    found = cluster(f32(1, 2), [0, 3], skip=np.ones(2, bool))
    np.testing.assert_array_equal(found.centres, [0, 3])
    assert not found.sizes.any()


def test_weights_of_any_layout_keep_their_shape():
    w = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    turned = w.transpose(2, 0, 1)
    found = cluster(turned, [0, 10, 20])
    assert found.index.shape == (4, 2, 3) and found.index.dtype == np.uint8
    expected = cluster(w, [0, 10, 20]).index
    np.testing.assert_array_equal(found.index.transpose(1, 2, 0), expected)


def test_arguments_stay_as_they_are():
    w, centres = f32(0.3, 2, -1), np.array([0.0, 1, -1])
    before = w.copy(), centres.copy()
    cluster(w, centres)
    np.testing.assert_array_equal(w, before[0])
    np.testing.assert_array_equal(centres, before[1])


def test_ten_passes_over_many_weights_are_ten_times_one_pass(many):
    centres = initial_centres(many, 5)
    together = cluster(many, centres, fixed=[0])
    for _ in range(10):
        centres, last = cluster(many, centres, passes=1, fixed=[0]).centres, centres
    np.testing.assert_array_equal(together.centres, centres)
    single = cluster(many, last, passes=1, fixed=[0])
    np.testing.assert_array_equal(together.index, single.index)
    np.testing.assert_array_equal(together.loss, single.loss)


def test_many_weights_are_clustered_as_a_sum_in_double_precision_does(many):
    centres = initial_centres(many, 5)
    found = cluster(many, centres, passes=1)
    order = np.argsort(centres)
    middles = (centres[order][1:] + centres[order][:-1]) / 2
    assert not np.isin(middles, many).any()
    index = order[np.searchsorted(middles, many)]
    np.testing.assert_array_equal(found.index, index)
    sums = np.bincount(index, many.astype(np.float64), 17)
    np.testing.assert_allclose(found.centres, sums / np.bincount(index), rtol=1e-11)


def test_memory_beside_the_weights_is_in_proportion_to_200_mb_for_alexnet_s_fc6(many, backend):
    weights = np.concatenate([many] * 3)
    tracemalloc.start()
    try:
        found = cluster(weights, initial_centres(many, 5), fixed=[0])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    own = {"native": 0, "numpy": 70e6}  # what numpy takes for a part, however many there are
    assert found.index.nbytes <= peak < 200e6 * weights.size / 37748736 + own[backend]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_with_their_number(bad):
    w = f32(1, bad, 2, bad)
    with pytest.raises(ValueError, match="2 of 4 are NaN or infinite"):
        cluster(w, [0, 1])
    with pytest.raises(ValueError, match="must be finite, but their largest magnitude is"):
        initial_centres(w, 5)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(weights=np.zeros(3)), "float32, got float64"),
        (dict(weights=[1.0]), "float32, got list"),
        (dict(weights=np.zeros((0, 3), np.float32)), r"empty, got shape \(0, 3\)"),
        (dict(centres=[]), r"1 to 256 numbers, got shape \(0,\)"),
        (dict(centres=np.zeros(257)), r"got shape \(257,\)"),
        (dict(centres=[[1]]), r"got shape \(1, 1\)"),
        (dict(centres=[0, np.nan]), "finite and within float32, got .*nan"),
        (dict(centres=[1e39]), "within float32"),
        (dict(fixed=[2]), r"from 0 to 1, got \[2\]"),
        (dict(fixed=[-1]), r"from 0 to 1, got \[-1\]"),
        (dict(passes=0), "`passes` must be at least 1, got 0"),
        (dict(threads=0), "`threads` must be at least 1, got 0"),
        (dict(skip=np.zeros(3, np.uint8)), r"shape \(3,\), got uint8 \(3,\)"),
        (dict(skip=np.zeros(2, bool)), r"shape \(3,\), got bool \(2,\)"),
    ],
)
def test_other_arguments_out_of_range_are_refused_by_name(change, message):
    arguments = dict(dict(weights=f32(1, 2, 3), centres=[0, 1]), **change)
    with pytest.raises(ValueError, match=message):
        cluster(**arguments)


@pytest.mark.parametrize("bits", [1, 9, 2.0, True, "5"])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match=f"`bits` must be .*, got {bits!r}"):
        initial_centres(f32(1), bits)
