"""The check of a tree's files finds every defect, and only once."""

import os
import time

import numpy as np
import pytest

from sspq.data import DataError
from sspq.data.ilsvrc import scan as scan_module
from sspq.data.ilsvrc import tree as imagenet
from sspq.data.ilsvrc.scan import judge, scan
from tests.data import ilsvrc_tree as ilsvrc
from tests.data.ilsvrc_tree import BAD, CLASSES, UNUSUAL, encoded, picture, put


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


@pytest.fixture
def root(tmp_path):
    return ilsvrc.make(tmp_path / "tree")


def check(root, cache, processes=0):
    return scan(imagenet.find(root), cache, processes)


def kinds(report):
    return {finding.file: finding.kind for finding in report.findings}


@pytest.fixture
def judged(monkeypatch):
    """The files that are looked at, in this process."""
    seen = []

    def noted(path):
        seen.append(os.path.basename(path))
        return judge(path)

    monkeypatch.setattr(scan_module, "judge", noted)
    return seen


def test_a_sound_tree_has_nothing_unusual(root, cache):
    report = check(root, cache)
    assert report.findings == () and report.counts() == {}
    assert str(report) == "18 image files, nothing unusual"


@pytest.mark.parametrize("processes", [0, 3])
def test_every_defect_is_found_and_named(root, cache, processes):
    expected = ilsvrc.add_defects(root)
    report = check(root, cache, processes)
    assert kinds(report) == expected
    assert set(report.foreign) == ilsvrc.FOREIGN and report.empty == ilsvrc.EMPTY
    text = str(report)
    for word in ("truncated", "CMYK", "grayscale", "PNG", "neither", "Thumbs.db", "n09999999"):
        assert word in text
    assert report.counts() == {
        "grayscale": 2, "CMYK": 2, "PNG": 4, "truncated": 10, "unknown": 4, "unreadable": 1,
        "empty": 2, "missing": 1, "foreign": 4, "empty folders": 1,
    }  # fmt: skip


@pytest.mark.parametrize("name", [*UNUSUAL, *BAD])
def test_a_file_is_judged_by_its_content(tmp_path, name):
    kind, content = {**UNUSUAL, **BAD}[name]
    assert judge(put(tmp_path, "x.JPEG", content())) == kind


@pytest.mark.parametrize("behind", [b"\0" * 10, b"\r\n", b"\0" * 5000])
def test_bytes_behind_the_end_of_a_picture_do_no_harm(tmp_path, behind):
    assert judge(put(tmp_path, "x.JPEG", encoded(picture(0)) + behind)) is None


def test_the_end_of_a_thumbnail_is_not_taken_for_the_end_of_the_picture(tmp_path):
    content = encoded(picture(0))
    thumbnail = b"Exif\0\0" + encoded(picture(1, 20, 20))
    header = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = content[:2] + header + content[2:]
    assert judge(put(tmp_path, "whole.JPEG", whole)) is None
    assert judge(put(tmp_path, "cut.JPEG", whole[:-2])) == "truncated"


def test_training_leaves_out_what_cannot_be_used(root, cache):
    expected = ilsvrc.add_defects(root)
    tree = imagenet.find(root)
    report = check(root, cache)
    images = report.for_training(tree.train)
    left_out = {file for file, kind in expected.items() if kind in scan_module.BAD}
    files = {images.file(i) for i in range(len(images))}
    everything = {tree.train.file(i) for i in range(len(tree.train))}
    assert everything - files == {file for file in left_out if file.startswith("train")}
    assert {f"train/{CLASSES[0]}/{name}" for name in UNUSUAL} <= files
    assert len(report.bad("train")) == len(BAD) + 1


def test_evaluation_names_what_cannot_be_used_and_stops(root, cache):
    ilsvrc.add_defects(root)
    tree, report = imagenet.find(root), check(root, cache)
    with pytest.raises(DataError, match="9 of the images to evaluate on cannot") as caught:
        report.for_evaluation(tree.val)
    for name in [*BAD, "gone.JPEG"]:
        assert "val/" + name in str(caught.value)
    assert "--skip-bad" in str(caught.value)


def test_evaluation_skips_what_cannot_be_used_if_told_so(root, cache):
    ilsvrc.add_defects(root)
    tree, report = imagenet.find(root), check(root, cache)
    assert len(report.for_evaluation(tree.val, skip_bad=True)) == 6 + len(UNUSUAL)


def test_evaluation_of_unusual_files_is_no_error(root, cache):
    for name, (_, content) in UNUSUAL.items():
        put(root, f"train/{CLASSES[0]}/{name}", content())
    tree = imagenet.find(root)
    assert len(check(root, cache).for_evaluation(tree.train)) == 12 + len(UNUSUAL)


def test_a_part_without_any_usable_image_is_an_error(root, cache):
    for i in range(6):
        put(root, "val/" + ilsvrc.val_name(i + 1), b"")
    tree = imagenet.find(root)
    with pytest.raises(DataError, match="none of its 6 images can be used"):
        check(root, cache).for_evaluation(tree.val, skip_bad=True)


def test_a_second_scan_finds_the_same_and_opens_no_file(root, cache, judged):
    ilsvrc.add_defects(root)
    first = check(root, cache)
    assert judged
    del judged[:]
    assert check(root, cache) == first
    assert judged == []


def test_only_the_folder_of_a_changed_file_is_looked_at_again(root, cache, judged):
    check(root, cache)
    del judged[:]
    name = f"train/{CLASSES[1]}/{CLASSES[1]}_1.JPEG"
    put(root, name, encoded(picture(3))[:-50])
    assert kinds(check(root, cache)) == {name: "truncated"}
    assert len(judged) == 4
    put(root, name, encoded(picture(3)))
    assert kinds(check(root, cache)) == {}


def test_a_file_of_the_same_size_and_another_time_is_looked_at_again(root, cache, judged):
    check(root, cache)
    del judged[:]
    os.utime(imagenet.find(root).val.path(0), (1, 1))
    check(root, cache)
    assert len(judged) == 6


def test_new_and_removed_files_are_noticed(root, cache):
    check(root, cache)
    put(root, f"train/{CLASSES[0]}/a.JPEG", b"")
    os.remove(imagenet.find(root).train.path(5))
    report = check(root, cache)
    assert report.files == 18 and kinds(report) == {f"train/{CLASSES[0]}/a.JPEG": "empty"}


def test_a_scan_of_one_part_keeps_what_is_known_of_the_other(root, cache, judged):
    check(root, cache)
    del judged[:]
    scan(imagenet.find(root, parts=["val"]), cache, 0)
    check(root, cache)
    assert judged == []


def test_an_interrupted_scan_is_continued(root, cache, judged, monkeypatch):
    def interrupted(path):
        if len(judged) == 10:
            raise KeyboardInterrupt
        judged.append(path)
        return judge(path)

    monkeypatch.setattr(scan_module, "judge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check(root, cache)
    del judged[:]
    check(root, cache)
    assert 0 < len(judged) <= 10


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 0}', "\xff"])
def test_a_damaged_cache_costs_another_scan_and_no_more(root, cache, content):
    put(root, "val.txt", open(os.path.join(root, "val.txt")).read())
    check(root, cache)
    [name] = [n for n in os.listdir(cache) if n.endswith(".json")]
    with open(os.path.join(cache, name), "w", encoding="latin1") as f:
        f.write(content)
    assert check(root, cache).findings == ()


def test_a_scan_works_without_a_place_for_its_cache(root, tmp_path, capsys):
    put(tmp_path, "file", b"")
    assert check(root, str(tmp_path / "file" / "cache")).files == 18
    assert "is not cached" in capsys.readouterr().err


def test_the_default_cache_is_outside_the_tree(root, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    before = sorted(os.walk(root))
    scan(imagenet.find(root), processes=0)
    assert sorted(os.walk(root)) == before
    assert os.listdir(str(tmp_path / "xdg" / "sspq"))


def test_2000_files_take_less_than_two_seconds_of_a_core(tmp_path, cache):
    content = encoded(picture(0))
    for i in range(2000):
        put(tmp_path, f"train/{CLASSES[i % 2]}/{i}.JPEG", content)
    tree = imagenet.find(tmp_path, parts=["train"])
    start = time.process_time()
    assert scan(tree, cache, processes=0).files == 2000
    assert time.process_time() - start < 2
    assert np.unique(tree.train.labels).tolist() == [0, 1]
