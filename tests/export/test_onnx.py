"""What is exported gives the graph's logits in stock ONNX Runtime."""

import collections

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from sspq import models
from sspq.export.onnx import graph as onnx_graph
from sspq.export.onnx.builder import ExportError
from sspq.export.packed.encoding import encode_float
from sspq.export.packed.pack import pack
from sspq.inference.predictor import load
from tests.export.models import every_kind_of_shift, save, small


def exported(saved, folder):
    path = str(folder / "m.onnx")
    onnx_graph.save(path, saved.packed)
    return path


def both(saved, folder):
    """Logits of the checkpoint, and of the exported model."""
    return saved.logits, load(exported(saved, folder)).logits(saved.images)


def check_same(expected, got, tolerance=1e-4, case=""):
    atol = tolerance * max(1, np.abs(expected).max())
    np.testing.assert_allclose(got, expected, atol=atol, err_msg=case)
    np.testing.assert_array_equal(got.argmax(1), expected.argmax(1), err_msg=case)


def lspq50():
    return models.build("lspq50", num_classes=10, bita=32, image_size=40)


@pytest.mark.parametrize(
    "bitw", [pytest.param(1, marks=pytest.mark.slow), 4, pytest.param(8, marks=pytest.mark.slow)]
)
def test_sspq34_has_the_same_logits(bitw, saved, tmp_path):
    check_same(*both(saved(bitw=bitw), tmp_path))


@pytest.mark.parametrize(
    "name",
    [
        "lspq18",
        "sspq18",
    ]
    + [
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("resnet18", "preact18", "asl18", "resIBShift18", "resnext32x4d50", "se50")
    ],
)
def test_networks_for_imagenet_have_the_same_logits(name, saved, tmp_path):
    bits = {"bita": 32} if name[:3] in ("lsp", "ssp", "asl") else {}
    model = saved(models.build, name=name, image_size=40, num_classes=10, **bits)
    check_same(*both(model, tmp_path))


@pytest.mark.slow
def test_lspq50_has_the_same_logits(saved, tmp_path):
    """These weights amplify last bits: the runtime with and without its optimizations differs by
    5e-4. With other shifts, below, they do not."""
    check_same(*both(saved(lspq50), tmp_path), tolerance=1e-3)


@pytest.mark.parametrize(
    "name, settings", [("alexnet", {"image_size": 67, "width": 0.25}), ("lenet", {})]
)
def test_caffe_s_networks_have_the_same_logits(name, settings, saved, tmp_path):
    check_same(*both(saved(models.build, name=name, num_classes=10, **settings), tmp_path))


def test_rounded_activations_agree_but_for_values_between_two_levels(saved, tmp_path):
    """A last bit decides on which side such a value falls, and the next layers see it."""
    expected, got = both(saved(bitw=4, bita=8), tmp_path)
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.999
    np.testing.assert_array_equal(got.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("build", [small, pytest.param(lspq50, marks=pytest.mark.slow)])
def test_every_kind_of_shift_is_exported(build, saved, tmp_path):
    """Fractions, integers, beyond one pixel, beyond the image, with strides of 1 and 2."""
    check_same(*both(saved(build, every_kind_of_shift), tmp_path))


@pytest.mark.parametrize("name", ["lspq18", "lenet"])
@pytest.mark.usefixtures("one_block_a_group")
def test_the_layout_of_training_makes_no_difference(name, tmp_path):
    exports = []
    for data_format in ("NCHW", "NHWC"):
        size = {} if name == "lenet" else {"image_size": 32}
        model = models.build(name, num_classes=10, data_format=data_format, **size)
        packed = pack(save(tmp_path, model))
        exports.append(onnx_graph.to_onnx(packed).SerializeToString())
    assert exports[0] == exports[1]


def test_runtimes_fuse_norm_and_clip_into_convolutions(saved, tmp_path):
    """All that is left of a network with float32 activations is convolutions and sums."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    path = exported(saved(), tmp_path)
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    counts = collections.Counter(
        n.op_type for n in onnx.load(options.optimized_model_filepath).graph.node
    )
    convolutions = sum(n.op_type == "Conv" for n in onnx.load(path).graph.node)
    assert counts["Conv"] + counts["FusedConv"] == convolutions
    assert not {"BatchNormalization", "Min", "Max", "Mul", "Cast", "Gather"} & set(counts)


def test_quantized_kernels_are_stored_as_8_bit_integers(saved, tmp_path):
    path = exported(saved(bitw=4), tmp_path)
    model = onnx.load(path)
    types = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    codes = types["conv3blk1/conv1x1a/W/kernel/codes"]
    assert codes.dtype == np.uint8 and codes.shape == (32, 16, 1, 1) and codes.max() == 15
    assert {n.domain for n in model.graph.node} == {""}
    onnx.checker.check_model(model, full_check=True)


def test_what_cannot_be_exported_is_named(saved):
    packed = saved().packed
    packed.tensors["conv2blk1/shift_q/SP/SP"] = encode_float(np.full([2, 16], np.nan), "float32")
    with pytest.raises(ExportError, match="conv2blk1/shift_q.* not finite"):
        onnx_graph.to_onnx(packed)


def test_a_file_that_is_no_model_is_named(tmp_path):
    path = str(tmp_path / "x.onnx")
    with open(path, "wb") as f:
        f.write(b"nothing")
    with pytest.raises(ValueError, match="x.onnx: cannot be loaded"):
        load(path)
