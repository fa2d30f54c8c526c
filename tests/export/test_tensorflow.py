"""Frozen graphs and SavedModels give the graph's logits in a TensorFlow that has no sspq."""

import os
import subprocess
import sys

import numpy as np
import pytest

from sspq import models, oplib
from sspq.compat import tf
from sspq.export import tensorflow as frozen
from sspq.export.packed.encoding import encode_float
from sspq.export.tensorflow import FrozenGraphError
from sspq.files import read_json
from tests.export.models import small

# What another program does, in both of TensorFlow's interfaces. For each folder in the current one:
# m.pb, and saved/ as a SavedModel, on x.npy. SSPQ_OTHER_PYTHON names an interpreter with another
# TensorFlow, such as 2.15.
ELSEWHERE = """
import glob, os, sys
import numpy as np
import tensorflow as tf
v1, v2 = tf.compat.v1, tf.compat.v2
def all_of(run):
    for folder in sorted(glob.glob("*/")):
        run(folder, np.load(folder + "x.npy"))
def in_graph(name, load):
    def run(folder, x):
        with v1.Graph().as_default(), v1.Session() as sess:
            load(sess, folder)
            np.save(folder + name, sess.run("logits:0", {"input:0": x}))
    return run
def graph(sess, folder):
    d = v1.GraphDef()
    with open(folder + "m.pb", "rb") as f:
        d.ParseFromString(f.read())
    v1.import_graph_def(d, name="")
def signature(folder, x):
    f = v2.saved_model.load(folder + "saved").signatures["serving_default"]
    out = f(v2.constant(x))
    np.save(folder + "v2.npy", out["logits"].numpy())
    np.testing.assert_allclose(out["probabilities"].numpy().sum(1), 1, rtol=1e-5)
all_of(in_graph("graph.npy", graph))
def saved(sess, folder):
    v1.saved_model.load(sess, ["serve"], folder + "saved")
all_of(in_graph("v1.npy", saved))
v1.enable_v2_behavior()
all_of(signature)
assert not any(m.split(".")[0] in ("sspq", "tensorpack") for m in sys.modules), sys.modules
"""

WAYS = ("graph", "v1", "v2")  # to load it
MODELS = {
    "sspq34-w4": lambda: small(bitw=4),
    "sspq34-a8": lambda: small(bitw=4, bita=8),
    "lspq18": lambda: models.build("lspq18", image_size=40, num_classes=10, bita=32),
    "alexnet": lambda: models.build("alexnet", image_size=67, num_classes=10, width=0.25),
    "lenet": lambda: models.build("lenet", num_classes=10),
}


def move(sess):
    """Far shifts, and whole ones."""
    for v in tf.global_variables():
        if v.op.name == "conv3blk1/shift_q/SP/SP":
            value = sess.run(v)
            value[:, :6] = [[1e9, -1e9, 40, -40, 31, -3], [0, 0.5, 0, 2, -31.5, -3]]
            v.load(value, sess)


@pytest.fixture(scope="module")
def elsewhere(saved, tmp_path_factory):
    """The folder that ELSEWHERE has been through; there is expected.npy as well."""
    folder = tmp_path_factory.mktemp("frozen")
    for name, model in MODELS.items():
        here = folder / name
        here.mkdir()
        s = saved(model, move)
        frozen.save_graph(str(here / "m.pb"), s.packed)
        frozen.save_model(str(here / "saved"), s.packed)
        np.save(str(here / "x.npy"), s.images)
        np.save(str(here / "expected.npy"), s.logits)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [os.environ.get("SSPQ_OTHER_PYTHON", sys.executable), "-c", ELSEWHERE],
        cwd=str(folder),
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", [name for name in MODELS if not name.endswith("a8")])
def test_the_logits_are_the_same_elsewhere(name, elsewhere):
    expected = np.load(str(elsewhere / name / "expected.npy"))
    for way in WAYS:
        got = np.load(str(elsewhere / name / (way + ".npy")))
        atol = 1e-4 * max(1, np.abs(expected).max())
        np.testing.assert_allclose(got, expected, atol=atol, err_msg=way)
        np.testing.assert_array_equal(got.argmax(1), expected.argmax(1), err_msg=way)


def test_rounded_activations_agree_but_for_values_between_two_levels(elsewhere):
    folder = elsewhere / "sspq34-a8"
    expected = np.load(str(folder / "expected.npy"))
    for way in WAYS:
        got = np.load(str(folder / (way + ".npy")))
        assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.999, way
        np.testing.assert_array_equal(got.argmax(1), expected.argmax(1), err_msg=way)


def test_a_graph_has_quantized_constants_and_nothing_of_training_or_of_sspq(saved):
    nodes = frozen.freeze(saved(bitw=4, bita=8).packed).node
    kinds = {n.op for n in nodes}
    assert not kinds & {
        "VariableV2",
        "VarHandleOp",
        "Assign",
        "StopGradient",
        "Tanh",
        "SspqShift2D",
    }
    assert [n.name for n in nodes if n.op == "Placeholder"] == ["input"]
    assert not any(n.device or "_gradient_op_type" in n.attr or "_class" in n.attr for n in nodes)
    kernel = next(n for n in nodes if n.name == "conv3blk1/conv1x1a/W")
    values = tf.make_ndarray(kernel.attr["value"].tensor)
    assert len(np.unique(values)) == len(np.unique(np.round((values + 1) * 7.5))) <= 16
    np.testing.assert_allclose((values + 1) * 7.5, np.round((values + 1) * 7.5), atol=1e-5)


@pytest.mark.slow
def test_kept_shifts_need_the_op_library_and_give_the_same(saved):
    s = saved(bitw=4)
    graph_def = frozen.freeze(s.packed, keep_shift=True)
    assert sum(n.op == "SspqShift2D" for n in graph_def.node) == 15
    oplib.load()
    tf.import_graph_def(graph_def, name="")
    with tf.Session() as sess:
        got = sess.run("logits:0", {"input:0": s.images})
    np.testing.assert_allclose(got, s.logits, atol=1e-4 * np.abs(s.logits).max())


def test_a_saved_model_says_which_model_it_is_and_replaces_nothing(saved, tmp_path):
    packed = saved().packed
    path = str(tmp_path / "saved")
    (tmp_path / "saved.tmp").mkdir()  # of a user
    size = frozen.save_model(path, packed)
    assert sorted(n for n in os.listdir(str(tmp_path)) if "saved" in n) == ["saved", "saved.tmp"]
    assert size > os.path.getsize(os.path.join(path, "saved_model.pb")) > 600000
    assert models.rebuild(read_json(os.path.join(path, frozen.DESCRIPTION))).num_classes == 10
    with pytest.raises(FrozenGraphError, match="saved exists already"):
        frozen.save_model(path, packed)


def test_what_cannot_be_frozen_is_named(saved):
    packed = saved().packed
    packed.tensors["conv2blk1/shift_q/SP/SP"] = encode_float(np.full([2, 16], np.nan), "float32")
    with pytest.raises(FrozenGraphError, match="conv2blk1/shift_q.* not finite"):
        frozen.freeze(packed)
