"""The commands about one model, as a user runs them."""

import json

import cv2
import numpy as np
import pytest

from sspq.cli import main
from sspq.data import digits
from tests.export.models import save, small


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    save(path, small(bitw=4, bita=8))
    return path


def output(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def error(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 2
    return capsys.readouterr().err


def test_a_folder_needs_no_options_and_every_kind_has_the_same_top1(folder, tmp_path, capsys):
    file = tmp_path / "m.sspq.safetensors"
    text = output(capsys, "pack", folder, "-o", file)
    assert "off by at most 0," in text and "tensors" in text
    results = [
        json.loads(output(capsys, "eval", model, "--data", "digits", "--json"))
        for model in (folder, file)
    ]
    assert results[0] == results[1]
    assert 0 < results[0]["top1"] < results[0]["top5"] < 100


def test_a_packed_file_can_be_looked_into_and_unpacked(folder, tmp_path, capsys):
    file, arrays = tmp_path / "m.sspq.safetensors", tmp_path / "m.npz"
    output(capsys, "pack", folder, "-o", file, "--images", 0, "--fold-bn", "--rest", "float16")
    state = json.loads(output(capsys, "inspect", file, "--json"))
    assert state["model"]["model"] == "SSPQ34" and state["file_bytes"] == file.stat().st_size
    assert state["tensors"]["conv3blk1/conv1x1a/W"]["values"] <= 16
    assert state["tensors"]["fct/W"]["bits"] == 16
    text = output(capsys, "inspect", file)
    assert "conv3blk1/conv1x1a/W" in text and "header" in text
    output(capsys, "unpack", file, "-o", arrays)
    with np.load(arrays) as values:
        assert len(np.unique(values["conv3blk1/conv1x1a/W"])) <= 16
        assert (values["conv2/bnlast/mean/EMA"] == 0).all()


def test_entropy_coded_files_are_smaller_and_read_alike(folder, tmp_path, capsys):
    plain, coded = tmp_path / "p.sspq.safetensors", tmp_path / "c.sspq.safetensors"
    output(capsys, "pack", folder, "-o", plain, "--images", 0)
    text = output(capsys, "pack", folder, "-o", coded, "--entropy-coded")
    assert "by entropy coding" in text and "off by at most 0," in text
    assert coded.stat().st_size < plain.stat().st_size
    first, second = [json.loads(output(capsys, "inspect", f, "--json")) for f in (plain, coded)]
    assert first["tensors"] == second["tensors"]


def test_predictions_are_the_five_likeliest_classes(folder, tmp_path, capsys):
    image = tmp_path / "digit.png"
    cv2.imwrite(str(image), digits.load().test_images[0])
    text = output(capsys, "predict", folder, image, "--data", "digits").splitlines()
    assert text[0] == str(image) and len(text) == 6
    shares = [float(line.split("%")[0]) for line in text[1:]]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 100.01
    assert "`--data` is missing" in error(capsys, "predict", folder, image)
    assert "is no image file" in error(capsys, "predict", folder, "setup.py", "--data", "digits")
    labels = tmp_path / "labels"
    labels.write_text("one\ntwo\n")
    assert "2 lines" in error(
        capsys, "predict", folder, image, "--data", "digits", "--labels", labels
    )


def test_a_summary_of_a_checkpoint_checks_that_it_fits(folder, capsys):
    text = output(capsys, "summary", "--checkpoint", folder, "--top1", "90")
    assert "conv3blk1/shift_q" in text and "density" in text
    assert json.loads(output(capsys, "summary", "--checkpoint", folder, "--json"))["top1"] is None
    wrong = error(capsys, "summary", "--checkpoint", folder, "--num-classes", 11)
    assert "belongs to another graph" in wrong


def test_a_summary_by_name_tells_the_published_size(capsys):
    text = output(capsys, "summary", "--model", "lspq50", "--bitw", 1)
    assert "published       3.55 MB" in text and "3.567 MiB" in text
    markdown = output(capsys, "summary", "--model", "sspq34", "--markdown")
    assert markdown.startswith("| layer")
    assert output(capsys, "summary", "--model", "sspq34", "--csv").startswith("layer,kind,")


def test_what_export_writes_is_told_by_the_ending_or_the_format(folder, tmp_path, capsys):
    graph, saved = tmp_path / "m.pb", tmp_path / "saved"
    assert "m.pb: " in output(capsys, "export", folder, "-o", graph, "--keep-shift")
    assert b"SspqShift2D" in graph.read_bytes()
    output(capsys, "export", folder, "-o", saved, "--format", "savedmodel")
    content = (saved / "saved_model.pb").read_bytes()
    assert b"DepthwiseConv2dNative" in content and b"SspqShift2D" not in content
    for arguments, why in (
        (("-o", saved), "must end in .onnx or .pb, or be a folder with --format savedmodel"),
        (("-o", "m.pb", "--format", "savedmodel"), "got m.pb with --format savedmodel"),
        (("-o", "m.onnx", "--format", "graph"), "got m.onnx with --format graph"),
        (("-o", "m.onnx", "--keep-shift"), "`--keep-shift` is for TensorFlow"),
        (("-o", saved, "--format", "savedmodel"), "exists already"),
    ):
        assert why in error(capsys, "export", folder, *arguments)


def test_wrong_input_is_one_line(folder, tmp_path, capsys):
    for arguments, why in (
        (("summary",), "`--model` or `--checkpoint` is missing"),
        (("summary", "--model", "lspq51"), "got 'lspq51'"),
        (("summary", "--model", "sspq34", "--bitw", "33"), "must be an int from 1 to 32, got 33"),
        (("inspect", "setup.py"), "setup.py"),
        (("pack", tmp_path, "-o", tmp_path / "x"), "no complete checkpoint"),
    ):
        text = error(capsys, *arguments)
        assert text.startswith("sspq: ") and why in text and len(text.splitlines()) == 1
