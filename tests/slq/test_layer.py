"""A layer from stage to stage."""

import dataclasses

import numpy as np
import pytest

from sspq.slq import SLQ, TERNARY, Schedule, next_stage, share, start

FIELDS = ("centres", "frozen_centres", "index", "frozen", "loss")


def weights_of(shape, seed=0):
    return (np.random.RandomState(seed).standard_normal(shape) * 0.05).astype(np.float32)


def retrained(weights, state, seed=1):
    """What training between stages may do: anything to weights that are not frozen."""
    noise = weights_of(weights.shape, seed) * 0.2
    return np.where(state.frozen, weights, weights + noise).astype(np.float32)


def run(weights, schedule):
    """The state after every stage, and the weights it was made of and left behind."""
    state = start(weights, schedule)
    while not state.finished:
        before, state = state, next_stage(weights, state, schedule)
        shared = share(weights, state)
        yield before, state, weights, shared
        weights = retrained(shared, state)


@pytest.mark.usefixtures("backend")
def test_the_five_stages_at_five_bits_are_the_released_ones(golden):
    w, state = golden["w"], start(golden["w"], SLQ[5])
    for stage in range(1, 6):
        state = next_stage(w, state, SLQ[5])
        w = share(w, state)
        centres = golden[f"stage{stage}_centres"]
        np.testing.assert_allclose(state.centres, centres, rtol=1e-6, atol=0)
        np.testing.assert_array_equal(state.frozen, golden[f"stage{stage}_frozen"])
        np.testing.assert_allclose(w, golden[f"stage{stage}_w"], rtol=1e-6, atol=1e-9)
    assert state.finished and state.frozen.all()


@pytest.mark.parametrize("partition", ["magnitude", "loss", "boundary"])
@pytest.mark.parametrize("bits", sorted(SLQ))
def test_every_stage_freezes_as_many_centres_as_the_schedule_says(bits, partition):
    schedule = dataclasses.replace(SLQ[bits], partition=partition)
    counts = [s.frozen_centres.sum() for _, s, _, _ in run(weights_of((40, 50)), schedule)]
    assert tuple(counts) == schedule.counts


@pytest.mark.parametrize("schedule", [*SLQ.values(), TERNARY], ids=str)
def test_what_is_frozen_keeps_centre_index_and_value_to_the_end(schedule):
    for before, after, weights, shared in run(weights_of((40, 50)), schedule):
        still = before.frozen_centres
        assert (after.frozen_centres[still]).all()
        np.testing.assert_array_equal(after.centres[still], before.centres[still])
        assert after.frozen[before.frozen].all()
        np.testing.assert_array_equal(after.index[before.frozen], before.index[before.frozen])
        np.testing.assert_array_equal(shared[before.frozen], weights[before.frozen])
        np.testing.assert_array_equal(shared[~after.frozen], weights[~after.frozen])
        values = after.centres.astype(np.float32)[after.index]
        np.testing.assert_array_equal(shared[after.frozen], values[after.frozen])
        np.testing.assert_array_equal(after.frozen, after.frozen_centres[after.index])


def test_at_the_end_there_are_no_values_but_centres():
    *_, (_, state, _, shared) = run(weights_of((40, 50)), SLQ[3])
    assert set(shared.ravel()) <= set(state.centres.astype(np.float32))
    assert len(set(shared.ravel())) == 5


def test_zero_is_pinned_in_slq_and_moves_in_ternary_weights():
    w = weights_of((40, 50)) + np.float32(0.01)
    assert next_stage(w, start(w, SLQ[2]), SLQ[2]).centres[0] == 0
    assert next_stage(w, start(w, TERNARY), TERNARY).centres[0] > 0


def test_magnitude_freezes_zero_and_the_largest_pairs_first():
    states = [s for _, s, _, _ in run(weights_of((40, 50)), SLQ[4])]
    for state, count in zip(states, SLQ[4].counts):
        np.testing.assert_array_equal(np.flatnonzero(state.frozen_centres), np.arange(count))


def test_boundary_freezes_both_outer_clusters_first():
    first, second = [s for _, s, _, _ in run(weights_of((40, 50)), TERNARY)]
    np.testing.assert_array_equal(first.frozen_centres, [False, True, True])
    outer = {int(np.argmin(first.centres)), int(np.argmax(first.centres))}
    assert outer == {1, 2}
    assert second.frozen.all()


def test_loss_freezes_the_clusters_that_lose_most_of_those_that_are_left():
    schedule = dataclasses.replace(SLQ[4], partition="loss")
    for before, after, weights, _ in run(weights_of((40, 50)), schedule):
        loss = np.zeros(9)
        trained = ~before.frozen
        d = weights[trained].astype(np.float64) - after.centres[after.index[trained]]
        np.add.at(loss, after.index[trained], d * d)
        np.testing.assert_allclose(after.loss, loss, rtol=1e-12)
        new = after.frozen_centres & ~before.frozen_centres
        left = ~after.frozen_centres
        assert not left.any() or loss[new].min() >= loss[left].max()


def test_of_clusters_with_equal_loss_the_first_is_next():
    w = np.array([1, -1, 0, 0.5], np.float32)  # every cluster holds one value: no loss
    schedule = Schedule(3, (2, 5), partition="loss")
    state = next_stage(w, start(w, schedule), schedule)
    np.testing.assert_array_equal(np.flatnonzero(state.frozen_centres), [0, 1])


def test_no_function_changes_its_arguments():
    w = weights_of((8, 9))
    state = start(w, SLQ[3])
    for _ in range(2):
        kept = w.copy(), {name: getattr(state, name).copy() for name in FIELDS}
        after = next_stage(w, state, SLQ[3])
        share(w, after)
        np.testing.assert_array_equal(w, kept[0])
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(state, name), kept[1][name])
            assert not np.shares_memory(getattr(state, name), getattr(after, name))
        w, state = share(w, after), after


def test_a_state_is_arrays_that_a_file_keeps(tmp_path):
    w = weights_of((8, 9))
    state = next_stage(w, start(w, SLQ[4]), SLQ[4])
    path = str(tmp_path / "state.npz")
    np.savez(path, **dataclasses.asdict(state))
    with np.load(path) as arrays:
        again = type(state)(**arrays)
    dtypes = [np.float64, bool, np.uint8, bool, np.float64]
    assert [getattr(again, name).dtype for name in FIELDS] == dtypes
    w = share(w, state)
    one, other = next_stage(w, state, SLQ[4]), next_stage(w, again, SLQ[4])
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_frozen_weights_that_have_moved_are_refused_with_their_number():
    w = weights_of((8, 9))
    state = next_stage(w, start(w, SLQ[4]), SLQ[4])
    w = share(w, state)
    w[tuple(np.argwhere(state.frozen)[0])] += 1
    message = f"1 of {state.frozen.sum()} frozen weights are not at their centres"
    with pytest.raises(ValueError, match=message):
        next_stage(w, state, SLQ[4])


def test_there_is_no_stage_after_the_last():
    *_, (_, state, _, shared) = run(weights_of((8, 9)), SLQ[3])
    with pytest.raises(ValueError, match="all 5 centres are frozen"):
        next_stage(shared, state, SLQ[3])


def test_a_state_of_another_schedule_or_layer_is_refused():
    w = weights_of((8, 9))
    state = next_stage(w, start(w, SLQ[4]), SLQ[4])  # 3 of 9 centres
    w = share(w, state)
    with pytest.raises(ValueError, match="3 of 9 centres frozen; .* 0 or 5 or 9 or .* of 17"):
        next_stage(w, state, SLQ[5])
    with pytest.raises(ValueError, match="3 of 9 centres frozen; .* 0 or 4 or 9 of 9"):
        next_stage(w, state, Schedule(4, (4, 9)))
    with pytest.raises(ValueError, match=r"`index` must be uint8 of .* \(72,\), got .* \(8, 9\)"):
        next_stage(w.ravel(), state, SLQ[4])
    with pytest.raises(ValueError, match=r"`index` must be uint8 of .* \(72,\), got .* \(8, 9\)"):
        share(w.ravel(), state)
    wrong = dataclasses.replace(state, frozen=state.frozen.astype(np.uint8))
    with pytest.raises(ValueError, match="`frozen` must be bool of .* got uint8"):
        next_stage(w, wrong, SLQ[4])


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(bits=1), "`bits` must be from 2 to 8, got 1"),
        (dict(counts=()), r"to 9, the number of centres at 4 bits, got \(\)"),
        (dict(counts=(3, 5)), r"got \(3, 5\)"),
        (dict(counts=(5, 5, 9)), r"got \(5, 5, 9\)"),
        (dict(counts=(0, 9)), r"got \(0, 9\)"),
        (dict(counts=(9, 17)), r"got \(9, 17\)"),
        (dict(partition="random"), "`partition` must be one of .*, got 'random'"),
        (dict(counts=[3, 5.0, 7, 9]), r"got \(3, 5.0, 7, 9\)"),
        (dict(passes=0), "`passes` must be at least 1, got 0"),
        (dict(passes=1.5), "`passes` must be at least 1, got 1.5"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**dict(dict(bits=4, counts=(3, 5, 7, 9)), **change))


def test_counts_may_be_a_list():
    assert Schedule(3, [3, 5]) == Schedule(3, (3, 5))


def test_a_single_number_keeps_its_shape():
    weight = np.array(1.5, np.float32)
    state = next_stage(weight, start(weight, TERNARY), TERNARY)
    assert state.index.shape == state.frozen.shape == ()
    state = next_stage(share(weight, state), state, TERNARY)
    assert share(weight, state) == weight


def test_the_schedules_by_bits_are_for_these_bits():
    assert all(schedule.bits == bits for bits, schedule in SLQ.items())
    assert SLQ[5].counts == (5, 9, 13, 15, 17)
