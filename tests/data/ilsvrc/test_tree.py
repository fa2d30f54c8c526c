"""Which files an ILSVRC folder holds, and which class each one shows."""

import os
import shutil
import socket

import numpy as np
import pytest
from scipy.io import savemat

from sspq.data import DataError
from sspq.data.ilsvrc import tree as imagenet
from tests.data.ilsvrc_tree import CLASSES, encoded, make, picture, put, val_name

VAL_LABELS = [1, 2, 0, 1, 2, 0]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Nothing here may reach for the network, not even where a file is missing."""

    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def labels_by_name(images):
    return {os.path.basename(images.file(i)): images.labels[i] for i in range(len(images))}


@pytest.mark.parametrize("flat", [True, False])
def test_both_layouts_give_the_same_labels(tmp_path, flat):
    tree = imagenet.find(make(tmp_path, flat=flat))
    assert tree.classes == CLASSES
    assert tree.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    expected = {val_name(i + 1): label for i, label in enumerate(VAL_LABELS)}
    assert labels_by_name(tree.val) == expected
    assert tree.val.labels.dtype == np.int32
    assert (tree.foreign, tree.empty, tree.missing) == ((), (), ())


@pytest.mark.parametrize("flat", [True, False])
def test_every_file_is_there_and_named_from_the_root(tmp_path, flat):
    root = make(tmp_path, flat=flat)
    for images in imagenet.find(root).parts.values():
        for i in range(len(images)):
            assert os.path.isfile(images.path(i))
            assert os.path.join(root, images.file(i)) == images.path(i)


def test_classes_are_numbered_in_the_sorted_order_of_the_wordnet_ids(tmp_path):
    for name in ("n03000000", "n01000000", "n02000000"):
        put(tmp_path, f"train/{name}/x.JPEG", encoded(picture(0)))
    tree = imagenet.find(tmp_path, parts=["train"])
    assert tree.classes == ("n01000000", "n02000000", "n03000000")
    assert [tree.train.file(i)[6:15] for i in range(3)] == list(tree.classes)


@pytest.mark.parametrize("folder", ["", "val"])
@pytest.mark.parametrize(
    "name, line",
    [
        ("val.txt", "{name} {label}"),
        ("val.txt", "{name} {wnid}"),
        ("val.txt", "val/{name} {label}"),
        ("imagenet_2012_validation_synset_labels.txt", "{wnid}"),
        ("LOC_val_solution.csv", "{stem},{wnid} 1 2 30 40 {wnid} 5 6 7 8 "),
    ],
)
def test_every_form_of_label_file_gives_the_same_labels(tmp_path, folder, name, line):
    root = make(tmp_path, labels=False)
    lines = ["ImageId,PredictionString"] if name.endswith(".csv") else []
    for i, label in enumerate(VAL_LABELS):
        image = val_name(i + 1)
        facts = dict(name=image, stem=image[:-5], label=label, wnid=CLASSES[label])
        lines.append(line.format(**facts))
    put(root, os.path.join(folder, name), "\n".join(lines) + "\n")
    tree = imagenet.find(root)
    assert tree.val.labels.tolist() == VAL_LABELS
    assert tree.foreign == ()


def write_devkit(root, numbers):
    """The development kit's files, with its numbers of the three classes."""
    rows = [(number, name, "words") for name, number in zip(CLASSES, numbers)]
    rows.append((1001, "n00001740", "an inner node"))
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")]
    os.makedirs(os.path.join(root, "data"), exist_ok=True)
    mat = os.path.join(root, "data", "meta.mat")
    savemat(mat, {"synsets": np.array(rows, kinds).reshape(-1, 1)})
    lines = [f"{numbers[label]}\n" for label in VAL_LABELS]
    put(root, "data/ILSVRC2012_validation_ground_truth.txt", "".join(lines))


def test_the_development_kit_s_own_numbers_are_translated(tmp_path):
    root = make(tmp_path / "tree", labels=False)
    write_devkit(str(tmp_path / "devkit"), numbers=(3, 1, 2))
    tree = imagenet.find(root, meta_dir=tmp_path / "devkit")
    assert tree.classes == CLASSES
    assert tree.val.labels.tolist() == VAL_LABELS


def test_the_development_kit_s_numbers_alone_are_not_taken_for_class_numbers(tmp_path):
    root = make(tmp_path, labels=False)
    write_devkit(root, numbers=(3, 1, 2))
    os.remove(os.path.join(root, "data", "meta.mat"))
    with pytest.raises(DataError, match="expected the kit's meta.mat"):
        imagenet.find(root)


def test_the_official_files_give_the_class_order(tmp_path):
    root = make(tmp_path / "tree", labels=False)
    order = ("n00000001",) + CLASSES  # one that the tree does not have
    put(tmp_path, "meta/synsets.txt", "\n".join(order) + "\n")
    lines = [f"{val_name(i + 1)} {label + 1}\n" for i, label in enumerate(VAL_LABELS)]
    put(tmp_path, "meta/val.txt", "".join(lines))
    tree = imagenet.find(root, meta_dir=tmp_path / "meta")
    assert tree.classes == order
    assert tree.train.labels.tolist() == [1] * 4 + [2] * 4 + [3] * 4
    assert tree.val.labels.tolist() == [label + 1 for label in VAL_LABELS]
    assert tree.empty == ("train/n00000001",)


def test_evaluation_needs_no_training_images(tmp_path):
    root = make(tmp_path, flat=False)
    shutil.rmtree(os.path.join(root, "train"))
    tree = imagenet.find(root, parts=["val"])
    assert tree.classes == CLASSES
    assert sorted(tree.val.labels) == sorted(VAL_LABELS)


def test_class_numbers_are_enough_to_evaluate_a_flat_folder(tmp_path):
    root = make(tmp_path)
    shutil.rmtree(os.path.join(root, "train"))
    tree = imagenet.find(root, parts=["val"])
    assert tree.classes == ()
    assert tree.val.labels.tolist() == VAL_LABELS


def test_what_does_not_belong_is_listed_and_not_used(tmp_path):
    root = make(tmp_path)
    for name in (f"train/{CLASSES[0]}/._a.JPEG", "train/a.JPEG", "train/@eaDir/b.JPEG"):
        put(root, name, b"x")
    put(root, "val/README", b"x")
    os.makedirs(os.path.join(root, "train", "n05555555"))
    tree = imagenet.find(root)
    assert len(tree.train) == 12 and len(tree.val) == 6
    assert set(tree.foreign) == {
        f"train/{CLASSES[0]}/._a.JPEG",
        "train/a.JPEG",
        "train/@eaDir",
        "val/README",
    }
    assert tree.empty == ("train/n05555555",)
    assert tree.classes == (*CLASSES, "n05555555")


def test_files_that_only_the_label_file_knows_are_missing(tmp_path):
    root = make(tmp_path)
    os.remove(os.path.join(root, "val", val_name(2)))
    tree = imagenet.find(root)
    assert tree.missing == ("val/" + val_name(2),)
    assert tree.val.labels.tolist() == [1, 0, 1, 2, 0]


def without(root, *names):
    for name in names:
        path = os.path.join(root, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    return root


@pytest.mark.parametrize(
    "spoil, text",
    [
        (lambda r: without(r, "train"), "has no folder train: expected the ILSVRC folder"),
        (lambda r: without(r, "train", "val"), "no folder train and no folder val.*holds val.txt"),
        (lambda r: r + "x", "no such directory"),
        (lambda r: without(r, "val.txt"), "there is no label file in .*val.txt"),
        (lambda r: os.path.join(r, "val.txt"), "not a directory"),
        (lambda r: os.path.join(r, "train"), "did you mean '.*tree'"),
        (lambda r: os.path.dirname(r), "has no folder train and no folder val"),
        (lambda r: put(r, "val.txt", "a.JPEG 0\n") and r, "has no label for .*_00000001.JPEG"),
        (lambda r: put(r, "val.txt", "1 2 3\n") and r, "not a label file"),
        (lambda r: put(r, "val.txt", b"\xff\xfe\xfa") and r, "not a text file"),
        (lambda r: put(r, "val.txt", CLASSES[0]) and r, "has 1 labels for 6 images"),
        (lambda r: put(r, "val.txt", val_name(1) + " 3\n") and r, "label '3' .* 3 known classes"),
        (lambda r: put(r, "val.txt", val_name(1) + " n1\n") and r, "label 'n1' .* known classes"),
        (lambda r: put(r, "val.txt", (val_name(1) + " 1\n") * 2) and r, "names an image twice"),
        (lambda r: put(r, "val/n09999999/x.JPEG", b"") and r, "n09999999 are not among the 3"),
    ],
)
def test_one_clear_message_tells_what_is_wrong(tmp_path, spoil, text):
    path = spoil(make(tmp_path / "tree"))
    with pytest.raises(DataError, match=text) as caught:
        imagenet.find(path)
    assert "\n" not in str(caught.value)


def test_a_folder_named_by_no_wordnet_id_is_no_class(tmp_path):
    put(tmp_path, "train/cat/x.JPEG", encoded(picture(0)))
    with pytest.raises(DataError, match="WordNet id like n01440764"):
        imagenet.find(tmp_path, parts=["train"])


def test_class_folders_without_any_image_are_an_error(tmp_path):
    os.makedirs(str(tmp_path / "train" / CLASSES[0]))
    with pytest.raises(DataError, match="none of its class folders has an image"):
        imagenet.find(tmp_path, parts=["train"])


def test_an_empty_path_is_an_error():
    with pytest.raises(DataError, match="`--data` is empty"):
        imagenet.find("")


def test_a_wrong_folder_of_official_files_is_an_error_and_no_download(tmp_path):
    root = make(tmp_path / "tree")
    with pytest.raises(DataError, match="`--meta-dir`: .*has no synsets.txt"):
        imagenet.find(root, meta_dir=tmp_path)
    assert os.listdir(str(tmp_path)) == ["tree"]


def test_kaggle_s_folders_are_recognised(tmp_path):
    make(tmp_path / "ILSVRC" / "Data" / "CLS-LOC")
    with pytest.raises(DataError, match="did you mean .*ILSVRC/Data/CLS-LOC"):
        imagenet.find(tmp_path)


def test_an_order_is_a_function_of_seed_and_epoch(tmp_path):
    images = imagenet.find(make(tmp_path)).train
    np.random.seed(1)
    first = images.order(seed=3, epoch=2)
    np.random.seed(2)
    np.testing.assert_array_equal(first, images.order(seed=3, epoch=2))
    assert sorted(first) == list(range(12))
    for seed, epoch in ((4, 2), (3, 1)):
        assert (first != images.order(seed, epoch)).any()


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_ranks_train_on_different_images_and_as_many_of_them(tmp_path, ranks):
    images = imagenet.find(make(tmp_path)).train
    orders = [images.order(0, 1, rank, ranks) for rank in range(ranks)]
    assert [len(order) for order in orders] == [12 // ranks] * ranks
    shown = np.concatenate(orders)
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize("ranks", [1, 2, 4, 7])
def test_ranks_evaluate_every_image_once(tmp_path, ranks):
    images = imagenet.find(make(tmp_path)).val
    shares = [images.share(rank, ranks) for rank in range(ranks)]
    assert sorted(np.concatenate(shares)) == list(range(6))


def test_images_can_be_left_out_by_name(tmp_path):
    images = imagenet.find(make(tmp_path)).val
    left = images.without(["val/" + val_name(1), "val/" + val_name(4)])
    assert [left.file(i) for i in range(4)] == ["val/" + val_name(n) for n in (2, 3, 5, 6)]
    assert left.labels.tolist() == [2, 0, 2, 0]
