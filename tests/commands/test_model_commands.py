"""The commands about one model, as a user runs them."""

import json
import os

import cv2
import numpy as np
import pytest

from sspq import models
from sspq.commands.main import main
from sspq.data.ilsvrc import demo_tree
from sspq.data.memory import digits
from tests.export.models import one_nan, save, small


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of SSPQ34 with 4 and 8 bits."""
    path = tmp_path_factory.mktemp("run")
    save(path, small(bitw=4, bita=8))
    return path


@pytest.fixture(scope="module")
def lenet(tmp_path_factory):
    """Of LeNet, for what does not depend on the network: its graph takes a tenth of the time."""
    path = tmp_path_factory.mktemp("lenet")
    save(path, models.build("lenet", num_classes=10))
    return path


def output(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def error(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 2
    return capsys.readouterr().err


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


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return demo_tree.write(tmp_path_factory.mktemp("images") / "tree")


@pytest.fixture
def imagenet(tmp_path, one_block_a_group):
    """The folder of a small network for ImageNet."""
    run = tmp_path / "run"
    run.mkdir()
    save(run, models.build("lspq18", image_size=32, num_classes=10, bita=32))
    return run


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


def test_a_refused_pack_leaves_the_old_file_alone(lenet, tmp_path, capsys):
    file = tmp_path / "m.sspq.safetensors"
    file.write_bytes(b"old")
    for arguments, why in (
        (("--data", tmp_path / "nope"), "nope"),
        (("--images", "-5"), "`--images` must be at least 0, got -5"),
        (("--data", "digits", "--images", 0), "`--images` must be at least 1 with `--data`, got 0"),
    ):
        assert main([str(a) for a in ("pack", lenet, "-o", file, *arguments)]) == 2
        out, err = capsys.readouterr()
        assert why in err and len(err.splitlines()) == 1 and not out
        assert file.read_bytes() == b"old"


@pytest.mark.parametrize(
    "count, told", [(100, "100 test images:"), (100000, "360 test images, all there are:")]
)
def test_packing_compares_as_many_test_images_as_asked_for(count, told, lenet, tmp_path, capsys):
    file = tmp_path / "m.sspq.safetensors"
    text = output(capsys, "pack", lenet, "-o", file, "--data", "digits", "--images", count)
    number = told.split()[0]
    assert f"logits of {told} off by at most 0," in text
    assert text.endswith(f"the largest is the same in {number}\n")


def test_packing_compares_as_much_noise_as_asked_for(lenet, tmp_path, capsys):
    text = output(capsys, "pack", lenet, "-o", tmp_path / "m.safetensors", "--images", 70)
    assert "logits of 70 images of noise: " in text and "the same in 70\n" in text


def test_a_network_that_has_diverged_is_refused(tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    save(run, models.build("lenet", num_classes=10), one_nan("ip2/W"))
    image = tmp_path / "digit.png"
    cv2.imwrite(str(image), digits.load().test_images[0])
    onnx = tmp_path / "n.onnx"
    for arguments, why in (
        (("pack", run, "-o", tmp_path / "n.safetensors", "--fold-bn"), "of ip2/W, 1 of 5000"),
        (("export", run, "-o", onnx), "of ip2/W, 1 of 5000"),
        (("export", run, "-o", onnx, "--int8", "--calibrate", "digits"), "of ip2/W, 1 of 5000"),
        (("predict", run, image, "--data", "digits"), "logits of the images are not finite"),
        (("eval", run, "--data", "digits"), "the network has diverged"),
    ):
        text = error(capsys, *arguments)
        assert why in text and "diverged" in text and len(text.splitlines()) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"run", "digit.png"}


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


@pytest.mark.slow
def test_entropy_coded_files_are_smaller_and_read_alike(folder, tmp_path, capsys):
    plain, coded = tmp_path / "p.sspq.safetensors", tmp_path / "c.sspq.safetensors"
    output(capsys, "pack", folder, "-o", plain, "--images", 0)
    text = output(capsys, "pack", folder, "-o", coded, "--entropy-coded")
    assert "by entropy coding" in text and "off by at most 0," in text
    assert coded.stat().st_size < plain.stat().st_size
    first, second = [json.loads(output(capsys, "inspect", f, "--json")) for f in (plain, coded)]
    assert first["tensors"] == second["tensors"]


def test_predictions_are_the_five_likeliest_classes(lenet, tmp_path, capsys):
    image = tmp_path / "digit.png"
    cv2.imwrite(str(image), digits.load().test_images[0])
    text = output(capsys, "predict", lenet, image, "--data", "digits").splitlines()
    assert text[0] == str(image) and len(text) == 6
    shares = [float(line.split("%")[0]) for line in text[1:]]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 100.01
    file, graph = tmp_path / "m.sspq.safetensors", tmp_path / "m.onnx"
    output(capsys, "pack", lenet, "-o", file, "--images", 0)
    output(capsys, "export", lenet, "-o", graph)
    for other in (file, graph):
        again = output(capsys, "predict", other, image, "--data", "digits").splitlines()
        assert [line.split()[-1] for line in again[1:]] == [line.split()[-1] for line in text[1:]]
    assert "`--data` is missing" in error(capsys, "predict", lenet, image)
    assert "is no image file" in error(capsys, "predict", lenet, "setup.py", "--data", "digits")
    labels = tmp_path / "labels"
    labels.write_text("one\ntwo\n")
    assert "2 lines" in error(
        capsys, "predict", lenet, image, "--data", "digits", "--labels", labels
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


def test_wrong_input_is_one_line(lenet, tmp_path, capsys):
    garbage = tmp_path / "m.safetensors"
    garbage.write_bytes(b"nothing of the kind")
    (tmp_path / "bad.onnx").write_bytes(b"nothing of the kind")
    for arguments, why in (
        (("summary",), "`--model` or `--checkpoint` is missing"),
        (("summary", "--model", "lspq51"), "got 'lspq51'"),
        (("summary", "--model", "sspq34", "--bitw", "33"), "must be an int from 1 to 32, got 33"),
        (("inspect", "setup.py"), "setup.py"),
        (("summary", "--model", "sspq34", "--top1", "150"), "`--top1` must be from 0 to 100"),
        (("pack", tmp_path, "-o", tmp_path / "x.safetensors"), "no complete checkpoint"),
        (("pack", lenet, "-o", tmp_path / "x.bin"), "`--output` must end in .safetensors"),
        (("unpack", garbage, "-o", garbage), "`--output` must end in .npz"),
        (("eval", tmp_path / "bad.onnx", "--data", "digits"), "bad.onnx: cannot be loaded"),
        (("eval", tmp_path / "none.safetensors", "--data", "digits"), "No such file"),
        (("eval", tmp_path / "none.onnx", "--data", "digits"), "there is no file"),
        (("eval", tmp_path / "none.onnx", "--data", "digits", "--bita", "8"), "drop the options"),
        (("export", garbage, "-o", "m.onnx"), "m.safetensors: "),
        (("export", lenet, "-o", tmp_path / "none" / "m.onnx"), "No such file"),
        (("predict", lenet, tmp_path / "none.png", "--data", "digits"), "is no image file"),
        (("predict", garbage, tmp_path / "none.png", "--data", "digits"), "is no image file"),
    ):
        text = error(capsys, *arguments)
        assert text.startswith("sspq: ") and why in text and len(text.splitlines()) == 1


def test_an_image_that_is_not_there_is_told_in_one_line_by_opencv_too(tmp_path, capfd):
    image = tmp_path / "none.png"
    assert error(capfd, "predict", tmp_path, image) == (
        f"sspq: {image}: is no image file that can be read\n"
    )


def test_unpacking_leaves_an_old_file_alone_where_it_cannot_be_written(
    lenet, tmp_path, capsys, monkeypatch
):
    file, arrays = tmp_path / "m.sspq.safetensors", tmp_path / "m.npz"
    output(capsys, "pack", lenet, "-o", file, "--images", 0)
    arrays.write_bytes(b"old")

    def full(f, **values):
        f.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert "No space left" in error(capsys, "unpack", file, "-o", arrays)
    assert arrays.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 2
