"""Checkpoints that are damaged or foreign are never loaded."""

import os

import numpy as np
import pytest
from tensorpack.tfutils.optimizer import AccumGradOptimizer

from sspq import checkpoints
from sspq.compat import tf


def save(folder, step, shape=(3, 4), names=("a/W", "b/W")):
    """Adds a checkpoint to ``folder`` the way a training run does; returns its prefix."""
    with tf.Graph().as_default(), tf.Session() as sess:
        for name in names:
            tf.get_variable(name, initializer=tf.fill(shape, float(step)))
        tf.get_variable("learning_rate", initializer=float(step))
        tf.train.get_or_create_global_step().initializer.run()
        sess.run(tf.global_variables_initializer())
        saver = tf.train.Saver(save_relative_paths=True)
        tf.train.get_global_step().load(step, sess)
        return saver.save(sess, os.path.join(folder, "model"), step, write_meta_graph=False)


def truncate(path, size):
    with open(path, "r+b") as f:
        f.truncate(size)


def test_the_last_complete_checkpoint_of_a_folder_is_found(tmp_path):
    folder = str(tmp_path)
    assert checkpoints.last_complete(folder) is None
    save(folder, 1)
    second = save(folder, 2)
    assert checkpoints.last_complete(folder) == second
    assert checkpoints.global_step(second) == 2


@pytest.mark.parametrize("ending", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_half_written_checkpoint_is_passed_over(ending, share, tmp_path):
    folder = str(tmp_path)
    first, second = save(folder, 1), save(folder, 2)
    truncate(second + ending, int(share * os.path.getsize(second + ending)))
    assert checkpoints.last_complete(folder) == first
    with pytest.raises(checkpoints.CheckpointError, match="not a complete checkpoint"):
        checkpoints.resolve(second)


def test_a_flipped_bit_is_noticed(tmp_path):
    prefix = save(str(tmp_path), 1)
    path = prefix + ".data-00000-of-00001"
    with open(path, "r+b") as f:
        f.seek(10)
        byte = f.read(1)
        f.seek(10)
        f.write(bytes([byte[0] ^ 4]))
    assert checkpoints.damage(prefix) is not None
    assert checkpoints.last_complete(str(tmp_path)) is None


def test_a_lost_file_and_a_broken_state_file_are_survived(tmp_path):
    folder = str(tmp_path)
    first, second = save(folder, 1), save(folder, 2)
    os.remove(second + ".data-00000-of-00001")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "mod')
    assert checkpoints.last_complete(folder) == first


def test_only_the_newest_whole_checkpoints_are_kept(tmp_path):
    folder = str(tmp_path)
    saved = [save(folder, step) for step in (8, 9, 10, 11)]
    truncate(saved[3] + ".data-00000-of-00001", 5)
    checkpoints.remove_old(folder, 2)
    assert checkpoints.prefixes(folder) == [saved[2], saved[1]]
    assert not any(name.startswith(("model-8", "model-11")) for name in os.listdir(folder))


def test_a_checkpoint_may_be_named_by_folder_prefix_or_file(tmp_path):
    prefix = save(str(tmp_path), 7)
    for path in (str(tmp_path), prefix, prefix + ".index", prefix + ".data-00000-of-00001"):
        assert checkpoints.resolve(path) == prefix


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(checkpoints.CheckpointError, match="no complete checkpoint in the folder"):
        checkpoints.resolve(str(tmp_path))
    with pytest.raises(
        checkpoints.CheckpointError, match="no folder, checkpoint or file .*nowhere"
    ):
        checkpoints.resolve(str(tmp_path / "nowhere"))
    os.remove(save(str(tmp_path), 7) + ".index")
    with pytest.raises(checkpoints.CheckpointError, match="model-7.index is missing"):
        checkpoints.resolve(str(tmp_path / "model-7"))


def restore(prefix, sess, ignore=(), **variables):
    for name, shape in variables.items():
        tf.get_variable(name + "/W", initializer=tf.zeros(shape))
    rate = tf.get_variable("learning_rate", initializer=0.5)
    step = tf.train.get_or_create_global_step()
    sess.run(tf.global_variables_initializer())
    checkpoints.ExactRestore(prefix, ignore=ignore).init(sess)
    return sess.run([rate, step])


def test_what_fits_exactly_is_loaded_but_for_what_is_ignored(sess, tmp_path):
    prefix = save(str(tmp_path), 3)
    kept = restore(prefix, sess, ("learning_rate", "global_step"), a=(3, 4), b=(3, 4))
    assert kept == [0.5, 0]
    (a,) = [v for v in tf.global_variables() if v.op.name == "a/W"]
    np.testing.assert_array_equal(sess.run(a), np.full((3, 4), 3.0))


def test_without_exceptions_the_rate_and_the_step_come_along(sess, tmp_path):
    assert restore(save(str(tmp_path), 3), sess, a=(3, 4), b=(3, 4)) == [3.0, 3]


@pytest.mark.parametrize(
    "variables, message",
    [
        ({"a": (3, 4)}, r"1 of its variables are not in the graph \(b/W\)"),
        ({"a": (3, 4), "b": (3, 4), "c": (1,)}, r"it lacks 1 variables of the graph \(c/W\)"),
        ({"a": (3, 4), "b": (3, 5)}, r"b/W is \[3, 4\], expected \[3, 5\]"),
    ],
)
def test_a_checkpoint_of_another_graph_is_refused(variables, message, sess, tmp_path):
    prefix = save(str(tmp_path), 3)
    with pytest.raises(checkpoints.CheckpointError, match="belongs to another graph: .*" + message):
        restore(prefix, sess, **variables)


def test_what_other_optimizers_add_is_no_parameter(tmp_path):
    with tf.Graph().as_default(), tf.Session() as sess:
        w = tf.get_variable("a/W", initializer=tf.ones([3]))
        optimizer = AccumGradOptimizer(tf.train.AdamOptimizer(), 2)
        optimizer.minimize(tf.reduce_sum(w), tf.train.get_or_create_global_step())
        sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        names = {v.op.name for v in tf.global_variables()}
        assert {"a/W/Adam", "a/W/Adam_1", "a/W/AccumGrad", "AccumGrad/counter"} < names
        assert any(name.endswith("/beta1_power") for name in names)
        prefix = tf.train.Saver().save(sess, str(tmp_path / "model"))
    with tf.Graph().as_default(), tf.Session() as sess:
        w = tf.get_variable("a/W", [3])
        checkpoints.ExactRestore(prefix, parameters_only=True).init(sess)
        np.testing.assert_array_equal(sess.run(w), np.ones(3))
        other = checkpoints.ExactRestore(prefix)
        with pytest.raises(checkpoints.CheckpointError, match="belongs to another graph"):
            other.init(sess)


def save_npz(path, **variables):
    np.savez(str(path), **{name + "/W": np.full(shape, 3.0) for name, shape in variables.items()})
    return str(path)


def test_an_npz_file_fills_the_model_s_variables_and_leaves_training_s_alone(sess, tmp_path):
    path = checkpoints.resolve(save_npz(tmp_path / "x.npz", a=(3, 4), b=(3, 4)))
    tf.get_variable("a/W/Momentum", initializer=tf.ones((3, 4)))
    assert restore(path, sess, a=(3, 4), b=(3, 4)) == [0.5, 0]
    values = {v.op.name: sess.run(v) for v in tf.global_variables()}
    np.testing.assert_array_equal(values["b/W"], np.full((3, 4), 3.0, np.float32))
    np.testing.assert_array_equal(values["a/W/Momentum"], np.ones((3, 4)))


@pytest.mark.parametrize(
    "variables, message",
    [
        ({"a": (3, 4)}, r"1 of its variables are not in the graph \(b/W\)"),
        ({"a": (3, 4), "b": (3, 4), "c": (1,)}, r"it lacks 1 variables of the graph \(c/W\)"),
        ({"a": (3, 4), "b": (4, 3)}, r"b/W is \[3, 4\], expected \[4, 3\]"),
    ],
)
def test_an_npz_file_of_another_graph_is_refused(variables, message, sess, tmp_path):
    path = save_npz(tmp_path / "x.npz", a=(3, 4), b=(3, 4))
    with pytest.raises(checkpoints.CheckpointError, match="belongs to another graph: .*" + message):
        restore(path, sess, **variables)


def test_a_file_of_another_kind_is_named_with_what_would_do(tmp_path):
    (tmp_path / "m.pb").write_bytes(b"")
    with pytest.raises(
        checkpoints.CheckpointError, match="m.pb is no checkpoint; expected a run's"
    ):
        checkpoints.resolve(str(tmp_path / "m.pb"))


def test_a_missing_npz_file_is_named(tmp_path):
    with pytest.raises(
        checkpoints.CheckpointError, match="no folder, checkpoint or file .*nowhere.npz"
    ):
        checkpoints.resolve(str(tmp_path / "nowhere.npz"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_npz_file_is_refused(save, tmp_path):
    path = tmp_path / "x.npz"
    save(str(path), a=np.random.RandomState(0).rand(50), b=np.arange(6))
    assert checkpoints.damage(str(path)) is None
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        assert checkpoints.damage(str(path)) is not None, size
    values = whole.index(b"a.npy") + 150
    path.write_bytes(whole[:values] + bytes([whole[values] ^ 4]) + whole[values + 1 :])
    assert checkpoints.damage(str(path)) is not None


def test_an_npz_file_of_something_else_than_numbers_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(str(path), a=np.array(["words"]))
    with pytest.raises(checkpoints.CheckpointError, match="not numbers: a"):
        checkpoints.resolve(str(path))
    with open(str(path), "wb") as f:
        np.save(f, np.ones(3))  # one array, no archive
    assert checkpoints.damage(str(path)) is not None
