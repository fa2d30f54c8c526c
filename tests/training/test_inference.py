"""Weights that are quantized once infer what weights quantized for every batch do."""

import numpy as np
import pytest
from tensorpack import callbacks, predict
from tensorpack.callbacks import Inferencer, ModelSaver
from tensorpack.dataflow import DataFromList, RepeatedData
from tensorpack.input_source import QueueInput
from tensorpack.tfutils.sessinit import SaverRestore
from tensorpack.tfutils.tower import TowerContext
from tensorpack.train import SimpleTrainer, TrainConfig, launch_train_with_config

from sspq.compat import tf
from sspq.graphs.quantized import QUANTIZED_WEIGHTS, quantize_once
from sspq.models.cifar import SMALL_IMAGES
from sspq.models.classifier import Classifier
from sspq.quantizers.scope import weight_bits
from sspq.training import inference

IMAGES = np.random.RandomState(0).randn(8, 6).astype(np.float32)
LABELS = np.arange(8, dtype=np.int32) % 3


class OneKernel(Classifier):
    """The product of the input with one 3-bit kernel."""

    def __init__(self):
        bits = weight_bits("imagenet", "paper", 3)
        super().__init__(bits, 3, "auto", SMALL_IMAGES, ".*/W", False)
        self.base_lr = 1.0

    def inputs(self):
        return [tf.TensorSpec([None, 6], tf.float32, "input"), tf.TensorSpec([None], tf.int32, "y")]

    def logits(self, image):
        with tf.variable_scope("conv1x1a"):
            return tf.matmul(image, tf.get_variable("W", [6, 3]))

    def describe(self):
        return {"model": "one kernel"}


def batches():
    return DataFromList([[IMAGES[:4], LABELS[:4]], [IMAGES[4:], LABELS[4:]]], shuffle=False)


def save(path):
    with tf.Graph().as_default(), tf.Session() as sess:
        kernel = np.random.RandomState(1).randn(6, 3).astype(np.float32)
        tf.get_variable("conv1x1a/W", initializer=kernel)
        sess.run(tf.global_variables_initializer())
        return tf.train.Saver().save(sess, str(path / "model"))


def config(checkpoint):
    return predict.PredictConfig(
        model=OneKernel(),
        session_init=SaverRestore(checkpoint),
        input_names=["input"],
        output_names=["logits"],
    )


def ops_behind(tensor):
    """Types of all ops that have to run for the tensor."""
    seen, todo = set(), [tensor.op]
    while todo:
        op = todo.pop()
        if op not in seen:
            seen.add(op)
            todo += [t.op for t in op.inputs] + list(op.control_inputs)
    return {op.type for op in seen}


def test_a_predictor_gives_the_same_values_without_quantizing_again(tmp_path):
    checkpoint = save(tmp_path)
    plain = predict.OfflinePredictor(config(checkpoint))
    once = inference.OfflinePredictor(config(checkpoint))
    np.testing.assert_array_equal(once(IMAGES)[0], plain(IMAGES)[0])
    assert "Tanh" in ops_behind(plain.output_tensors[0])
    assert not {"Tanh", "Rint"} & ops_behind(once.output_tensors[0])


def test_a_predictor_that_is_fed_by_a_queue_gives_the_same_values(tmp_path):
    checkpoint = save(tmp_path)
    expected = predict.OfflinePredictor(config(checkpoint))(IMAGES)[0]
    once = inference.FeedfreePredictor(config(checkpoint), QueueInput(batches()))
    np.testing.assert_allclose(np.concatenate([once()[0], once()[0]]), expected, rtol=1e-6)


def test_a_graph_that_quantizes_once_has_no_other_variables():
    with quantize_once(), TowerContext("", is_training=False):
        OneKernel().build_graph(tf.constant(IMAGES), tf.constant(LABELS))
    assert [v.op.name for v in tf.global_variables()] == ["conv1x1a/W"]
    assert tf.local_variables() == []


def test_weights_are_those_of_the_last_refresh(sess):
    with quantize_once() as weights, TowerContext("", is_training=False):
        OneKernel().build_graph(tf.constant(IMAGES), tf.constant(LABELS))
    ((v, quantized),) = tf.get_collection(QUANTIZED_WEIGHTS)
    sess.run(tf.global_variables_initializer())
    with pytest.raises(tf.errors.FailedPreconditionError, match="conv1x1a/W_quantized"):
        sess.run(quantized)
    weights.refresh(sess)
    before = sess.run(quantized)
    sess.run(v.initializer)
    np.testing.assert_array_equal(sess.run(quantized), before)
    weights.refresh(sess)
    assert (sess.run(quantized) != before).any()


def test_towers_that_train_quantize_in_every_step():
    with quantize_once(), TowerContext("", is_training=True):
        OneKernel().build_graph(tf.constant(IMAGES), tf.constant(LABELS))
    ((_, quantized),) = tf.get_collection(QUANTIZED_WEIGHTS)
    assert "Tanh" in ops_behind(quantized)


class Record(Inferencer):
    """Keeps the logits of every epoch."""

    def __init__(self):
        self.epochs = []

    def _get_fetches(self):
        return ["logits"]

    def _before_inference(self):
        self.epochs.append([])

    def _on_fetches(self, results):
        self.epochs[-1].append(results[0])


def by_value(logits):
    """An epoch's logits in the order of their values: two towers share the batches as they come."""
    rows = np.concatenate(logits)
    return rows[np.lexsort(rows.T)]


def runner(kind, record):
    if kind == "one tower":
        return inference.InferenceRunner(batches(), [record])
    return inference.DataParallelInferenceRunner(batches(), [record], [-1, -1])  # both on the CPU


@pytest.mark.parametrize("kind", ["one tower", "two towers"])
def test_training_validates_with_the_weights_of_the_epoch(kind, tmp_path):
    record, plain = Record(), Record()
    launch_train_with_config(
        TrainConfig(
            model=OneKernel(),
            data=QueueInput(RepeatedData(batches(), -1)),
            callbacks=[
                runner(kind, record),
                callbacks.InferenceRunner(batches(), [plain], tower_name="Plain"),
                ModelSaver(checkpoint_dir=str(tmp_path)),
            ],
            monitors=[],
            steps_per_epoch=2,
            max_epoch=3,
        ),
        SimpleTrainer(),
    )
    first, second, last = [by_value(logits) for logits in record.epochs]
    assert (first != second).any() and (second != last).any()
    np.testing.assert_array_equal([first, second, last], [by_value(e) for e in plain.epochs])
    stored = {n for n, _ in tf.train.list_variables(tf.train.latest_checkpoint(str(tmp_path)))}
    assert not any("quantized" in name for name in stored)
