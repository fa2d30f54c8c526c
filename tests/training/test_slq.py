"""Stage by stage quantization in training: exact freezing, what a checkpoint holds, errors."""

import numpy as np
import pytest
from tensorpack.tfutils.tower import TowerContext

from sspq import checkpoints
from sspq import slq as arrays
from sspq.compat import tf
from sspq.slq import Schedule
from sspq.training.slq.callback import MLQ, SLQ, StageError
from tests.training.slq_net import LAYERS, STEPS, Net, Watch, assert_held, state_of, train, values


def test_frozen_weights_keep_their_centre_s_bits_through_hundreds_of_steps(whole):
    _, steps = whole
    assert len(steps) == 4 * STEPS
    for name in LAYERS:
        assert assert_held(steps, name).all()


def test_frozen_weights_have_no_momentum(whole):
    _, steps = whole
    for held in steps:
        for name in LAYERS:
            frozen = held[name + "/slq/frozen"]
            assert not held[name + "/Momentum"][frozen].any()


def test_all_that_is_not_frozen_trains_on(whole):
    _, steps = whole
    for first, last in ((steps[i * STEPS], steps[(i + 1) * STEPS - 1]) for i in range(4)):
        for name in ("fc1/b", "fc2/b", "bn/gamma", "bn/beta", "bn/mean/EMA"):
            assert (first[name] != last[name]).any(), name
        for name in LAYERS:
            free = ~first[name + "/slq/frozen"]
            assert (first[name][free] != last[name][free]).all()


def test_each_stage_freezes_as_many_centres_as_its_schedule_says(whole):
    _, steps = whole
    for name in LAYERS:
        found = [held[name + "/slq/frozen_centres"].sum() for held in steps[::STEPS]]
        assert found == list(arrays.SLQ[4].counts)


def test_a_stage_is_what_the_arrays_algorithm_gives_for_the_checkpoint(whole):
    folder, _ = whole
    for epoch in (1, 2, 3):
        before, after = values(folder, epoch), values(folder, epoch + 1)
        for name in LAYERS:
            expected = arrays.next_stage(before[name], state_of(before, name), arrays.SLQ[4])
            found = state_of(after, name)
            for part in ("index", "frozen", "centres", "frozen_centres", "loss"):
                np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))


def test_after_the_last_stage_the_checkpoint_holds_the_quantized_weights(whole):
    folder, _ = whole
    held = values(folder, 4)
    for name in LAYERS:
        state = state_of(held, name)
        assert state.finished
        np.testing.assert_array_equal(held[name], arrays.share(held[name], state))
        assert len(np.unique(held[name])) <= 9


def test_weights_of_an_earlier_run_are_evaluated_without_the_state(whole):
    folder, _ = whole
    with tf.Graph().as_default() as graph:
        with TowerContext("", is_training=False):
            model = Net(None, None)
            model.build_graph(*[tf.placeholder(s.dtype, s.shape) for s in model.inputs()])
        restore = checkpoints.ExactRestore(str(folder / "model-240"), parameters_only=True)
        restore._setup_graph()
        with tf.Session(graph=graph) as sess:
            restore._run_init(sess)
            found = sess.run({v.op.name: v for v in tf.trainable_variables()})
    expected = values(folder, 4)
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name])


def test_variables_that_are_no_state_are_still_refused(tmp_path):
    with tf.Graph().as_default(), tf.Session() as sess:
        for name in ("fc1/W", "fc1/W/slq/index", "fc1/W/slq/other"):
            tf.get_variable(name, [2])
        sess.run(tf.global_variables_initializer())
        prefix = tf.train.Saver().save(sess, str(tmp_path / "model"))
    with tf.Graph().as_default():
        tf.get_variable("fc1/W", [2])
        with pytest.raises(checkpoints.CheckpointError, match=r"1 of its .* \(fc1/W/slq/other\)"):
            checkpoints.ExactRestore(prefix, parameters_only=True)._setup_graph()


def test_layers_of_mlq_advance_group_by_group(tmp_path):
    watch = Watch()
    train(tmp_path, MLQ([["fc2/W"], ["fc1/W"]]), [watch])
    begun = [
        tuple(int(held[n + "/slq/frozen_centres"].sum()) for n in LAYERS)
        for held in watch.steps[::STEPS]
    ]
    assert begun == [(0, 2), (0, 3), (2, 3), (3, 3)]
    for name in LAYERS:
        assert assert_held(watch.steps, name).all()
        assert len(np.unique(values(tmp_path, 4)[name])) == 3
    # The first group is at its end before the second one begins.
    assert not watch.steps[0]["fc2/W/slq/frozen_centres"][0]


def test_the_loss_partition_freezes_other_centres_first(tmp_path):
    train(tmp_path, SLQ(bits=4, partition="loss"), epochs=1)
    held = values(tmp_path, 1)
    for name in LAYERS:
        state = state_of(held, name)
        largest = np.argsort(-state.loss, kind="stable")[:3]
        assert sorted(np.flatnonzero(state.frozen_centres)) == sorted(largest)


def test_only_the_layers_asked_for_are_quantized(tmp_path):
    train(tmp_path, SLQ(bits=3, layers="fc1/W"))
    names = [n for n in values(tmp_path, 2) if "/slq/" in n]
    assert len(names) == 5 and all(n.startswith("fc1/W/slq/") for n in names)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"bits": 6}, r"`bits` must be one of \[2, 3, 4, 5\], or `schedule` be given, got 6"),
        ({"partition": "size"}, "`partition` must be one of .* got 'size'"),
        ({"layers": "("}, "`layers` must be a regular expression"),
        ({"epochs": [1, 1, 1, 1, 1.5]}, "`epochs` must be at least 1, .* got .*1.5"),
        ({"epochs": 0}, "`epochs` must be at least 1, .* each of 5 stages, got 0"),
        ({"epochs": (1, 2)}, "one for each of 5 stages, got"),
        ({"layers": "conv.*"}, "`layers`: 'conv.*' fits none of the variables .*'fc1/W'"),
        ({"groups": [["fc1/W"]]}, "`groups` must hold each of the layers"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        train(tmp_path, SLQ(**arguments))


def test_a_model_without_the_wrapped_optimizer_is_refused(tmp_path):
    class Forgotten(SLQ):
        def optimizer(self, optimizer):
            return optimizer

    with pytest.raises(ValueError, match="what its optimizer\\(\\) returns"):
        train(tmp_path, Forgotten())


def test_a_checkpoint_of_other_epochs_is_refused(tmp_path):
    train(tmp_path, SLQ(bits=4, epochs=1), epochs=2)
    with pytest.raises(StageError, match="has passed 2 of its 4 stages; epoch 3 expects 1"):
        train(tmp_path, SLQ(bits=4, epochs=9))


def test_a_stage_lasts_its_epochs():
    slq = SLQ(bits=3, epochs=(2, 3))
    assert [slq.stage_of(e) for e in range(1, 8)] == [1, 1, 2, 2, 2, 2, 2] and slq.last_epoch == 5
    longer = SLQ(schedule=Schedule(6, (11, 33)), epochs=4)
    assert longer.epochs == (4, 4) and longer.schedule.partition == "magnitude"
