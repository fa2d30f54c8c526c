"""Checkpoints that are damaged or foreign are never loaded."""

import os

import numpy as np
import pytest

from sspq.compat import tf
from sspq.training import checkpoint


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
    assert checkpoint.last_complete(folder) is None
    save(folder, 1)
    second = save(folder, 2)
    assert checkpoint.last_complete(folder) == second
    assert checkpoint.global_step(second) == 2


@pytest.mark.parametrize("ending", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_half_written_checkpoint_is_passed_over(ending, share, tmp_path):
    folder = str(tmp_path)
    first, second = save(folder, 1), save(folder, 2)
    truncate(second + ending, int(share * os.path.getsize(second + ending)))
    assert checkpoint.last_complete(folder) == first
    with pytest.raises(checkpoint.CheckpointError, match="not a complete checkpoint"):
        checkpoint.resolve(second)


def test_a_flipped_bit_is_noticed(tmp_path):
    prefix = save(str(tmp_path), 1)
    path = prefix + ".data-00000-of-00001"
    with open(path, "r+b") as f:
        f.seek(10)
        byte = f.read(1)
        f.seek(10)
        f.write(bytes([byte[0] ^ 4]))
    assert checkpoint.damage(prefix) is not None
    assert checkpoint.last_complete(str(tmp_path)) is None


def test_a_lost_file_and_a_broken_state_file_are_survived(tmp_path):
    folder = str(tmp_path)
    first, second = save(folder, 1), save(folder, 2)
    os.remove(second + ".data-00000-of-00001")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "mod')
    assert checkpoint.last_complete(folder) == first


def test_only_the_newest_whole_checkpoints_are_kept(tmp_path):
    folder = str(tmp_path)
    saved = [save(folder, step) for step in (8, 9, 10, 11)]
    truncate(saved[3] + ".data-00000-of-00001", 5)
    checkpoint.remove_old(folder, 2)
    assert checkpoint.prefixes(folder) == [saved[2], saved[1]]
    assert not any(name.startswith(("model-8", "model-11")) for name in os.listdir(folder))


def test_a_checkpoint_may_be_named_by_folder_prefix_or_file(tmp_path):
    prefix = save(str(tmp_path), 7)
    for path in (str(tmp_path), prefix, prefix + ".index", prefix + ".data-00000-of-00001"):
        assert checkpoint.resolve(path) == prefix


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(checkpoint.CheckpointError, match="no complete checkpoint in the folder"):
        checkpoint.resolve(str(tmp_path))
    with pytest.raises(checkpoint.CheckpointError, match="nowhere.index is missing"):
        checkpoint.resolve(str(tmp_path / "nowhere"))


def restore(prefix, sess, ignore=(), **variables):
    for name, shape in variables.items():
        tf.get_variable(name + "/W", initializer=tf.zeros(shape))
    rate = tf.get_variable("learning_rate", initializer=0.5)
    step = tf.train.get_or_create_global_step()
    sess.run(tf.global_variables_initializer())
    checkpoint.ExactRestore(prefix, ignore=ignore).init(sess)
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
    with pytest.raises(checkpoint.CheckpointError, match="belongs to another graph: .*" + message):
        restore(prefix, sess, **variables)
