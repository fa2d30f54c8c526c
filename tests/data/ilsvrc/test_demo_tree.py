"""The demo's tree is whole or not there, and always the same."""

import hashlib
import os
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from sspq.data import DataError
from sspq.data.ilsvrc import demo_tree
from sspq.data.ilsvrc import tree as imagenet
from sspq.data.ilsvrc.flow import EvalFlow
from sspq.data.ilsvrc.scan import scan
from sspq.data.memory import digits


def content(root):
    """Every file below a folder, with its bytes."""
    return {
        os.path.relpath(os.path.join(folder, name), root): open(
            os.path.join(folder, name), "rb"
        ).read()
        for folder, _, names in os.walk(root)
        for name in names
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return demo_tree.write(tmp_path_factory.mktemp("demo") / "tree")


def test_it_is_an_ilsvrc_tree_of_sound_jpegs(root, tmp_path):
    tree = imagenet.find(root)
    assert tree.classes == demo_tree.CLASSES
    assert (len(tree.train), len(tree.val)) == (1437, 360)
    report = scan(tree, str(tmp_path), processes=0)
    assert report.counts() == {}


def test_its_labels_and_split_are_those_of_the_digits(root):
    tree, data = imagenet.find(root), digits.load()
    np.testing.assert_array_equal(tree.val.labels, data.test_labels)
    np.testing.assert_array_equal(np.bincount(tree.train.labels), np.bincount(data.train_labels))


def test_a_64_pixel_validation_image_shows_the_whole_digit(root):
    [(images, _)] = EvalFlow(imagenet.find(root).val, 360, 64, processes=0)
    borders = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], 1)
    assert borders.mean() < 3 < images.mean()  # black but for JPEG's noise
    mean = images.mean(axis=(0, 3))
    assert mean[:, 10:54].sum() > 0.97 * mean.sum()


def test_images_are_of_several_widths(root):
    tree = imagenet.find(root)
    shapes = {cv2.imread(tree.train.path(i)).shape for i in range(0, 1437, 7)}
    assert {shape[0] for shape in shapes} == {80} and len(shapes) > 2


def test_it_is_the_same_wherever_it_is_written(root, tmp_path):
    np.random.seed(7)
    assert content(demo_tree.write(tmp_path / "other")) == content(root)


def test_a_second_call_leaves_it_alone(root):
    before = {name: os.stat(os.path.join(root, name)).st_mtime_ns for name in content(root)}
    assert demo_tree.write(root) == root
    assert before == {n: os.stat(os.path.join(root, n)).st_mtime_ns for n in content(root)}


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(DataError, match="cannot be written there"):
        demo_tree.write(tmp_path)
    assert os.listdir(str(tmp_path)) == ["file"]


@pytest.mark.parametrize("others", [(), ("train", "val", "val.txt")])
def test_a_folder_with_a_readme_of_its_own_is_left_alone(others, tmp_path):
    for name in ("README", *others):
        (tmp_path / name).write_text("precious")
    with pytest.raises(DataError, match="cannot be written there"):
        demo_tree.write(tmp_path)
    assert set(content(str(tmp_path)).values()) == {b"precious"}


@pytest.mark.parametrize("name", ["train", "val", "val.txt"])
def test_a_tree_that_lost_a_part_is_not_taken_for_whole(name, root, tmp_path):
    for part in {"README", "train", "val", "val.txt"} - {name}:
        (tmp_path / part).symlink_to(os.path.join(root, part))
    with pytest.raises(DataError, match="cannot be written there"):
        demo_tree.write(tmp_path)


def test_an_empty_folder_is_used(root, tmp_path):
    assert content(demo_tree.write(tmp_path / ".")) == content(root)


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written there"):
        demo_tree.write(tmp_path / "file" / "tree")


def test_a_kill_leaves_nothing_or_all_of_it_and_the_next_call_finishes(root, tmp_path):
    target = tmp_path / "tree"
    script = "from sspq.data import demo_tree; print(1, flush=True); demo_tree.write(%r)"
    for delay in (0.05, 0.15, 0.3):
        command = [sys.executable, "-c", script % str(target)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.wait()
        if target.exists():
            assert content(str(target)) == content(root)
    demo_tree.write(target)
    assert content(str(target)) == content(root)
    assert os.listdir(str(tmp_path)) == ["tree"]


def test_its_bytes_are_known(root):
    """A demo of another day is about the same images: OpenCV, which encodes them, is pinned."""
    digest = hashlib.sha256()
    for name, data in sorted(content(root).items()):
        digest.update(name.encode() + b"\0" + data)
    expected = "24381a142d598dcdb167a6155e6cea57b09af6c84aa3c2f36d7390ec32caa8c7"
    assert digest.hexdigest() == expected
