"""``python -m sspq eval``."""

import json

import pytest

from tests.commands.calls import error, output


def test_a_folder_needs_no_options_and_every_kind_has_the_same_top1(folder, tmp_path, capsys):
    file, graph = tmp_path / "m.sspq.safetensors", tmp_path / "m.onnx"
    text = output(capsys, "pack", folder, "-o", file)
    assert "off by at most 0," in text and "tensors" in text
    assert "m.onnx: " in output(capsys, "export", file, "-o", graph)
    checkpoint, packed, onnx = [
        json.loads(output(capsys, "eval", model, "--data", "digits", "--json"))
        for model in (folder, file, graph)
    ]
    assert checkpoint == packed
    assert 0 < packed["top1"] < packed["top5"] < 100
    # Activations of 8 bits: values between two levels may fall to the other one.
    assert abs(onnx["top1"] - packed["top1"]) <= 1 and abs(onnx["top5"] - packed["top5"]) <= 1


@pytest.mark.slow
def test_networks_for_imagenet_are_evaluated_on_an_ilsvrc_folder(imagenet, tree, tmp_path, capsys):
    file, graph = tmp_path / "m.sspq.safetensors", tmp_path / "m.onnx"
    output(capsys, "pack", imagenet, "-o", file, "--images", 0)
    output(capsys, "export", imagenet, "-o", graph)
    checkpoint, packed, onnx = [
        json.loads(output(capsys, "eval", m, "--data", tree, "--json"))
        for m in (imagenet, file, graph)
    ]
    assert checkpoint == packed
    assert onnx["top1"] == packed["top1"] and onnx["top5"] == packed["top5"]
    assert "has no folder val" in error(capsys, "eval", graph, "--data", imagenet)
