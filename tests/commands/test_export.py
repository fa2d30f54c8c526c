"""``python -m sspq export``."""

import os

import pytest

from tests.commands.calls import error, output


def test_int8_is_calibrated_on_a_folder_of_images(imagenet, tree, tmp_path, capsys):
    integers, train = tmp_path / "int8.onnx", os.path.join(tree, "train")
    options = ("--int8", "--calibrate", train, "--images", 16)
    assert "int8.onnx: " in output(capsys, "export", imagenet, "-o", integers, *options)
    assert "(onnx)  top-1" in output(capsys, "eval", integers, "--data", tree)


def test_int8_is_calibrated_on_images_of_the_data_set(lenet, tmp_path, capsys):
    graph = tmp_path / "m.onnx"
    export = ("export", lenet, "-o", graph)
    text = output(capsys, *export, "--int8", "--calibrate", "digits", "--images", 8)
    assert text.startswith(str(graph))
    assert b"QuantizeLinear" in graph.read_bytes()
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, why in (
        (("--int8",), "`--calibrate` is missing"),
        (("--calibrate", "digits"), "`--calibrate` is for `--int8`"),
        (("--images", "8"), "`--images` is for `--int8`"),
        (("--int8", "--calibrate", "digits", "--images", "0"), "at least 1, got 0"),
        (("--int8", "--calibrate", empty), str(empty)),
        (("--int8", "--calibrate", "digits", "--keep-shift"), "`--keep-shift` is for TensorFlow"),
    ):
        text = error(capsys, *export, *arguments)
        assert why in text and len(text.splitlines()) == 1
    of_tensorflow = ("export", lenet, "-o", "m.pb", "--int8", "--calibrate", "digits")
    assert "`--int8` is for ONNX, got m.pb" in error(capsys, *of_tensorflow)


@pytest.mark.slow
def test_what_export_writes_is_told_by_the_ending_or_the_format(folder, lenet, tmp_path, capsys):
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
        assert why in error(capsys, "export", lenet, *arguments)
