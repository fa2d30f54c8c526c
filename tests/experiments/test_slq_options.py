"""What the options of the script that quantizes stage by stage mean, and what they refuse."""

import numpy as np
import pytest

from sspq.experiments.slq import options as slq_options
from sspq.files import write_json
from tests.experiments.scripts import example
from tests.experiments.slq_script import read_options, script


@pytest.mark.parametrize(
    "options, message",
    [
        ((), "`--load` is missing: give the float32 network"),
        (("--load", "x", "--method", "mlq", "--bits", 3), "`--bits` must be 2 for mlq, got 3"),
        (("--load", "x", "--bits", 7), "`bits` must be one of [2, 3, 4, 5]"),
        (("--method", "float32", "--partition", "loss"), "`--partition` belongs to slq"),
        (("--load", "x", "--groups", 2), "`--groups` belong to mlq, got them for slq"),
        (("--load", "x", "--layers", "conv9"), "`--layers`: 'conv9' fits none of the variables"),
        (("--load", "x", "--stage-epochs", 1, 2), "one for each of 5 stages, got (1, 2)"),
        (("--load", "x", "--base_lr", 0), "`--base_lr` must be above 0, got 0.0"),
        (("--load", "x", "--rate-step", 0), "`rate_step` must be at least 1, got 0"),
        (("--load", "x", "--rate-factor", 0), "`rate_factor` must be finite and above 0, got 0.0"),
        (("--load", "x", "--rate-factor", "nan"), "`rate_factor` must be finite and above 0"),
        (("--load", "x", "--bita", 8), "`--bita` must be 32: lenet does not quantize activations"),
        (("--load", "x", "--val-every", 0), "`--val-every` must be at least 1, got 0"),
        (("--load", "nowhere"), "no folder, checkpoint or file nowhere"),
        (
            ("--method", "float32", "--layers", "x"),
            "`--layers` belong to slq and mlq, got them for",
        ),
        (
            ("--load", "x", "--symbolic", "--meta-dir", "y"),
            "`--meta-dir`, `--symbolic`: for ILSVRC images only, which lenet does not take",
        ),
        (
            ("--load", "x", "--shift-lr-mult", 2),
            "`--shift-lr-mult`: for shift networks only, which",
        ),
        (("--load", "x", "--shift-lr-mult", "nan"), "`--shift-lr-mult` must be finite and at"),
    ],
)
def test_wrong_options_give_one_line_that_names_them(options, message, tmp_path, capsys):
    assert script("--log", tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_weights_that_count_only_with_their_quantizers_are_refused(tmp_path, capsys):
    write_json(str(tmp_path / "run.json"), {"bits": {"weights": 8, "activations": 32}})
    assert script("--load", tmp_path, "--log", tmp_path / "slq") == 2
    assert "was trained with weights of 8 bits, expected a float32" in capsys.readouterr().err


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"bits": {"weights": "8"}}, "`bits.weights` must be a finite number, got '8'"),
        ({"bits": []}, "`bits.weights` is missing"),
        ([], "`bits.weights` is missing"),
    ],
)
def test_settings_that_do_not_tell_the_bits_are_refused(settings, message, tmp_path, capsys):
    write_json(str(tmp_path / "run.json"), settings)
    assert script("--load", tmp_path, "--log", tmp_path / "slq") == 2
    assert "run.json: " + message in capsys.readouterr().err


@pytest.mark.parametrize(
    "given, expected",
    [
        (None, [["a"], ["b"], ["c"], ["d"], ["e"]]),
        (["2"], [["a", "b"], ["c", "d", "e"]]),
        (["5"], [["a"], ["b"], ["c"], ["d"], ["e"]]),
        (["[ce]", "[abd]"], [["c", "e"], ["a", "b", "d"]]),
    ],
)
def test_groups_are_a_number_or_patterns(given, expected):
    assert slq_options.groups_of(given, "abcde") == expected


@pytest.mark.parametrize(
    "given, message",
    [
        (["6"], "from 1 to 5, the number of layers, got 6"),
        (["0"], "from 1 to 5"),
        (["("], "must be regular expressions"),
        (["[abcd]"], "e fits 0 of the patterns"),
        (["[abcd]", "[de]"], "d fits 2 of the patterns"),
        (["[abcde]", "x"], "'x' fits no layer"),
    ],
)
def test_groups_that_are_no_partition_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        slq_options.groups_of(given, "abcde")


@pytest.mark.parametrize(
    "name, count, first, last",
    [
        ("lenet", 4, "conv1/W", "ip2/W"),
        ("sspq34", 34, "conv2blk1/conv1x1a/W", "conv6blk1/conv1x1a/W"),
        ("alexnet", 8, "conv1/W", "fc8/W"),
        ("resnet18", 21, "conv0/W", "linear/W"),
    ],
)
def test_all_kernels_are_quantized_but_of_shift_networks_those_of_blocks(name, count, first, last):
    options = read_options("--model", name)
    layers = slq_options.layers_of(example("slq").model(options, 10), options.layers)
    assert (len(layers), layers[0], layers[-1]) == (count, first, last)


def test_alexnet_s_recipe_is_the_released_one():
    options, script = read_options("--model", "alexnet"), example("slq")
    model = script.model(options, 1000)
    quantized = script.quantization(options, model)
    epochs, rate = script.plan(options, quantized)
    slq, steps = quantized.callback, 1281167 // options.batch
    assert slq.schedule.counts == (5, 9, 13, 15, 17) and options.batch == 256
    assert slq.epochs == (18,) * 5 and abs(18 * steps - 90000) < 0.001 * 90000
    assert epochs == 90 and abs(4 * steps - 20000) < 0.001 * 20000
    rates = [rate(e, 0) for e in (1, 4, 5, 9, 18, 19)]
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-5, 1e-6, 1e-8, 1e-4])
    assert model.weight_decay == 5e-4 and model.preprocessing.stretches
