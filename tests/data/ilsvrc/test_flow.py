"""Batches of ILSVRC images depend on seed and epoch, and not on the processes that make them."""

import os

import cv2
import numpy as np
import pytest
from tensorpack.dataflow import RepeatedData

from sspq.data import DataError
from sspq.data.ilsvrc import tree as imagenet
from sspq.data.ilsvrc.augment import CAFFE, RELEASED, Augmentation, Augmentor
from sspq.data.ilsvrc.flow import EvalFlow, TrainFlow, decode
from sspq.data.ilsvrc.scan import scan
from tests.data import ilsvrc_tree as ilsvrc
from tests.data.ilsvrc_tree import BAD, CLASSES, UNUSUAL, put

SIZE = 32
ONE_BY_ONE = "sspq.data.ilsvrc.flow._CHUNK"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return imagenet.find(ilsvrc.make(tmp_path_factory.mktemp("ilsvrc"), train=8, val=7))


def train(tree, batch=8, processes=0, **options):
    return TrainFlow(tree.train, batch, SIZE, processes=processes, **options)


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second):
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("augmentation", [RELEASED, CAFFE, None])
def test_batches_are_uint8_bgr_images_and_int32_labels(tree, augmentation):
    flow = train(tree, batch=10, augmentation=augmentation)
    batches = list(flow)
    assert len(batches) == len(flow) == 2
    for images, labels in batches:
        assert images.shape == (10, SIZE, SIZE, 3) and images.dtype == np.uint8
        assert labels.shape == (10,) and labels.dtype == np.int32


def test_an_epoch_shows_every_image_once(tree):
    labels = np.concatenate([labels for _, labels in train(tree)])
    assert np.bincount(labels).tolist() == [8, 8, 8]
    images = np.concatenate([images for images, _ in train(tree, augmentation=None)])
    assert len({image.tobytes() for image in images}) == 24


def test_images_and_labels_belong_together(tree):
    expected = {}
    whole = EvalFlow(tree.train, 24, SIZE, processes=0)
    for images, labels in whole:
        expected = {image.tobytes(): label for image, label in zip(images, labels)}
    for images, labels in train(tree, augmentation=None):
        assert [expected[image.tobytes()] for image in images] == labels.tolist()


@pytest.mark.parametrize("processes", [1, 3])
def test_the_number_of_processes_changes_nothing(tree, processes, monkeypatch):
    one = train(tree, seed=5)
    whole = list(one) + list(one)
    monkeypatch.setattr(ONE_BY_ONE, 3)  # many tasks, so that they could come out of order
    flow = train(tree, seed=5, processes=processes)
    assert_same(list(flow) + list(flow), whole)


def test_a_run_resumed_at_an_epoch_sees_what_the_uninterrupted_run_sees(tree):
    flow = train(tree, seed=7)
    whole = [list(flow) for _ in range(3)]
    assert_same(list(train(tree, seed=7, first_epoch=3)), whole[2])
    assert any((a[0] != b[0]).any() for a, b in zip(whole[0], whole[1]))


def test_a_pass_that_was_given_up_changes_nothing(tree):
    flow = train(tree, seed=7, processes=2)
    next(iter(flow))
    assert_same(list(flow), list(train(tree, seed=7, first_epoch=2)))


def test_tensorpack_repeats_the_flow_epoch_by_epoch(tree):
    repeated = RepeatedData(train(tree, seed=7, processes=2), 2)
    repeated.reset_state()
    flow = train(tree, seed=7)
    assert_same(list(repeated), list(flow) + list(flow))


def test_ranks_train_on_different_images_in_as_many_steps(tree):
    flows = [
        TrainFlow(tree.train, 4, SIZE, augmentation=None, rank=r, ranks=3, processes=0)
        for r in range(3)
    ]
    batches = [list(flow) for flow in flows]
    assert [len(flow) for flow in flows] == [len(b) for b in batches] == [2, 2, 2]
    shown = {image.tobytes() for rank in batches for images, _ in rank for image in images}
    assert len(shown) == 24


def test_evaluation_gives_every_image_once_and_in_order(tree):
    flow = EvalFlow(tree.val, 3, SIZE, processes=2)
    for _ in range(2):
        batches = list(flow)
        assert [len(labels) for _, labels in batches] == [3, 3, 1] and len(flow) == 3
        np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), tree.val.labels)


def test_evaluation_stretches_images_if_told_so(tree):
    [(images, _)] = EvalFlow(tree.val, 7, SIZE, processes=0, stretch=True)
    augmentor = Augmentor(SIZE, None, stretch=True)
    for i, image in enumerate(images):
        np.testing.assert_array_equal(image, augmentor(decode(tree.val.path(i))))


@pytest.mark.parametrize("ranks", [2, 3, 9])
def test_ranks_evaluate_every_image_once(tree, ranks):
    [(whole, _)] = EvalFlow(tree.val, 7, SIZE, processes=0)
    flows = [EvalFlow(tree.val, 2, SIZE, rank=r, ranks=ranks, processes=0) for r in range(ranks)]
    batches = [batch for flow in flows for batch in flow]
    assert sum(map(len, flows)) == len(batches)
    images = [image.tobytes() for images, _ in batches for image in images]
    assert sorted(images) == sorted(image.tobytes() for image in whole)


def test_a_rotation_in_the_metadata_is_not_applied(tmp_path):
    from PIL import Image

    pixels = ilsvrc.picture(0, 40, 60)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    path = put(tmp_path, "x.JPEG", ilsvrc.encoded(pixels, exif=exif))
    assert cv2.imread(path).shape == (60, 40, 3)
    assert decode(path).shape == (40, 60, 3)


@pytest.fixture
def defects(tmp_path):
    root = ilsvrc.make(tmp_path / "tree")
    ilsvrc.add_defects(root)
    return imagenet.find(root)


def test_a_tree_with_every_defect_trains_and_evaluates_on_the_rest(defects, tmp_path):
    report = scan(defects, str(tmp_path / "cache"), processes=0)
    flow = TrainFlow(report.for_training(defects.train), 16, SIZE, processes=2)
    assert sum(len(labels) for _, labels in flow) == 16 == 12 + len(UNUSUAL)
    assert flow.bad_files == ()
    usable = report.for_evaluation(defects.val, skip_bad=True)
    assert sum(len(labels) for _, labels in EvalFlow(usable, 4, SIZE, processes=2)) == 10


def undecodable(images):
    return {images.file(i) for i in range(len(images)) if decode(images.path(i)) is None}


def test_what_the_scan_could_not_know_is_replaced_in_training_and_counted(defects):
    bad = undecodable(defects.train)
    assert {os.path.basename(file) for file in bad} >= {"text.JPEG", "gif.JPEG", "empty.JPEG"}
    flow = TrainFlow(defects.train, len(defects.train), SIZE, processes=2)
    for _ in range(2):
        [(images, labels)] = flow
        assert len(images) == len(labels) == len(defects.train)
        assert set(flow.bad_files) == bad
    again = TrainFlow(defects.train, len(defects.train), SIZE, processes=0, first_epoch=2)
    assert_same(list(again), [[images, labels]])


def test_training_without_any_usable_file_is_an_error(tmp_path):
    for i in range(3):
        put(tmp_path, f"train/{CLASSES[0]}/{i}.JPEG", BAD["text.JPEG"][1]())
    images = imagenet.find(tmp_path, parts=["train"]).train
    with pytest.raises(DataError, match="cannot decode train/"):
        list(TrainFlow(images, 2, SIZE, processes=0))


@pytest.mark.parametrize("processes", [0, 2])
def test_what_the_scan_could_not_know_stops_evaluation_by_name(defects, processes):
    with pytest.raises(DataError, match="val/empty.JPEG.*cannot be decoded.*--skip-bad"):
        list(EvalFlow(defects.val, 50, SIZE, processes=processes))


@pytest.mark.parametrize("batch", [1, 50])
def test_what_the_scan_could_not_know_is_skipped_if_told_so(defects, batch):
    flow = EvalFlow(defects.val, batch, SIZE, skip_bad=True, processes=0)
    batches = list(flow)
    bad = undecodable(defects.val)
    assert sum(len(labels) for _, labels in batches) == len(defects.val) - len(bad)
    assert set(flow.bad_files) == bad and all(len(labels) for _, labels in batches)


@pytest.mark.parametrize(
    "options, text",
    [
        (dict(batch=0), "`batch` must be an int from 1 to 24 .24 images to train on, 1 ranks"),
        (dict(batch=13, ranks=2), "from 1 to 12 .24 images to train on, 2 ranks"),
        (dict(rank=2, ranks=2), "`rank` must be an int from 0 to 1 .there are 2."),
        (dict(ranks=0), "`ranks`"),
        (dict(seed=-1), "`seed`"),
        (dict(first_epoch=0), "`first_epoch`"),
        (dict(processes=-1), "`processes`"),
    ],
)
def test_an_argument_out_of_its_range_is_an_error(tree, options, text):
    with pytest.raises(DataError, match=text):
        train(tree, **options)


def test_the_demo_s_augmentation_can_leave_mirroring_out(tree):
    options = dict(area=(1.0, 1.0), colour=False)
    plain = train(tree, augmentation=Augmentation(mirror=False, **options))
    mirrored = train(tree, augmentation=Augmentation(mirror=True, **options))
    same = [
        (a == b).all() or (a == b[:, ::-1]).all()
        for (xs, _), (ys, _) in zip(plain, mirrored)
        for a, b in zip(xs, ys)
    ]
    assert all(same)
