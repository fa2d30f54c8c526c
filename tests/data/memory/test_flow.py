"""A pass over the flow is a function of the seed and the epoch, and of nothing else."""

import dataclasses

import numpy as np
import pytest
from tensorpack.dataflow import RepeatedData, imgaug
from tensorpack.dataflow.imgaug.transform import CropTransform, FlipTransform

from sspq.data import DataError, Dataset, load
from sspq.data.memory.flow import TestFlow, TrainFlow, augment, training_mean


@pytest.fixture(scope="module")
def dataset():
    """Noise, so that no two images are alike in any place, with labels that tell them apart."""
    rng = np.random.RandomState(0)
    images = rng.randint(0, 256, (70, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(70, dtype=np.int64)
    return Dataset("noise", images[:50], labels[:50], images[50:], labels[50:], 70, mirror=True)


def epochs(flow, count):
    """The next ``count`` epochs, each as its images and its labels."""
    passes = [list(flow) for _ in range(count)]
    return [[np.concatenate(parts) for parts in zip(*batches)] for batches in passes]


def assert_same(first, second):
    for a, b in zip(first, second):
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)


def windows(image):
    """All 81 windows of the pasted image, as they are and mirrored, as bytes."""
    canvas = np.zeros((40, 40, 3), np.uint8)
    canvas[4:36, 4:36] = image
    places = [(top, left) for top in range(9) for left in range(9)]
    cut = [canvas[top : top + 32, left : left + 32] for top, left in places]
    return {c.tobytes(): p for c, p in zip(cut, places)}, {
        c[:, ::-1].tobytes(): p for c, p in zip(cut, places)
    }


def restored(flow_images, dataset):
    """The uint8 images before the mean was subtracted."""
    return np.rint(flow_images + training_mean(dataset)).astype(np.uint8)


def test_the_mean_is_the_one_of_the_training_images(dataset):
    mean = training_mean(dataset)
    assert mean.shape == (32, 32, 3) and mean.dtype == np.float32
    np.testing.assert_allclose(mean, dataset.train_images.astype(float).mean(axis=0), rtol=1e-6)


def test_batches_are_float_images_and_int_labels_of_the_full_size(dataset):
    flow = TrainFlow(dataset, batch=16, seed=0)
    batches = list(flow)
    assert len(batches) == len(flow) == 3
    for images, labels in batches:
        assert images.shape == (16, 32, 32, 3) and images.dtype == np.float32
        assert labels.shape == (16,) and labels.dtype == np.int32


def test_an_epoch_shows_every_image_at_most_once(dataset):
    [(_, labels)] = epochs(TrainFlow(dataset, batch=16, seed=0), 1)
    assert len(set(labels)) == 48
    [(_, labels)] = epochs(TrainFlow(dataset, batch=10, seed=0), 1)
    assert sorted(labels) == list(range(50))


def test_two_flows_with_the_same_seed_are_equal_whatever_numpy_was_seeded_with(dataset):
    np.random.seed(1)
    first = epochs(TrainFlow(dataset, batch=16, seed=3), 2)
    np.random.seed(2)
    assert_same(first, epochs(TrainFlow(dataset, batch=16, seed=3), 2))


def test_another_seed_gives_another_order_and_other_crops(dataset):
    (a, order_a), (b, order_b) = [epochs(TrainFlow(dataset, 50, seed), 1)[0] for seed in (0, 1)]
    assert (order_a != order_b).any()
    assert (a[np.argsort(order_a)] != b[np.argsort(order_b)]).any()


def test_another_epoch_gives_another_order_and_other_crops(dataset):
    (a, order_a), (b, order_b) = epochs(TrainFlow(dataset, batch=50, seed=0), 2)
    assert (order_a != order_b).any()
    assert (a[np.argsort(order_a)] != b[np.argsort(order_b)]).any()


def test_a_run_resumed_at_an_epoch_sees_what_the_uninterrupted_run_sees(dataset):
    whole = epochs(TrainFlow(dataset, batch=16, seed=7), 4)
    assert_same(whole[2:], epochs(TrainFlow(dataset, batch=16, seed=7, first_epoch=3), 2))


def test_a_pass_that_was_given_up_and_one_in_between_change_nothing(dataset):
    whole = epochs(TrainFlow(dataset, batch=16, seed=7), 3)
    flow = TrainFlow(dataset, batch=16, seed=7)
    given_up = iter(flow)
    next(given_up)
    second = iter(flow)
    first_batch = next(second)
    [third] = epochs(flow, 1)
    rest = [np.concatenate(parts) for parts in zip(first_batch, *second)]
    assert_same([rest, third], whole[1:])


def test_tensorpack_repeats_the_flow_epoch_by_epoch(dataset):
    repeated = RepeatedData(TrainFlow(dataset, batch=25, seed=7), 2)
    repeated.reset_state()
    labels = np.concatenate([labels for _, labels in repeated])
    expected = epochs(TrainFlow(dataset, batch=25, seed=7), 2)
    np.testing.assert_array_equal(labels, np.concatenate([order for _, order in expected]))


def test_the_draw_of_an_image_does_not_depend_on_the_batch_size(dataset):
    [large] = epochs(TrainFlow(dataset, batch=50, seed=0), 1)
    [small] = epochs(TrainFlow(dataset, batch=10, seed=0), 1)
    assert_same([large], [small])


def test_every_training_image_is_a_window_of_the_image_of_its_label_minus_the_mean(dataset):
    passes = epochs(TrainFlow(dataset, batch=50, seed=0), 3)
    places, mirrored = set(), 0
    for images, labels in passes:
        for image, label in zip(restored(images, dataset), labels):
            as_is, flipped = windows(dataset.train_images[label])
            mirrored += image.tobytes() in flipped
            places.add({**as_is, **flipped}[image.tobytes()])
    assert {top for top, _ in places} == {left for _, left in places} == set(range(9))
    assert 50 < mirrored < 100  # half of 150


def test_digits_are_moved_but_never_mirrored():
    digits = load("digits")
    few = dataclasses.replace(
        digits, train_images=digits.train_images[:40], train_labels=digits.train_labels[:40]
    )
    known = {}
    for image in few.train_images:
        known.update(windows(image)[0])
    passes = epochs(TrainFlow(few, batch=40, seed=0), 3)
    places = {known[image.tobytes()] for images, _ in passes for image in restored(images, few)}
    assert len(places) > 40


def test_without_augmentation_images_are_only_shuffled(dataset):
    [(images, labels)] = epochs(TrainFlow(dataset, batch=50, seed=0, augment=False), 1)
    assert (labels != np.arange(50)).any()
    np.testing.assert_array_equal(restored(images, dataset), dataset.train_images[labels])


def test_augmentation_equals_the_one_of_tensorpack_for_the_same_draw(dataset):
    tops, lefts = np.arange(50) % 9, np.arange(50) * 2 % 9
    flips = np.arange(50) % 2 == 0
    ours = augment(dataset.train_images, tops, lefts, flips)
    paste = imgaug.CenterPaste((40, 40))
    for i, image in enumerate(dataset.train_images):
        theirs = CropTransform(tops[i], lefts[i], 32, 32).apply_image(paste.augment(image))
        if flips[i]:
            theirs = FlipTransform(32, 32, True).apply_image(theirs)
        np.testing.assert_array_equal(ours[i], theirs)


def test_the_images_of_the_data_set_stay_as_they_are(dataset):
    before = dataset.train_images.copy()
    epochs(TrainFlow(dataset, batch=16, seed=0), 1)
    np.testing.assert_array_equal(dataset.train_images, before)


@pytest.mark.parametrize("batch", [1, 7, 10, 20, 1000])
def test_the_test_flow_gives_every_image_once_and_in_order(dataset, batch):
    flow = TestFlow(dataset, batch)
    for _ in range(2):
        batches = list(flow)
        assert len(batches) == len(flow)
        assert all(len(images) == batch for images, _ in batches[:-1])
        images, labels = [np.concatenate(parts) for parts in zip(*batches)]
        assert images.dtype == np.float32 and labels.dtype == np.int32
        np.testing.assert_array_equal(labels, dataset.test_labels)
        np.testing.assert_array_equal(images, dataset.test_images - training_mean(dataset))


def test_a_batch_of_all_training_images_is_the_largest(dataset):
    assert len(TrainFlow(dataset, batch=50, seed=0)) == 1
    with pytest.raises(DataError, match="from 1 to 50 .50 images to train on, 1 ranks., got 51"):
        TrainFlow(dataset, batch=51, seed=0)


@pytest.mark.parametrize(
    "argument, value",
    [
        ("batch", 0),
        ("batch", 2.0),
        ("batch", True),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", None),
        ("first_epoch", 0),
        ("rank", 1),
        ("limit", 0),
    ],
)
def test_an_argument_out_of_its_range_is_named_with_its_value(dataset, argument, value):
    arguments = {"batch": 16, "seed": 0, argument: value}
    with pytest.raises(DataError, match=f"`{argument}` must be an int .* got {value}"):
        TrainFlow(dataset, **arguments)


def test_a_test_batch_of_no_images_is_refused(dataset):
    with pytest.raises(DataError, match="`batch` must be an int from 1 .* got 0"):
        TestFlow(dataset, 0)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_deal_an_epoch_out_among_them(dataset, ranks):
    [[alone, _]] = epochs(TrainFlow(dataset, 1, seed=3, first_epoch=2), 1)
    flows = [TrainFlow(dataset, 4, 3, 2, rank=rank, ranks=ranks) for rank in range(ranks)]
    shares = [epochs(flow, 1)[0][0] for flow in flows]
    assert {len(share) for share in shares} == {len(flows[0]) * 4}
    for rank, share in enumerate(shares):
        np.testing.assert_array_equal(share, alone[rank::ranks][: len(share)])


def test_ranks_share_the_test_images(dataset):
    shares = [epochs(TestFlow(dataset, 3, rank, 3), 1)[0] for rank in range(3)]
    [[images, labels]] = epochs(TestFlow(dataset, 100), 1)
    for rank, (share, own) in enumerate(shares):
        np.testing.assert_array_equal(share, images[rank::3])
        np.testing.assert_array_equal(own, labels[rank::3])


def test_a_limit_leaves_batches_out_of_every_pass(dataset):
    whole, cut = (epochs(TrainFlow(dataset, 8, 0, limit=n), 2) for n in (None, 4))
    assert [len(images) for images, _ in cut] == [32, 32]
    assert_same(cut, [[values[:32] for values in epoch] for epoch in whole])
