"""``python -m sspq predict``."""

import cv2

from sspq.data.memory import digits
from tests.commands.calls import error, output


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


def test_an_image_that_is_not_there_is_told_in_one_line_by_opencv_too(tmp_path, capfd):
    image = tmp_path / "none.png"
    assert error(capfd, "predict", tmp_path, image) == (
        f"sspq: {image}: is no image file that can be read\n"
    )
