"""What the ImageNet scripts' options make of an ILSVRC folder, without training on it."""

import numpy as np
import pytest
from tensorpack.input_source import TFDatasetInput

from sspq.compat import tf
from sspq.data.ilsvrc import tree as imagenet
from sspq.experiments.inputs import FolderInput
from sspq.models import ImageNetSSPQ
from sspq.training.distributed import Processes
from tests.data import ilsvrc_tree as ilsvrc
from tests.experiments.imagenet_steps import SMALL, read_options, run

CLASSES = ilsvrc.CLASSES
PREPARED = ImageNetSSPQ(image_size=32).preprocessing


def read(data, *options):
    """The input that the script would train on."""
    return FolderInput(read_options("SSQ_S1", *SMALL, "--data", data, *options).images, Processes())


def epoch(folder_input):
    """Images and labels of the first epoch's batches."""
    flow = folder_input.training(PREPARED, 4, 1, 1).ds
    flow.reset_state()
    return [np.concatenate(parts) for parts in zip(*flow)]


@pytest.fixture(scope="module")
def plain(tree):
    """The first epoch with the released options."""
    return epoch(read(tree))


@pytest.mark.parametrize(
    "options",
    [("--seed", 1), ("--no-mirror",), ("--no-colour",), ("--min-area", 0.9)],
    ids=lambda options: options[0],
)
def test_options_of_data_change_the_images(tree, plain, options):
    images, labels = epoch(read(tree, *options))
    assert images.shape == plain[0].shape and (images != plain[0]).any()
    assert (labels != plain[1]).any() == (options[0] == "--seed")


@pytest.mark.slow
def test_the_number_of_reading_processes_changes_nothing(tree, plain):
    for again in (epoch(read(tree)), epoch(read(tree, "--processes", 2))):
        for one, other in zip(plain, again):
            np.testing.assert_array_equal(one, other)


def test_symbolic_reads_the_same_labels_by_tf_data(tree, plain):
    source = read(tree, "--symbolic").training(PREPARED, 4, 1, 1)
    assert isinstance(source, TFDatasetInput)
    source.setup(
        [
            tf.TensorSpec([None, 32, 32, 3], tf.uint8, "input"),
            tf.TensorSpec([None], tf.int32, "label"),
        ]
    )
    images, labels = source.get_input_tensors()
    with tf.Session() as session, session.as_default():
        source.reset_state()
        got = [session.run([images, labels]) for _ in range(3)]
    assert {x.shape for x, _ in got} == {(4, 32, 32, 3)}
    np.testing.assert_array_equal(np.concatenate([y for _, y in got]), plain[1])


def test_the_classes_order_of_official_files_is_taken(tmp_path):
    tree = ilsvrc.make(tmp_path / "tree", flat=False)
    ilsvrc.put(tmp_path, "meta/synsets.txt", "".join(c + "\n" for c in CLASSES[::-1]))
    meta = tmp_path / "meta"
    assert imagenet.find(tree, str(meta)).classes == CLASSES[::-1]
    (images, labels), (same, others) = [
        epoch(read(tree, *options)) for options in (("--meta-dir", meta), ())
    ]
    np.testing.assert_array_equal(images, same)
    np.testing.assert_array_equal(labels, 2 - others)


def test_a_tree_with_every_defect_trains_and_evaluation_names_the_files(tmp_path, capsys):
    tree = ilsvrc.make(tmp_path / "tree")
    ilsvrc.add_defects(tree)
    assert run("SSQ_S1", "--data", tree, "--epochs", 1, "--log", tmp_path / "no") == 2
    error = capsys.readouterr().err
    for name in ilsvrc.BAD:
        assert "val/" + name in error
    assert "--skip-bad" in error and "Traceback" not in error
    data = read(tree, "--skip-bad")
    facts, usable = data.facts(), 12 + len(ilsvrc.UNUSUAL)
    assert facts["train_images"] == usable
    assert facts["test_images"] == 6 + len(ilsvrc.UNUSUAL)
    assert facts["found"]["truncated"] == 10
    assert len(epoch(data)[1]) == usable // 4 * 4
    assert sum(len(labels) for _, labels in data.validation(PREPARED)) == facts["test_images"]


def test_a_batch_beyond_the_images_is_refused(tree, tmp_path, capsys):
    assert run("SSQ_S1", "--data", tree, "--batch", 13, "--log", tmp_path) == 2
    assert "`--batch` must be at most the 12 training images, got 13" in capsys.readouterr().err


def test_the_environment_names_the_folder(monkeypatch):
    monkeypatch.setenv("Imagenet_Path", "/data/imagenet")
    assert read_options("SSQ_S1").images.data == "/data/imagenet"
