"""tf.data gives the labels of the DataFlow and, in validation, its pixels."""

import os

import numpy as np
import pytest
from tensorpack.input_source import TFDatasetInput
from tensorpack.tfutils.common import get_default_sess_config

from sspq.compat import tf
from sspq.data import DataError
from sspq.data.ilsvrc import symbolic
from sspq.data.ilsvrc import tree as imagenet
from sspq.data.ilsvrc.flow import EvalFlow, TrainFlow
from sspq.data.ilsvrc.symbolic import eval_dataset, train_dataset
from tests.data import ilsvrc_tree as ilsvrc
from tests.data.ilsvrc_tree import BAD, UNUSUAL, encoded, picture, put

SIZE = 64
# TensorFlow reads GIFs under a JPEG's name, which OpenCV does not; the scan keeps both from them.
UNDECODABLE = sorted({*BAD, "link.JPEG"} - {"gif.JPEG"})


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return imagenet.find(ilsvrc.make(tmp_path_factory.mktemp("ilsvrc"), train=8, val=7))


def take(dataset, count=None):
    """The next batches, or all of them."""
    fetch = tf.data.make_initializable_iterator(dataset)
    batches = []
    with tf.Session(config=get_default_sess_config()) as session:
        session.run(fetch.initializer)
        element = fetch.get_next()
        while count is None or len(batches) < count:
            try:
                batches.append(session.run(element))
            except tf.errors.OutOfRangeError:
                break
    return batches


def assert_same(first, second, pixels=0):
    assert len(first) == len(second)
    for (a, x), (b, y) in zip(first, second):
        np.testing.assert_array_equal(x, y)
        assert a.shape == b.shape and a.dtype == b.dtype == np.uint8
        assert np.abs(a.astype(int) - b.astype(int)).max() <= pixels


@pytest.mark.parametrize("size", [32, 64, 224, 227])
@pytest.mark.parametrize("ranks, stretch", [(1, False), (2, False), (1, True)])
def test_validation_gives_the_labels_and_pixels_of_the_dataflow(tree, size, ranks, stretch):
    for rank in range(ranks):
        options = dict(rank=rank, ranks=ranks, stretch=stretch)
        flow = EvalFlow(tree.val, 3, size, processes=0, **options)
        dataset = eval_dataset(tree.val, 3, size, **options)
        assert_same(take(dataset), list(flow), pixels=1)


@pytest.mark.parametrize("height, width", [(40, 40), (64, 73), (73, 64), (31, 200), (333, 97)])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": 1}]
)
def test_images_of_every_shape_and_sampling_have_the_same_pixels(tmp_path, height, width, options):
    root = put(tmp_path, "train/n00000000/x.JPEG", encoded(picture(3, height, width), **options))
    images = imagenet.find(tmp_path, parts=["train"]).train
    assert root == images.path(0)
    assert_same(
        take(eval_dataset(images, 1, SIZE)), list(EvalFlow(images, 1, SIZE, processes=0)), pixels=1
    )


@pytest.mark.parametrize("name", sorted(UNUSUAL))
def test_unusual_files_have_the_same_pixels(tmp_path, name):
    put(tmp_path, "train/n00000000/" + name, UNUSUAL[name][1]())
    images = imagenet.find(tmp_path, parts=["train"]).train
    flow = list(EvalFlow(images, 1, SIZE, processes=0))
    # CMYK becomes RGB by other roundings in TensorFlow than in OpenCV.
    assert_same(take(eval_dataset(images, 1, SIZE)), flow, pixels=2 if "cmyk" in name else 1)


@pytest.mark.parametrize("rank, ranks", [(0, 1), (1, 3)])
def test_training_gives_the_labels_of_the_dataflow_epoch_after_epoch(tree, rank, ranks):
    options = dict(seed=3, first_epoch=2, augmentation=None, rank=rank, ranks=ranks)
    flow = TrainFlow(tree.train, 4, SIZE, processes=0, **options)
    expected = list(flow) + list(flow) + list(flow)
    dataset = train_dataset(tree.train, 4, SIZE, **options)
    assert_same(take(dataset, len(expected)), expected, pixels=1)


def test_augmentation_is_a_function_of_seed_epoch_and_image(tree):
    first = take(train_dataset(tree.train, 8, SIZE, seed=5, parallel=1), 6)
    assert_same(take(train_dataset(tree.train, 8, SIZE, seed=5, parallel=4), 6), first)
    resumed = train_dataset(tree.train, 12, SIZE, seed=5, first_epoch=2)
    second_epoch = np.concatenate([images for images, _ in first[3:]])
    np.testing.assert_array_equal(np.concatenate([x for x, _ in take(resumed, 2)]), second_epoch)
    other = take(train_dataset(tree.train, 8, SIZE, seed=6), 3)
    assert {a.tobytes() for x, _ in other for a in x}.isdisjoint(
        a.tobytes() for x, _ in first for a in x
    )


def test_a_dataset_begins_anew_whenever_its_iterator_does(tree):
    fetch = tf.data.make_initializable_iterator(train_dataset(tree.train, 8, SIZE, seed=5))
    element = fetch.get_next()
    with tf.Session() as session:
        passes = []
        for _ in range(2):
            session.run(fetch.initializer)
            passes.append([session.run(element) for _ in range(4)])
    assert_same(*passes)


def test_tensorpack_takes_the_datasets_for_an_input(tree):
    signature = [
        tf.TensorSpec([None, SIZE, SIZE, 3], tf.uint8, "input"),
        tf.TensorSpec([None], tf.int32, "label"),
    ]
    for dataset in (train_dataset(tree.train, 4, SIZE), eval_dataset(tree.val, 4, SIZE)):
        source = TFDatasetInput(dataset)
        source.setup(signature)
        images, labels = source.get_input_tensors()
        with tf.Session() as session, session.as_default():
            source.reset_state()
            assert session.run([images, labels])[0].shape == (4, SIZE, SIZE, 3)


def test_the_graph_does_not_hold_the_file_names(tree):
    take(train_dataset(tree.train, 4, SIZE), 1)
    graph = tf.get_default_graph().as_graph_def().SerializeToString()
    assert b".JPEG" not in graph


@pytest.fixture
def defects(tmp_path):
    root = ilsvrc.make(tmp_path / "tree")
    ilsvrc.add_defects(root)
    return imagenet.find(root)


def test_files_that_cannot_be_decoded_are_left_out_of_training_and_counted(defects, monkeypatch):
    said = []
    monkeypatch.setattr(symbolic.logger, "warn", said.append)
    images = defects.train
    bad = [i for i in range(len(images)) if images.file(i).split("/")[-1] in UNDECODABLE]
    expected = [
        images.labels[i]
        for epoch in (1, 2, 3)
        for i in images.order(seed=1, epoch=epoch)[: len(images) // 4 * 4]
        if i not in bad
    ]
    batches = take(train_dataset(images, 4, SIZE, seed=1, augmentation=None), 10)
    shown = np.concatenate([labels for _, labels in batches])
    np.testing.assert_array_equal(shown, expected[: len(shown)])
    for i in bad:
        assert any(images.file(i) in text for text in said)
    assert f"{len(bad)} files so far" in said[-1]


def test_evaluation_stops_and_names_a_file_that_cannot_be_decoded(defects):
    with pytest.raises(tf.errors.OpError, match="val/empty.JPEG.*cannot be decoded"):
        take(eval_dataset(defects.val, 5, SIZE))


def test_evaluation_stops_even_if_the_last_file_is_the_bad_one(tmp_path):
    root = ilsvrc.make(tmp_path)
    put(root, "val/zlast.JPEG", b"")
    put(root, "val.txt", open(root + "/val.txt").read() + "zlast.JPEG 0\n")
    with pytest.raises(tf.errors.OpError, match="val/zlast.JPEG: cannot be decoded"):
        take(eval_dataset(imagenet.find(root).val, 5, SIZE))


def test_evaluation_skips_files_that_cannot_be_decoded_if_told_so(defects, monkeypatch):
    said = []
    monkeypatch.setattr(symbolic.logger, "warn", said.append)
    batches = take(eval_dataset(defects.val, 5, SIZE, skip_bad=True))
    assert sum(len(labels) for _, labels in batches) == len(defects.val) - len(BAD) + 1
    names = {*UNDECODABLE} - {"link.JPEG"}
    assert all(any(name in text for text in said) for name in names)


@pytest.mark.parametrize(
    "options, text",
    [
        (dict(batch=25), "`batch` must be an int from 1 to 24"),
        (dict(rank=1), "`rank`"),
        (dict(seed=-1), "`seed`"),
        (dict(image_size=0), "`image_size`"),
        (dict(first_epoch=0), "`first_epoch`"),
        (dict(parallel=0), "`parallel`"),
    ],
)
def test_an_argument_out_of_its_range_is_an_error(tree, options, text):
    with pytest.raises(DataError, match=text):
        train_dataset(tree.train, **{"batch": 4, **options})


def test_training_ends_where_no_file_can_be_decoded_any_more(tmp_path):
    images = imagenet.find(ilsvrc.make(tmp_path / "gone", train=8, val=1)).train
    for name in images.files:
        os.truncate(os.path.join(images.folder, os.fsdecode(name)), 20)
    told = []
    assert take(train_dataset(images, 4, SIZE, parallel=2, fail=told.append)) == []
    assert "cannot decode train/" in str(told[0]) and str(images.folder) in str(told[0])


@pytest.mark.parametrize("limit", [1, 100])
def test_a_limit_is_that_of_the_dataflow(tree, limit):
    options = dict(batch=3, image_size=SIZE, seed=1, augmentation=None, limit=limit)
    flow = TrainFlow(tree.train, processes=0, **options)
    expected = [labels for _ in range(2) for _, labels in flow]
    batches = take(train_dataset(tree.train, **options), len(expected))
    np.testing.assert_array_equal([labels for _, labels in batches], expected)
