"""Wrong input of any command about a model is one line."""

import cv2

from sspq import models
from sspq.data.memory import digits
from tests.commands.calls import error
from tests.export.models import one_nan, save


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
