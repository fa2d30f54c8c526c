"""SSPQ, L-SSPQ and the other modes against values computed from the released graphs."""

import numpy as np
import pytest
from tensorpack.models import BatchNorm, Conv2D, GlobalAvgPooling, MaxPooling
from tensorpack.tfutils.argscope import argscope
from tensorpack.tfutils.tower import TowerContext
from tensorpack.tfutils.varreplace import remap_variables

import sspq
from sspq import resnet_model2, resnet_model3, resnet_model4
from sspq.analysis.size import MIB, model_size
from sspq.compat import tf
from sspq.graphs.imagenet import BASIC_DEPTHS, MODES, normalize_image
from sspq.graphs.quantized import QUANTIZED_WEIGHTS
from sspq.models.imagenet import DECAY_KERNELS_AND_NORMS
from tests.golden import weights
from tests.graphs import golden

IMAGES, LABELS = weights.images(2, 64)

# Golden file: arguments.
VALUES = {
    "imagenet-s1-released": dict(graph="resnet_model3", variant="released"),
    "imagenet-s2-paper": dict(graph="resnet_model4"),
    "sspq50-released": dict(graph="resnet_model2", variant="released"),
    "resIBShift50": dict(mode="resIBShift"),
    "resnet50": dict(mode="resnet"),
    "preact18": dict(mode="preact", depth=18),
}
# Key in variables.json: (graph, depth, mode, trainable parameters).
VARIABLES = {
    "sspq50": ("resnet_model2", 50, "QresIBShift", 14262312),
    "lsspq50": ("resnet_model3", 50, "QresIBShift", 11668520),
    "lsspq101": ("resnet_model3", 101, "QresIBShift", 22775848),
    "lsspq152": ("resnet_model4", 152, "QresIBShift", 30192680),
    "asl50": ("resnet_model3", 50, "asl", 22235688),
    "resIBShift50": ("resnet_model2", 50, "resIBShift", 14262312),
    "resnet18": ("resnet_model2", 18, "resnet", 11689512),
    "resnet50": ("resnet_model4", 50, "resnet", 25557032),
    "preact18": ("resnet_model3", 18, "preact", 11687720),
    "preact50": ("resnet_model3", 50, "preact", 25549352),
    "se50": ("resnet_model3", 50, "se", 28088024),
    "resnext32x4d50": ("resnet_model3", 50, "resnext32x4d", 25028904),
}
BASIC_MODES = [m for m in MODES if m not in ("se", "resnext32x4d")]


def small(**arguments):
    return sspq.ImageNetSSPQ(image_size=64, **arguments)


def build(sess, **arguments):
    return golden.Built(sess, small(**arguments), IMAGES, LABELS)


def train_tower(model):
    """Builds the graph to train alone; returns its variables (name, shape)."""
    with TowerContext("", is_training=True):
        model.build_graph(*[tf.placeholder(s.dtype, s.shape) for s in model.inputs()])
    return [(v.op.name, tuple(v.shape.as_list())) for v in tf.trainable_variables()]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * ("50" in n)) for n in sorted(VALUES)]
)
def test_values_and_gradients_are_the_released_graph_s(name, sess):
    expected = golden.read(name)
    built = build(sess, **VALUES[name])
    built.load()
    golden.check_values(built, expected, rounded=name in ("imagenet-s2-paper", "sspq50-released"))
    assert built.variables() == expected["variables"]


DEEP = [n for n in VARIABLES if VARIABLES[n][1] > 50]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in DEEP)) for n in sorted(VARIABLES)]
)
def test_variables_are_exactly_the_released_graph_s(name):
    graph, depth, mode, parameters = VARIABLES[name]
    trainable = train_tower(sspq.ImageNetSSPQ(graph, depth, mode))
    assert golden.variables(tf.trainable_variables()) == golden.read("variables")[name]
    assert sum(int(np.prod(shape)) for _, shape in trainable) == parameters


def size_of(name, model):
    """Of a model whose variables are those of a golden graph."""
    trainable = [(n, tuple(shape)) for n, shape, t in golden.read("variables")[name] if t]
    return model_size(trainable, model.weight_bits)


@pytest.mark.parametrize(
    "name, mib",
    [
        ("resnet50", 97.49),
        ("asl50", 84.82),
        ("resIBShift50", 54.41),
        ("sspq50", 54.41),
        ("lsspq50", 44.51),
    ],
)
def test_float32_sizes_are_the_published_ones(name, mib):
    graph, depth, mode, _ = VARIABLES[name]
    size = size_of(name, sspq.ImageNetSSPQ(graph, depth, mode))
    assert round(size.float32_bytes / MIB, 2) == mib
    if mode != "QresIBShift":
        assert size.quantized_bytes == size.float32_bytes


@pytest.mark.parametrize(
    "bitw, linear_bits, mib",
    [(1, 32, "3.567"), (2, 8, "3.42"), (4, 32, "7.53"), (4, 8, "6.06"), (8, 8, "11.3")],
)
def test_quantized_sizes_of_l_sspq50_are_the_known_ones(bitw, linear_bits, mib):
    size = size_of("lsspq50", sspq.ImageNetSSPQ(bitw=bitw, linear_bits=linear_bits))
    digits = len(mib.partition(".")[2])
    assert f"{size.quantized_bytes / MIB:.{digits}f}" == mib


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_both_layouts_have_the_same_variables_and_values(mode):
    def one_block_a_group(**arguments):
        # Quantized weights may differ by a level: the last bit of tanh depends on how TensorFlow
        # splits a tensor among its threads.
        model = small(mode=mode, variant="released", **arguments)
        model.num_blocks = (2, 1, 1, 1)
        return model

    golden.check_layouts(False, one_block_a_group, IMAGES)


def test_both_layouts_agree_where_weights_and_activations_are_rounded():
    golden.check_layouts(True, small, IMAGES, graph="resnet_model4", depth=18)


@pytest.mark.parametrize("mode", BASIC_MODES)
def test_every_parameter_of_the_basic_blocks_learns(mode, sess):
    built = build(sess, mode=mode, depth=18, num_classes=10)
    built.load()
    norms = np.array(built.gradient_norms())
    assert np.isfinite(norms).all() and (norms > 0).all()


@pytest.mark.parametrize(
    "mode, kernels",
    [
        ("QresIBShift", {"conv1x1a/W": (1, 1, 64, 128), "conv1x1b/W": (1, 1, 128, 128)}),
        ("resIBShift", {"conv1/W": (1, 1, 64, 128), "conv3/W": (1, 1, 128, 128)}),
        ("asl", {"conv1/W": (1, 1, 64, 128)}),
    ],
)
@pytest.mark.parametrize("depth", BASIC_DEPTHS)
def test_basic_shift_blocks_have_a_shift_for_the_3x3_and_do_not_expand(depth, mode, kernels):
    shapes = dict(train_tower(sspq.ImageNetSSPQ(depth=depth, mode=mode)))
    assert not any(shape[:2] == (3, 3) for shape in shapes.values())
    block = {n: s for n, s in shapes.items() if n.startswith("group1/block0/") and len(s) == 4}
    shortcut = {"convshortcut/W": (1, 1, 64, 128)}
    assert block == {"group1/block0/" + n: s for n, s in dict(kernels, **shortcut).items()}
    blocks = {n.rsplit("/", 3)[0] for n in shapes if n.endswith("/SP")}
    assert len(blocks) == sum({18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}[depth])


def test_none_takes_the_graph_s_own_bits():
    own = {g: sspq.ImageNetSSPQ(g) for g in ("resnet_model2", "resnet_model3", "resnet_model4")}
    bits = {g: (m.bitw, m.bita) for g, m in own.items()}
    assert bits == {"resnet_model2": (1, 4), "resnet_model3": (4, 32), "resnet_model4": (4, 8)}
    asl = sspq.ImageNetSSPQ("resnet_model4", mode="asl")
    assert (asl.bitw, asl.bita) == (32, 8)
    given = sspq.ImageNetSSPQ("resnet_model4", bitw=2, bita=3)
    assert (given.bitw, given.bita) == (2, 3)


def test_released_quantizes_no_kernel_but_linear_if_asked():
    train_tower(sspq.ImageNetSSPQ(depth=18, variant="released", linear_bits=8))
    assert [v.op.name for v, _ in tf.get_collection(QUANTIZED_WEIGHTS)] == ["linear/W"]


def test_kernels_take_only_their_levels(sess):
    built = build(sess, depth=18, bitw=4, linear_bits=3)
    built.load()
    # Two in each of 8 blocks, 3 shortcuts, bfAP and linear.
    assert len(built.quantized) == 21
    for (v, _), value in zip(built.quantized, sess.run([q for _, q in built.quantized])):
        assert len(np.unique(value)) <= (8 if v.op.name == "linear/W" else 16), v.op.name


@pytest.mark.parametrize(
    "mode, count",
    # 8 blocks, 4 pre-activations, 4 ends of groups, bfAP and afAP; 8 pre-activations.
    [("QresIBShift", 18), ("asl", 8)],
)
def test_activations_take_only_their_levels(mode, count, sess):
    built = build(sess, depth=18, mode=mode, bita=2)
    built.load()
    rounded = built.inferred_activations()
    assert len(rounded) == count
    for value in rounded:
        assert set(np.unique(value)) <= {0, 1, 2, 3}


def test_weight_decay_is_on_kernels_and_on_norms_if_asked(sess):
    built = build(sess, mode="resnet", depth=18)
    with_norms = small(mode="resnet", depth=18)
    with_norms.weight_decay_pattern = DECAY_KERNELS_AND_NORMS
    with tf.variable_scope("", reuse=True), TowerContext("", is_training=True):
        cost = with_norms.build_graph(*built.feed)
    built.load()

    def decay(*leaves):
        return sum(
            0.5e-4 * np.sum(np.square(weights.value(v.op.name, v.shape.as_list()), dtype=float))
            for v in built.trainable
            if v.op.name.endswith(leaves)
        )

    entropy = sess.graph.get_tensor_by_name("cross_entropy:0")
    plain, all_in, entropy = built.run([built.train_cost, cost, entropy])
    np.testing.assert_allclose(plain - entropy, decay("/W"), rtol=1e-4)
    np.testing.assert_allclose(all_in - plain, decay("/gamma", "/beta"), rtol=1e-2)


def test_updates_follow_nesterov_s_momentum(sess):
    v = tf.get_variable("v", initializer=1.0)
    step = sspq.ImageNetSSPQ().optimizer().minimize(v * v)
    sess.run(tf.global_variables_initializer())
    expected, momentum = 1.0, 0.0
    for _ in range(3):
        sess.run(step)
        momentum = 0.9 * momentum + 2 * expected
        expected -= 0.1 * (2 * expected + 0.9 * momentum)
        np.testing.assert_allclose(sess.run(v), expected, rtol=1e-5)


def test_the_input_is_bgr_of_any_type(sess):
    bgr = np.zeros((1, 1, 1, 3), np.uint8)
    bgr[..., 2] = 255  # red
    expected = [-0.406 / 0.225, -0.456 / 0.224, (1 - 0.485) / 0.229]
    for dtype in (np.uint8, np.float32):
        np.testing.assert_allclose(
            sess.run(normalize_image(bgr.astype(dtype)))[0, 0, 0], expected, rtol=1e-5
        )


@pytest.mark.parametrize(
    "module, bits",
    [(resnet_model2, (1, 4, 32)), (resnet_model3, (4, 32, 32)), (resnet_model4, (4, 8, 32))],
)
def test_modules_keep_the_released_names(module, bits):
    assert (module.BITW, module.BITA, module.BITG) == bits
    for mode in MODES:
        assert callable(getattr(module, mode + "_group"))
        assert callable(getattr(module, mode + "_bottleneck"))
        assert hasattr(module, mode + "_basicblock") == (mode in BASIC_MODES)
    others = "resnet_shortcut get_bn fw fa fg new_get_variable new_w nonlin activate "
    others += "apply_preactivation apply_preactivation2 resnet_backbone"
    if module is not resnet_model2:
        others += " resnet_backbone2 beforeAP afterAP"
    for name in others.split():
        assert callable(getattr(module, name)), name


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_modules_work_as_the_released_scripts_use_them(data_format):
    shape = [None, 224, 224, 3] if data_format == "NHWC" else [None, 3, 224, 224]
    image = tf.placeholder(tf.float32, shape)
    layers = [Conv2D, MaxPooling, GlobalAvgPooling, BatchNorm]
    with TowerContext("", is_training=True), argscope(layers, data_format=data_format):
        with remap_variables(resnet_model3.new_get_variable):
            logits = resnet_model3.resnet_backbone2(
                image,
                [3, 4, 6, 2],
                resnet_model3.QresIBShift_group,
                resnet_model3.QresIBShift_bottleneck,
            )
    assert logits.shape.as_list() == [None, 1000]
    assert golden.variables(tf.trainable_variables()) == golden.read("variables")["lsspq50"]
    assert len(tf.get_collection(QUANTIZED_WEIGHTS)) == 35


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"graph": "resnet_model5"}, "`graph` must be one of .*'resnet_model5'"),
        ({"depth": 51}, r"`depth` must be one of \(18, 34, 50, 101, 152\), got 51"),
        ({"mode": "vgg"}, "`mode` must be one of .*'vgg'"),
        (
            {"mode": "se", "depth": 18},
            r"`depth` must be one of \(50, 101, 152\) in mode 'se', got 18",
        ),
        ({"bitw": 0}, "`bitw` must be an int from 1 to 32, got 0"),
        ({"bita": 33}, "`bita` must be an int from 1 to 32, got 33"),
        ({"linear_bits": 0.5}, "`linear_bits` must be an int from 1 to 32, got 0.5"),
        ({"mode": "resnet", "bita": 8}, "`bita` must be 32 or None in mode 'resnet', .* got 8"),
        ({"mode": "asl", "bitw": 4}, "`bitw` must be 32 or None in mode 'asl', .* got 4"),
        ({"variant": "fast"}, "`variant` must be one of .*'fast'"),
        ({"num_classes": 1}, "`num_classes` must be an int of at least 2, got 1"),
        ({"image_size": 0}, "`image_size` must be an int of at least 1, got 0"),
        ({"data_format": "NWHC"}, "`data_format` must be one of .*'NWHC'"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        sspq.ImageNetSSPQ(**arguments)
