"""The int8 export: what is exact, what runs in integers, how close a trained network stays."""

import collections

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from sspq import checkpoints, models
from sspq.checkpoints.source import open_checkpoint
from sspq.export.onnx import graph as onnx_graph
from sspq.export.onnx import int8 as onnx_int8
from sspq.export.onnx import integers as onnx_integers
from sspq.export.onnx.builder import ExportError
from sspq.export.packed.encoding import encode_quantized, encode_uniform
from sspq.export.packed.pack import pack
from sspq.inference import images
from sspq.inference.predictor import load, of_checkpoint
from tests.experiments.scripts import run_example
from tests.export.models import every_kind_of_shift, noise, small

CPU = ["CPUExecutionProvider"]
slow = pytest.mark.slow


def run(model, x, *outputs):
    """Outputs of a ModelProto; of tensors inside it too, which are then computed as written."""
    options = onnxruntime.SessionOptions()
    if outputs:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        model = onnx.ModelProto.FromString(model.SerializeToString())
        inside = [onnx.ValueInfoProto(name=name) for name in outputs]
        model.graph.output.extend(inside)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=CPU)
    return session.run(list(outputs) or None, {session.get_inputs()[0].name: x})


def optimized(model, folder):
    """How many nodes of each type ONNX Runtime makes of it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=CPU)
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    return collections.Counter(node.op_type for node in nodes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of SSPQ34 after five epochs of digits: W8 A32."""
    folder = tmp_path_factory.mktemp("trained")
    options = "--max_epoch 5 --data digits --batch 16 --wup_length 1 --step_size 1 --base_lr 0.05"
    shifts = "--shift-normalize --shift-lr-mult 0.01 --shift-no-decay --log"
    given = options.split() + shifts.split() + [folder]
    assert run_example("ResIBShift34-dorefa-s1", given) == 0
    assert checkpoints.last_complete(str(folder))
    return folder


@slow
@pytest.mark.parametrize("bita", [32, 8])
def test_a_trained_network_reads_as_many_digits(bita, trained, tmp_path):
    source = open_checkpoint(str(trained), bita=bita)
    packed = pack(source)
    path = str(tmp_path / "m.onnx")
    onnx_int8.save_int8(path, packed, images.calibration_batches(source.model, "digits", 64))
    batches = list(images.test_batches(source.model, "digits"))
    exact, found = of_checkpoint(source), load(path)
    logits = [np.concatenate([p.logits(b[0]) for b in batches]) for p in (exact, found)]
    top1 = [images.evaluate(p, batches)["top1"] for p in (exact, found)]
    assert top1[0] > 60
    assert abs(top1[1] - top1[0]) <= 3
    assert np.corrcoef(logits[0].ravel(), logits[1].ravel())[0, 1] > 0.99


@slow
def test_all_convolutions_and_sums_run_in_integers_without_clips_and_norms(saved, tmp_path):
    for name, settings in (("sspq34", {}), ("lspq50", {"image_size": 40})):
        s = saved(models.build, name=name, num_classes=10, bita=8, **settings)
        model, packed = s.model, s.packed
        exact = collections.Counter(n.op_type for n in onnx_graph.to_onnx(packed).graph.node)
        counts = optimized(onnx_int8.to_int8(packed, [noise(model)]), tmp_path)
        assert counts["QLinearConv"] == exact["Conv"] > 30
        assert counts["QLinearAdd"] == exact["Add"] - 1 > 10  # the last is the linear layer's bias
        assert counts["MatMulInteger"] + counts["MatMulIntegerToFloat"] == 1
        left = {"Conv", "FusedConv", "Clip", "Min", "Max", "Round", "BatchNormalization", "Relu"}
        assert not left & set(counts)


@pytest.mark.parametrize(
    "name, settings",
    [
        pytest.param("resnet18", {"image_size": 40}, marks=slow),
        pytest.param("preact18", {"image_size": 40}, marks=slow),
        pytest.param("asl18", {"image_size": 40, "bita": 32}, marks=slow),
        pytest.param("resIBShift18", {"image_size": 40}, marks=slow),
        pytest.param("se50", {"image_size": 40}, marks=slow),
        ("alexnet", {"image_size": 67, "width": 0.25}),
        ("lenet", {}),
    ],
)
def test_other_networks_have_close_logits(name, settings, saved):
    s = saved(models.build, name=name, num_classes=10, **settings)
    x, expected = s.images, s.logits
    (got,) = run(onnx_int8.to_int8(s.packed, [x]), x)
    assert np.linalg.norm(got - expected) < 0.2 * np.linalg.norm(expected)
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.98


@slow
def test_activations_have_the_levels_of_the_network_s_quantizer(saved):
    """Integer k is the level k/n, saturated below 0 and above n."""
    for bita in (2, 4, 8):
        s = saved(bitw=4, bita=bita)
        model = s.model
        found = onnx_int8.to_int8(s.packed, [noise(model)])
        constants = {t.name: numpy_helper.to_array(t) for t in found.graph.initializer}
        wide = next(n for n in found.graph.node if n.name.startswith("conv2blk1/truediv/"))
        name = wide.name.rsplit("/", 1)[0]
        assert constants[name + "/scale"] == np.float32(1 / (2**bita - 1))
        assert constants[name + "/zero"] == 0
        (values,) = run(found, noise(model), name + "/q")
        assert values.dtype == np.uint8 and values.min() == 0 and values.max() == 2**bita - 1


def test_kernels_of_few_levels_and_their_norm_are_exact():
    rng = np.random.RandomState(0)
    codes = rng.randint(0, 16, [8, 5, 1, 1])
    steps = codes.astype(np.float32) * (np.float32(1) / np.float32(15))
    levels = encode_quantized(2 * steps - 1, 4)
    assert levels.scheme == "levels"
    factor = rng.standard_normal(8)
    factor[0] = 0
    kernel = 2 * codes / 15 - 1
    step = onnx_integers.kernel_step(levels)
    integers, scale = onnx_integers.quantize_kernel(kernel, factor, step, np.zeros(8))
    assert integers.dtype == np.int8 and np.abs(integers).max() <= 15
    np.testing.assert_array_equal(integers[1:], ((2 * codes - 15).T * np.sign(factor)).T[1:])
    np.testing.assert_allclose(
        integers * scale[:, None, None, None], kernel * factor[:, None, None, None], rtol=1e-6
    )


def test_other_kernels_are_rounded_to_half_a_step_of_their_output():
    kernel = np.random.RandomState(0).standard_normal([6, 7, 3, 3])
    factor = np.array([1, -2, 0.001, 1000, 0, 3.0])
    integers, scale = onnx_integers.quantize_kernel(kernel, factor, None, np.zeros(6))
    folded = kernel * factor[:, None, None, None]
    off = np.abs(integers * scale[:, None, None, None] - folded).reshape(6, -1).max(1)
    assert np.abs(integers).max() == onnx_integers.LARGEST
    assert (off <= 0.5001 * scale).all()


def test_a_bias_beyond_the_range_of_its_kernel_gets_a_coarser_scale():
    least = np.array([0.0, 1.0])
    integers, scale = onnx_integers.quantize_kernel(
        np.full([2, 1, 1, 1], 1e-3), np.ones(2), None, least
    )
    assert scale[1] == 1 and integers[1] == 0 and integers[0] == onnx_integers.LARGEST


def test_only_grids_within_the_range_count_as_exact():
    values = np.linspace(-1, 1, 256, dtype=np.float32)
    assert onnx_integers.kernel_step(encode_quantized(values, 8)) is None
    assert onnx_integers.kernel_step(None) is None
    assert onnx_integers.kernel_step(encode_uniform(values.reshape(16, 16), 8)) is None
    assert onnx_integers.kernel_step(encode_uniform(values.reshape(16, 16), 7)).shape == (16,)
    signs = np.array([0.5, -0.5, 0.5], np.float32)
    assert onnx_integers.kernel_step(encode_quantized(signs, 1)) == 0.5


def test_weights_of_pixels_still_add_up_to_one():
    f, g = np.random.RandomState(0).uniform(size=[2, 1000, 1, 1])
    taps = np.concatenate([(1 - f) * (1 - g), f * (1 - g), (1 - f) * g, f * g], 1)[..., None]
    stored = onnx_integers.quantize_taps(taps)
    assert (stored.sum((1, 2), dtype=int) == 255).all()
    assert np.abs(stored / 255 - taps).max() < 1 / 255
    np.testing.assert_array_equal(onnx_integers.quantize_taps(np.eye(4)), 255 * np.eye(4))


def whole_pixels(sess):
    every_kind_of_shift(sess, fractions=False)


@slow
def test_integer_shifts_move_integers_exactly(saved):
    """What a shift of whole pixels gives has the same values as its input."""
    packed = saved(change=whole_pixels, bitw=4, bita=8).packed
    x = noise(small())
    found = onnx_int8.to_int8(packed, [x])
    shift = "conv2blk1/shift_q/SP/shift2d"
    given, moved = run(found, x, "conv2blk1/truediv/q", shift + "/q")
    zoomed = onnx_graph.to_onnx(packed)
    node = next(n for n in zoomed.graph.node if n.output[0] == shift)
    taps = {t.name: numpy_helper.to_array(t) for t in zoomed.graph.initializer}[node.input[1]]
    (expected,) = run(one_node(node, given.shape, taps), given.astype(np.float32))
    np.testing.assert_array_equal(moved, expected)


def one_node(node, shape, taps):
    """A model of one node of float32, with its taps."""
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(taps, node.input[1])],
    )
    return helper.make_model(graph, ir_version=7, opset_imports=[helper.make_opsetid("", 13)])


def test_calibration_needs_images_without_nan(saved):
    packed = saved().packed
    with pytest.raises(ExportError, match="calibrating: No data"):
        onnx_int8.to_int8(packed, [])
    with pytest.raises(ExportError, match="calibrating: .* ranges from nan"):
        onnx_int8.to_int8(packed, [np.full([1, 32, 32, 3], np.nan, np.float32)])


def test_calibration_images_are_spread_over_all_of_the_training_images():
    model = small()
    batches = list(images.calibration_batches(model, "digits", 100))
    assert [len(b) for b in batches] == [64, 36]
    every = np.concatenate(list(images.calibration_batches(model, "digits", 10**6)))
    assert len(every) == 1437
    chosen = np.concatenate(batches)
    np.testing.assert_array_equal(chosen[[0, -1]], every[[0, -1]])
    assert np.abs(every.mean(0)).max() < 1e-3
