"""AlexNet and LeNet: variables, values and training, as Caffe's files have them.

That AlexNet's logits are those of Caffe's files is tested in tests/test_caffe.py.
"""

import numpy as np
import pytest
from tensorpack.models import Conv2D
from tensorpack.tfutils.argscope import argscope
from tensorpack.tfutils.tower import TowerContext

import sspq
from sspq.compat import tf
from sspq.graphs.alexnet import normalize_image
from sspq.graphs.caffe_layers import lrn, max_pool
from tests.golden import weights
from tests.graphs import golden

SHAPES = {
    "conv1": (11, 11, 3, 96),
    "conv2": (5, 5, 48, 256),
    "conv3": (3, 3, 256, 384),
    "conv4": (3, 3, 192, 384),
    "conv5": (3, 3, 192, 256),
    "fc6": (9216, 4096),
    "fc7": (4096, 4096),
    "fc8": (4096, 1000),
}
LENET_SHAPES = {
    "conv1": (5, 5, 3, 20),
    "conv2": (5, 5, 20, 50),
    "ip1": (1250, 500),
    "ip2": (500, 10),
}
IMAGES, LABELS = weights.images(2, 103)


def small(**arguments):
    return sspq.AlexNet(10, 103, width=1 / 16, **arguments)


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "model, shapes, parameters",
    [(sspq.AlexNet, SHAPES, 60965224), (sspq.LeNet, LENET_SHAPES, 657080)],
)
def test_variables_are_caffe_s(model, shapes, parameters, data_format):
    described = model(data_format=data_format)
    with TowerContext("", is_training=True):
        described.build_graph(*[tf.placeholder(s.dtype, s.shape) for s in described.inputs()])
    expected = {}
    for name, shape in shapes.items():
        expected.update({name + "/W": shape, name + "/b": shape[-1:]})
    got = {v.op.name: tuple(v.shape.as_list()) for v in tf.global_variables()}
    assert got == expected
    assert sum(int(np.prod(shape)) for shape in got.values()) == parameters


def test_both_layouts_of_alexnet_compute_the_same():
    golden.check_layouts(False, small, IMAGES)


def test_both_layouts_of_lenet_compute_the_same():
    images = weights.images(2, 32)[0].astype(np.float32)
    golden.check_layouts(False, sspq.LeNet, images)


@pytest.mark.parametrize("size", [3, 5])
def test_lrn_divides_caffe_s_alpha_by_the_size(size, sess):
    x = np.random.RandomState(0).randn(2, 3, 4, 8) * 50
    padded = np.pad(np.square(x), [(0, 0)] * 3 + [(size // 2, size // 2)], "constant")
    sums = sum(padded[..., i : i + 8] for i in range(size))
    with argscope(Conv2D, data_format="NHWC"):
        y = sess.run(lrn("norm", tf.constant(x, tf.float32), size, 2e-3, 0.6))
    np.testing.assert_allclose(y, x * (1 + 2e-3 / size * sums) ** -0.6, rtol=1e-5)


@pytest.mark.parametrize("size, edge, out", [(3, 55, 27), (3, 24, 12), (2, 28, 14), (2, 7, 4)])
def test_pooling_rounds_up_the_number_of_windows(size, edge, out, sess):
    x = -1 - np.random.RandomState(0).rand(1, edge, edge, 1)  # padding by zeros would win
    with argscope(Conv2D, data_format="NHWC"):
        y = sess.run(max_pool("pool", tf.constant(x, tf.float32), size))
    starts = range(0, 2 * out, 2)
    expected = [[x[0, i : i + size, j : j + size].max() for j in starts] for i in starts]
    np.testing.assert_allclose(y[0, :, :, 0], expected, rtol=1e-6)


def test_initial_values_are_caffe_s(sess):
    built = golden.Built(sess, sspq.AlexNet(10, 103, width=1 / 4), IMAGES, LABELS)
    sess.run(tf.global_variables_initializer())
    values = {v.op.name: v for v in built.trainable}
    for name, value in zip(values, sess.run(list(values.values()))):
        if name.endswith("/W"):
            deviation = 0.005 if name in ("fc6/W", "fc7/W") else 0.01
            assert abs(value.std() / deviation - 1) < 0.05 and abs(value.mean()) < 0.001, name
            assert np.abs(value).max() > 2.5 * deviation, name  # gaussian, not truncated
        else:
            bias = 0.0 if name in ("conv1/b", "conv3/b", "fc8/b") else 0.1
            np.testing.assert_array_equal(value, np.float32(bias), err_msg=name)


def test_the_mean_pixel_is_bgr(sess):
    out = sess.run(normalize_image(np.full((1, 1, 1, 3), 200, np.uint8)))
    np.testing.assert_allclose(out[0, 0, 0], [95.993, 83.331, 77.321], rtol=1e-5)


def test_hidden_units_drop_out_in_training_alone(sess):
    built = golden.Built(sess, small(), IMAGES, LABELS)
    built.load()
    for number in (6, 7):
        [dropped] = [
            op.outputs[0]
            for op in sess.graph.get_operations()
            if op.name.startswith(f"drop{number}/") and op.type == "Mul" and "mul_1" in op.name
        ]
        share = np.mean(np.concatenate([built.run(dropped) for _ in range(20)]) != 0)
        active = np.mean(built.run(sess.graph.get_tensor_by_name(f"fc{number}/Relu:0")) > 0)
        assert 0.4 < share / active < 0.6
    first, again = built.run(built.logits), built.run(built.logits)
    np.testing.assert_array_equal(first, again)


def test_weights_decay_and_biases_do_not(sess):
    built = golden.Built(sess, small(), IMAGES, LABELS)
    built.load()
    entropy = sess.graph.get_tensor_by_name("cross_entropy:0")
    # In one run: what drops out is drawn anew in each.
    cost, entropy = built.run([built.train_cost, entropy])
    kernels = [v.op.name for v in built.trainable if v.op.name.endswith("/W")]
    assert len(kernels) == 8
    shapes = {v.op.name: v.shape.as_list() for v in built.trainable}
    squares = sum(np.sum(np.square(weights.value(n, shapes[n]), dtype=float)) for n in kernels)
    np.testing.assert_allclose(cost - entropy, 0.5 * 5e-4 * squares, rtol=1e-3)


def test_biases_learn_twice_as_fast(sess):
    w, b = [tf.get_variable("fc8/" + name, initializer=1.0) for name in "Wb"]
    step = small().optimizer().minimize(w * w + b * b)
    sess.run(tf.global_variables_initializer())
    expected, momentum = np.ones(2), np.zeros(2)
    for _ in range(3):
        sess.run(step)
        momentum = 0.9 * momentum + 2 * expected * [1, 2]
        expected = expected - 0.01 * momentum
        np.testing.assert_allclose(sess.run([w, b]), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_classes": 1}, "`num_classes` must be an int of at least 2, got 1"),
        ({"image_size": 38}, "`image_size` must be an int of at least 39, got 38"),
        ({"image_size": 227.0}, "`image_size` must be an int of at least 39, got 227.0"),
        ({"width": 0}, "`width` must be a number above 0, at most 16, got 0"),
        ({"width": float("nan")}, "`width` must be a number above 0, at most 16, got nan"),
        ({"data_format": "NWHC"}, "`data_format` must be one of .*'NWHC'"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        sspq.AlexNet(**arguments)


def test_the_least_image_and_the_least_width_work(sess):
    images, labels = weights.images(2, 39)
    built = golden.Built(sess, sspq.AlexNet(10, 39, width=1e-6), images, labels)
    built.load()
    assert ["fc6/W", [2, 2], True] in built.variables()
    assert np.isfinite(built.run(built.logits)).all()
