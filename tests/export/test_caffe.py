"""Caffe's AlexNet is converted to the graph that computes what Caffe's files say."""

import cv2
import numpy as np
import pytest
from tensorpack.predict import OfflinePredictor, PredictConfig

import sspq
from sspq.checkpoints.restore import ExactRestore
from sspq.commands.main import main
from sspq.export import caffe
from sspq.graphs.alexnet import MEAN
from tests.export.caffe_files import weights, write_caffemodel, write_prototxt

WIDTH, CLASSES = 1 / 16, 7
# Image size: edge of pool5. At 103 pixels the last window of each pooling reaches beyond the image,
# at the others none does.
EDGES = {227: 6, 99: 2, 103: 3}


class Files:
    """A small AlexNet in Caffe's files."""

    def __init__(self, folder, size=99, layers=None, old=False, groups=2, **prototxt):
        self.size = size
        self.layers = layers or weights(WIDTH, EDGES[size], CLASSES, groups)
        self.caffemodel = str(folder / "a.caffemodel")
        self.prototxt = str(folder / "deploy.prototxt")
        self.output = str(folder / "a.npz")
        write_caffemodel(self.caffemodel, self.layers, old)
        write_prototxt(self.prototxt, WIDTH, size, CLASSES, groups=groups, **prototxt)

    def convert(self):
        return caffe.convert(self.caffemodel, self.prototxt, self.output, self.size, WIDTH)

    def blob(self, name, index):
        return {n: blobs for n, _, blobs in self.layers}[name][index]


def loaded_logits(model, path, images):
    session_init = ExactRestore(path, parameters_only=True)
    config = PredictConfig(
        model=model, session_init=session_init, input_names=["input"], output_names=["logits"]
    )
    return OfflinePredictor(config)(images)[0]


def opencv_logits(files, images):
    net = cv2.dnn.readNetFromCaffe(files.prototxt, files.caffemodel)
    net.setInput(cv2.dnn.blobFromImages(list(images), mean=MEAN))
    return net.forward("fc8")


@pytest.mark.parametrize("size, old", [(227, False), (227, True), (99, False), (103, False)])
def test_the_loaded_graph_computes_opencv_s_logits(size, old, tmp_path):
    files = Files(tmp_path, size, old=old)
    model, off = files.convert()
    images = np.random.RandomState(1).randint(0, 256, (3, size, size, 3)).astype(np.uint8)
    expected = opencv_logits(files, images)
    assert expected.shape == (3, CLASSES) and np.abs(expected).max() > 1
    fresh = sspq.AlexNet(CLASSES, size, width=WIDTH)
    got = loaded_logits(fresh, files.output, images)
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())
    assert off <= 1e-4 and model.describe() == fresh.describe()


def test_blobs_become_variables_in_the_graph_s_order(tmp_path):
    files = Files(tmp_path)
    files.convert()
    values = np.load(files.output)
    names = [f"conv{i}" for i in range(1, 6)] + [f"fc{i}" for i in range(6, 9)]
    assert sorted(values.files) == sorted(n + end for n in names for end in ("/W", "/b"))
    # Of output 9, in the second group, the weight for that group's input 1 at row 4, column 0.
    assert values["conv2/W"][4, 0, 1, 9] == files.blob("conv2", 0)[9, 1, 4, 0]
    np.testing.assert_array_equal(values["fc6/W"], files.blob("fc6", 0).T)
    np.testing.assert_array_equal(values["conv4/b"], files.blob("conv4", 1))


@pytest.mark.parametrize(
    "wrong", [dict(alpha=5e-4), dict(pool_first=True)], ids=["alpha", "order of layers"]
)
def test_a_network_that_differs_in_nothing_but_what_it_computes_is_refused(wrong, tmp_path):
    files = Files(tmp_path, **wrong)
    with pytest.raises(caffe.CaffeError, match="computes something else than bvlc_alexnet"):
        files.convert()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.caffemodel", "deploy.prototxt"]


def without_groups(layers):
    return weights(WIDTH, EDGES[99], CLASSES, groups=1)


def without_bias(layers):
    return [(n, t, b[:1] if n == "conv3" else b) for n, t, b in layers]


def not_finite(layers):
    layers[6][2][0][3, 5] = np.nan
    return layers


@pytest.mark.parametrize(
    "change, groups, message",
    [
        (without_groups, 1, r"conv2/W is \[5, 5, 6, 16\], expected \[5, 5, 3, 16\]"),
        (not_finite, 2, "fc7/W holds values that are not finite"),
        (lambda layers: layers[:-1], 2, "fc8"),
        (lambda layers: layers[:2] + layers[3:], 2, "conv3"),
        (without_bias, 2, "conv3"),
    ],
    ids=["no groups", "not finite", "no fc8", "no conv3", "no bias"],
)
def test_weights_of_another_network_are_refused_by_name(change, groups, message, tmp_path):
    layers = change(weights(WIDTH, EDGES[99], CLASSES))
    files = Files(tmp_path, layers=layers, groups=groups)
    with pytest.raises(caffe.CaffeError, match=message):
        files.convert()
    assert not (tmp_path / "a.npz").exists()


def test_the_groups_are_those_of_the_weights_whatever_the_prototxt_says(tmp_path):
    files = Files(tmp_path)
    _, off = files.convert()
    write_prototxt(files.prototxt, WIDTH, files.size, CLASSES, groups=1)
    assert files.convert()[1] == off


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("num_output: 7", "num_output: 9", "OpenCV refuses the layer fc8"),
        ("pad: 2 kernel_size: 5", "pad: 2 kernel_size: 7", "OpenCV cannot run Caffe's network"),
        ('"fc8"', '"fc9"', "no weights and biases for the layer fc8"),
    ],
)
def test_a_prototxt_that_does_not_fit_the_weights_is_refused(old, new, message, tmp_path):
    files = Files(tmp_path)
    with open(files.prototxt) as f:
        text = f.read()
    assert old in text
    with open(files.prototxt, "w") as f:
        f.write(text.replace(old, new))
    with pytest.raises(caffe.CaffeError, match=message):
        files.convert()


def test_a_layer_of_another_kind_that_has_weights_is_refused(tmp_path):
    layers = weights(WIDTH, EDGES[99], CLASSES) + [("relu3", "PReLU", [np.ones(24, np.float32)])]
    files = Files(tmp_path, layers=layers)
    with open(files.prototxt) as f:
        text = f.read()
    with open(files.prototxt, "w") as f:
        f.write(text.replace('"relu3" type: "ReLU"', '"relu3" type: "PReLU"'))
    with pytest.raises(caffe.CaffeError, match="layer relu3 is a PReLU with weights"):
        files.convert()


def test_files_that_are_missing_or_damaged_are_named(tmp_path):
    files = Files(tmp_path)
    with pytest.raises(caffe.CaffeError, match="nowhere: there is no such file"):
        caffe.convert(str(tmp_path / "nowhere"), files.prototxt, files.output)
    with pytest.raises(caffe.CaffeError, match="`output` must end in .npz, got 'a.ckpt'"):
        caffe.convert(files.caffemodel, files.prototxt, "a.ckpt")
    files.output = str(tmp_path / "nowhere" / "a.npz")
    with pytest.raises(caffe.CaffeError, match="nowhere/a.npz cannot be written"):
        files.convert()
    with open(files.caffemodel, "r+b") as f:
        f.truncate(1000)
    with pytest.raises(caffe.CaffeError, match="OpenCV cannot read .*a.caffemodel"):
        files.convert()


def test_the_command_writes_the_file_and_says_so(tmp_path, capsys):
    files = Files(tmp_path)
    arguments = ["convert-caffe", files.caffemodel, files.prototxt, "-o", files.output]
    assert main(arguments + ["--image-size", "99", "--width", str(WIDTH)]) == 0
    assert "a.npz: bvlc_alexnet for 7 classes; logits as OpenCV's to" in capsys.readouterr().out
    assert (tmp_path / "a.npz").exists()
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("sspq: ")
