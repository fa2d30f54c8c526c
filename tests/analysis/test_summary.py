"""The summary counts what is in the graph, and guesses nothing."""

import csv
import io
import json

import numpy as np
import pytest
from tensorpack.models import Conv2D, FullyConnected
from tensorpack.tfutils.argscope import argscope

import sspq
from sspq.analysis.size import MIB, model_size
from sspq.analysis.summary import summarize
from sspq.compat import tf
from sspq.data.preprocessing import Preprocessing
from sspq.models.classifier import Classifier
from sspq.quantizers.scope import WeightBits, weight_bits
from tests.graphs.test_imagenet import VARIABLES, train_tower


class Net(Classifier):
    """A function of an 8x8 image as a classifier of ten classes."""

    def __init__(self, function, data_format="NHWC", bits=None):
        images = Preprocessing(8, "RGB", "float32", "resize")
        super().__init__(bits or WeightBits(()), 10, data_format, images, ".*", False)
        self._function = function

    def logits(self, image):
        x = tf.transpose(image, [0, 3, 1, 2]) if self.data_format == "NCHW" else image
        with argscope([Conv2D], data_format=self.data_format):
            return self._function(x)

    def describe(self):
        return {"model": "net"}


def rows_of(function, **arguments):
    return {row.layer: row for row in summarize(Net(function, **arguments)).rows}


@pytest.mark.parametrize("name", sorted(n for n in VARIABLES if not n.endswith(("101", "152"))))
def test_parameters_are_those_of_the_graph_and_nothing_is_unknown(name):
    graph, depth, mode, parameters = VARIABLES[name]
    totals = summarize(sspq.ImageNetSSPQ(graph, depth, mode)).totals
    assert totals.parameters == parameters and totals.unknown == ()
    assert totals.float32_bytes == 4 * parameters


@pytest.mark.parametrize("name, macs", [("resnet50", 4089184256), ("resnet18", 1814073344)])
def test_multiply_adds_of_resnet_are_the_known_ones(name, macs):
    """4.09 and 1.81 billion for one image of 224x224 pixels, the linear layer included."""
    graph, depth, mode, _ = VARIABLES[name]
    work = summarize(sspq.ImageNetSSPQ(graph, depth, mode)).totals.work
    assert work["1x1"] + work["spatial"] + work["linear"] == macs
    assert work["shift"] == 0


def test_groups_of_a_convolution_are_one_layer():
    rows = {r.layer: r for r in summarize(sspq.ImageNetSSPQ(mode="resnext32x4d")).rows}
    grouped = rows["group0/block0/conv2"]
    assert grouped.output == (56, 56, 128) and grouped.parameters == 9 * 4 * 128
    assert grouped.work == 56 * 56 * grouped.parameters


@pytest.mark.parametrize(
    "model",
    [
        lambda f: sspq.CifarSSPQ34(8, 4, data_format=f),
        lambda f: sspq.ImageNetSSPQ("resnet_model4", 18, data_format=f, linear_bits=8),
        lambda f: sspq.ImageNetSSPQ(mode="asl", depth=18, data_format=f),
        lambda f: sspq.ImageNetSSPQ(mode="se", data_format=f),
    ],
)
def test_both_layouts_have_the_same_summary(model):
    assert summarize(model("NCHW")) == summarize(model("NHWC"))


@pytest.mark.parametrize("bitw, linear_bits", [(1, 32), (4, 8), (32, 32)])
def test_bytes_are_those_of_the_report(bitw, linear_bits):
    model = sspq.ImageNetSSPQ(bitw=bitw, linear_bits=linear_bits, depth=18)
    size = model_size(train_tower(model), model.weight_bits)
    totals = summarize(model).totals
    assert totals.quantized_bytes == size.quantized_bytes
    assert totals.float32_bytes == size.float32_bytes


def test_a_shift_block_is_told_apart():
    rows = {r.layer: r for r in summarize(sspq.CifarSSPQ34(8, 4)).rows}
    first, shift, last = [rows["conv3blk1/" + n] for n in ("conv1x1a", "shift_q", "conv1x1b")]
    assert (first.kind, first.weight_bits, first.activation_bits) == ("1x1", 8, 4)
    assert first.work == 32 * 32 * 16 * 32
    assert (shift.kind, shift.output, shift.parameters) == ("shift", (16, 16, 32), 64)
    assert (shift.weight_bits, shift.activation_bits) == (32, 4)
    assert shift.work == 4 * 16 * 16 * 32
    # Between four quantized pixels lie values that are not quantized.
    assert last.activation_bits == 32
    assert rows["fct"].activation_bits == 4 and rows["conv1"].activation_bits == 32


def test_a_convolution_in_a_known_shape():
    row = rows_of(lambda x: FullyConnected("f", Conv2D("c", x, 5, (3, 1), strides=2), 10))["c"]
    assert (row.kind, row.window, row.output) == ("spatial", "3x1/2", (4, 4, 5))
    assert row.parameters == 3 * 3 * 5 + 5 and row.work == 4 * 4 * 5 * 3 * 3


def test_a_depthwise_convolution_reads_one_channel():
    def net(x):
        kernel = tf.get_variable("d/W", [3, 3, 3, 2])
        return FullyConnected("f", tf.nn.depthwise_conv2d(x, kernel, [1] * 4, "SAME"), 10)

    row = rows_of(net)["d"]
    assert (row.kind, row.output, row.work) == ("spatial", (8, 8, 6), 8 * 8 * 6 * 9)


def test_an_op_that_is_not_known_is_listed_as_unknown():
    summary = summarize(Net(lambda x: FullyConnected("f", tf.nn.elu(x, name="soft"), 10)))
    row = next(r for r in summary.rows if r.layer == "soft")
    assert row.kind == "unknown" and row.work is None and row.output == (8, 8, 3)
    assert summary.totals.unknown == ("soft",)
    assert "soft: their work is in no sum" in str(summary)


def test_variables_that_no_known_op_reads_are_listed_as_unknown_and_counted():
    def net(x):
        tf.get_variable("unused/W", [7])
        return FullyConnected("f", x * tf.get_variable("scaled/factor", [3]), 10)

    summary = summarize(Net(net))
    assert sorted(summary.totals.unknown) == ["scaled", "unused"]
    assert summary.totals.parameters == 7 + 3 + 8 * 8 * 3 * 10 + 10


def test_pools_in_one_scope_stay_apart():
    def net(x):
        with tf.variable_scope("block"):
            for _ in range(2):
                x = tf.nn.max_pool2d(x, 2, 2, "SAME", name="MaxPool")
        return FullyConnected("f", x, 10)

    pools = [r for r in summarize(Net(net)).rows if r.kind == "pool"]
    assert [r.output for r in pools] == [(4, 4, 3), (2, 2, 3)]
    assert len({r.layer for r in pools}) == 2


def test_bits_follow_the_model_s_rule():
    bits = weight_bits("imagenet", "paper", 3)
    row = rows_of(lambda x: FullyConnected("f", Conv2D("conv1x1a", x, 5, 1), 10), bits=bits)
    assert row["conv1x1a"].weight_bits == 3 and row["f"].weight_bits == 32
    assert row["conv1x1a"].bytes == -(-15 * 3 // 8) + 4 * 5


def test_density_comes_with_top1():
    model = sspq.ImageNetSSPQ(bitw=1)
    summary = summarize(model, top1=73.93)
    mib = summary.totals.quantized_bytes / MIB
    assert summary.density == pytest.approx(np.log10(73.93 / mib)) == pytest.approx(1.316, abs=1e-3)
    assert summarize(model).density is None
    assert "density         1.316" in str(summary)


def test_text_json_csv_and_markdown_hold_the_same_layers():
    summary = summarize(sspq.CifarSSPQ34(8, 8))
    names = [row.layer for row in summary.rows]
    value = json.loads(summary.to_json())
    assert [layer["layer"] for layer in value["layers"]] == names
    assert value["totals"]["parameters"] == 162244
    rows = list(csv.DictReader(io.StringIO(summary.to_csv())))
    assert [row["layer"] for row in rows] == names
    assert sum(int(row["parameters"]) for row in rows) == 162244
    for text in (str(summary), summary.to_markdown()):
        for name in names:
            assert name in text
        assert "162,244" in text
