"""What the ImageNet scripts' options mean, and what they refuse to be told."""

import os
import subprocess
import sys

import numpy as np
import pytest
from tensorpack.tfutils.tower import TowerContext

from sspq.analysis.layers import SHIFT, inference_graph, read_layers
from sspq.analysis.summary import summarize
from sspq.compat import tf
from sspq.experiments.imagenet_options import Defaults, check, parser
from sspq.graphs.imagenet import MODES
from sspq.models.imagenet import DECAY_KERNELS, DECAY_KERNELS_AND_NORMS, ImageNetSSPQ
from sspq.training import distributed
from tests.experiments.imagenet_steps import SMALL, read_options, run, script_of
from tests.experiments.scripts import EXAMPLES

DEFAULTS = Defaults("S1", "resnet_model3", 90, 30, 30, 0.01, needs_load=False)


def checked(*options):
    check(
        DEFAULTS, parser(DEFAULTS, None).parse_args(["--fake", "--data-format", "NHWC", *options])
    )


@pytest.mark.parametrize("mode", MODES)
def test_options_of_shifts_are_for_modes_with_shifts_alone(mode):
    options = ("--mode", mode, "--shift-lr-mult", "0.1", "--shift-normalize")
    model = ImageNetSSPQ(depth=50, mode=mode, image_size=32, data_format="NHWC")
    if any(layer.kind == SHIFT for layer in read_layers(model)):
        checked(*options)
    else:
        named = "`--shift-lr-mult`, `--shift-normalize`"
        wanted = f"{named}: for shift networks only, .* mode {mode} is not"
        for more in ((), ("--flops",)):
            with pytest.raises(ValueError, match=wanted):
                checked(*options, *more)
    checked("--mode", mode)


@pytest.mark.parametrize("trainer", distributed.NAMES)
def test_gradients_are_compressed_by_horovod_alone(trainer):
    options = ("--trainer", trainer, "--compression", "fp16")
    if trainer == "horovod":
        checked(*options)
    else:
        wanted = f"`--compression`: for `--trainer horovod` only, got --trainer {trainer}"
        with pytest.raises(ValueError, match=wanted):
            checked(*options)
    checked("--trainer", trainer)


def test_large_batches_begin_with_the_rate_of_256():
    options = read_options("SSQ_S1", "--batch", 1024)
    rates = []
    rate = 0.4
    for epoch in range(1, 12):
        rate = script_of("SSQ_S1").schedule(options)(epoch, rate)
        rates.append(rate)
    np.testing.assert_allclose(rates[:6], [0.1, 0.16, 0.22, 0.28, 0.34, 0.4])
    assert rates[8] == 0.4 and rates[9] < 0.4


def test_the_released_schedule_of_s1():
    # The figures that the published recipe gives, 105 epochs at a batch of 256.
    schedule, rate, rates = script_of("SSQ_S1").schedule(read_options("SSQ_S1")), 0.1, {}
    for epoch in range(1, 106):
        rates[epoch] = rate = schedule(epoch, rate)
    expected = {9: 0.1, 10: 0.0994, 20: 0.0940, 30: 0.0802, 40: 0.0583, 50: 0.0337, 60: 0.0142,
                70: 0.00388, 80: 5.7e-4, 90: 3.1e-5, 101: 1e-5, 105: 1e-5}  # fmt: skip
    for epoch, value in expected.items():
        assert rates[epoch] == pytest.approx(value, rel=0.02), epoch


def test_augmentation_is_the_released_one_unless_told_otherwise():
    a = read_options("SSQ_S1").images.augmentation(stretch=False)
    assert (a.area, a.colour, a.mirror) == ((0.08, 1.0), True, True)


def model(script, *options):
    """The network that a script would train, for three classes."""
    return script_of(script).model(read_options(script, *SMALL, *options), 3)


@pytest.mark.parametrize(
    "script, options, name, bits",
    [
        ("SSQ_S1", ("--mode", "resnet"), "resnet_model3 resnet18", (32, 32, 32)),
        (
            "SSQ_S1",
            ("--graph", "resnet_model2", "--bitw", 2),
            "resnet_model2 QresIBShift18",
            (2, 4, 32),
        ),
        (
            "SSQ_S1",
            ("--bita", 3, "--linear-bits", 8),
            "resnet_model3 QresIBShift18",
            (4, 3, 8),
        ),
        ("SSPQ", (), "resnet_model2 QresIBShift18", (1, 4, 32)),  # the first SSPQ
    ],
)
def test_the_network_is_the_one_asked_for(script, options, name, bits):
    described = model(script, *options).describe()
    assert described["model"] == name and described["num_classes"] == 3
    assert tuple(described["bits"][k] for k in ("weights", "activations", "linear")) == bits
    variables = inference_graph(model(script, *options)).get_collection("variables")
    shift = "group0/block0/shift_q/SP/SP"
    assert (shift in [v.op.name for v in variables]) == ("QresIBShift" in name)


def test_the_variant_released_leaves_weights_in_float():
    totals = summarize(model("SSQ_S1", "--variant", "released")).totals
    assert totals.quantized_bytes == totals.float32_bytes
    totals = summarize(model("SSQ_S1")).totals
    assert totals.quantized_bytes < totals.float32_bytes / 5


def stepped(network, steps=2):
    """The trainable variables before and after a few steps on one batch."""
    rng = np.random.RandomState(0)
    image, label = [tf.placeholder(s.dtype, s.shape, s.name) for s in network.inputs()]
    with TowerContext("", is_training=True):
        cost = network.build_graph(image, label)
    step = network.optimizer().minimize(cost)
    batch = {image: rng.randint(0, 256, (4, 32, 32, 3)), label: [0, 1, 2, 0]}
    variables = {v.op.name: v for v in tf.trainable_variables()}
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        before = sess.run(variables)
        for _ in range(steps):
            sess.run(step, batch)
        return before, sess.run(variables)


@pytest.mark.usefixtures("one_block_a_group")
@pytest.mark.parametrize("factor", [0, 1])
def test_shift_lr_mult_0_leaves_shifts_where_they_are(factor):
    network = model("SSQ_S1", "--shift-lr-mult", factor)
    assert network.describe()["shift_lr_mult"] == factor
    before, after = stepped(network)
    shifts = [n for n in before if n.endswith("/SP")]
    assert len(shifts) == 4
    for name in shifts:
        assert np.array_equal(before[name], after[name]) == (factor == 0), name
    assert not np.array_equal(before["linear/W"], after["linear/W"])


@pytest.mark.usefixtures("one_block_a_group")
@pytest.mark.parametrize("options", [(), ("--shift-normalize",)])
def test_shift_normalize_is_an_attribute_of_every_shift(options):
    graph = inference_graph(model("SSQ_S1", *options))
    shifts = [op for op in graph.get_operations() if op.type == "SspqShift2D"]
    assert [op.get_attr("normalize") for op in shifts] == [bool(options)] * 4


def test_weight_decay_norm_adds_the_decay_of_gamma_and_beta():
    # What the patterns do to the cost is tested with the graph.
    assert model("SSQ_S1").weight_decay_pattern == DECAY_KERNELS
    decayed = model("SSQ_S1", "--weight-decay-norm").weight_decay_pattern
    assert decayed == DECAY_KERNELS_AND_NORMS


@pytest.mark.parametrize(
    "script, options, message",
    [
        ("SSQ_S2", ("--data", "x"), "`--load` is missing: give S1's checkpoint or log folder"),
        ("SSQ_S1", ("--eval", "--data", "x"), "`--load` is missing: give a checkpoint"),
        ("SSQ_S1", ("--data", "/nowhere"), "no such directory"),
        ("SSQ_S1", ("--data", ""), "`--data` is missing: give the ILSVRC folder"),
        ("SSQ_S1", ("--fake", "--eval", "--load", "x"), "`--fake` has no images to evaluate on"),
        ("SSQ_S1", ("--fake", "--batch", 0), "`--batch` must be at least 1, got 0"),
        ("SSQ_S1", ("--flops", "--batch", 0), "`--batch` must be at least 1, got 0"),
        ("SSQ_S1", ("--fake", "--epochs", 0), "`--epochs` must be at least 1, got 0"),
        ("SSQ_S1", ("--fake", "--val-every", 0), "`--val-every` must be at least 1, got 0"),
        ("SSQ_S1", ("--fake", "--image-size", 0), "`--image-size` must be at least 1, got 0"),
        ("SSQ_S1", ("--fake", "--base_lr", 0), "`--base_lr` must be above 0, got 0"),
        ("SSQ_S1", ("--fake", "--min-area", 0), "`area` must be two numbers"),
        ("SSQ_S1", ("--fake", "--bitw", 33), "`bitw` must be"),
        ("SSQ_S1", ("--fake", "--mode", "se"), "`depth` must be one of (50, 101, 152)"),
        ("SSQ_S1", ("--fake", "--data-format", "NCHW"), "needs a GPU"),
        ("SSQ_S1", ("--fake", "--processes", -1), "`--processes` must be at least 0"),
        ("SSQ_S1", ("--fake", "--seed", -1), "`--seed` must be in [0, 2**32), got -1"),
    ],
)
def test_wrong_options_give_one_line_that_names_them(script, options, message, tmp_path, capsys):
    assert run(script, "--log", tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_the_scripts_run_as_programs(tmp_path):
    for script in ("SSQ_S1", "SSQ_S2", "SSPQ"):
        path = os.path.join(EXAMPLES, f"imagenet-{script}.py")
        done = subprocess.run([sys.executable, path, "--help"], stdout=subprocess.PIPE, check=True)
        assert b"--weight-decay-norm" in done.stdout
