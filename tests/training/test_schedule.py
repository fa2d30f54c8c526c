"""Learning rates by epoch."""

import argparse

import pytest

from sspq.experiments import cifar
from sspq.training.schedule import staged, stepwise_cosine
from tests.experiments.scripts import example

S1, S2 = example("ResIBShift34-dorefa-s1"), example("ResIBShift34-dorefa-s2")


def rates(schedule, epochs, base=0.1):
    result, rate = {}, base
    for epoch in range(1, epochs + 1):
        rate = result[epoch] = schedule(epoch, rate)
    return result


def test_the_cosine_compounds_as_in_the_imagenet_recipe():
    """Values worked out by hand for warm-up 5, step 10, 105 epochs, eta 1e-5."""
    got = rates(stepwise_cosine(5, 10, 105, 1e-5), 105)
    wanted = {9: 0.1, 10: 0.0994, 20: 0.0940, 30: 0.0802, 40: 0.0583, 50: 0.0337, 60: 0.0142}
    for epoch, rate in wanted.items():
        assert got[epoch] == pytest.approx(rate, rel=5e-3)
    for epoch, rate in {70: 3.88e-3, 80: 5.7e-4, 90: 3.1e-5, 100: 1.9e-7, 101: 1e-5}.items():
        assert got[epoch] == pytest.approx(rate, rel=2e-2)
    assert got[105] == 1e-5


def test_the_rate_changes_only_at_multiples_of_the_step_after_the_warm_up():
    got = rates(stepwise_cosine(30, 30, 200, 1e-6), 200)
    changes = [e for e in range(2, 201) if got[e] != got[e - 1]]
    assert changes == [60, 90, 120, 150, 180]


@pytest.mark.parametrize(
    "arguments, name",
    [
        ((-1, 1, 10, 0.1), "wup_length"),
        ((0, 0, 10, 0.1), "step_size"),
        ((5, 1, 5, 0.1), "max_epoch"),
        ((0, 1, 10, 0.0), "eta_min"),
    ],
)
def test_impossible_schedules_are_refused_by_name(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        stepwise_cosine(*arguments)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_stages_take_finite_rates_above_0(value):
    with pytest.raises(ValueError, match=f"`base_lr` must be finite and above 0, got {value!r}"):
        staged(value, 0.1, 1, [1])
    expected = f"`rate_factor` must be finite and above 0, got {value!r}"
    with pytest.raises(ValueError, match=expected):
        staged(0.1, value, 1, [1])


def test_stages_take_no_rates_that_float32_cannot_hold():
    assert staged(0.1, 1e38, 5, [6])(6, 0.1) == 0.1 * 1e38
    for factor, epochs in ((1e39, 6), (1e300, 16), (1e20, 11)):
        with pytest.raises(ValueError, match="`rate_factor` .* no number of float32"):
            staged(1.0, factor, 5, [epochs])


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_a_factor_on_the_shifts_rate_is_finite_and_at_least_0(value):
    given = ["--data", "digits", "--shift-lr-mult=" + value]
    expected = f"`--shift-lr-mult` must be finite and at least 0, got {float(value)!r}"
    with pytest.raises(ValueError, match=expected):
        cifar.check(S1.DEFAULTS, cifar.parser(S1.DEFAULTS, "").parse_args(given))


def plan(name, *options):
    script = {"S1": S1, "S2": S2}[name]
    args = cifar.parser(script.DEFAULTS, "").parse_args(["--data", "digits", *options])
    return script.plan(cifar.options_of(args))


def test_paper_follows_its_arguments():
    epochs, schedule = plan("S1", "--max_epoch", "90")
    assert epochs == 90
    assert rates(schedule, 90)[60] < 0.1


def test_released_s1_is_200_epochs_at_a_constant_rate_whatever_it_is_told():
    epochs, schedule = plan("S1", "--variant", "released", "--max_epoch", "90")
    assert epochs == 200
    assert set(rates(schedule, 200).values()) == {0.1}


def test_released_s2_is_200_epochs_of_a_cosine_that_ends_at_max_epoch():
    epochs, schedule = plan(
        *"S2 --variant released --wup_length 2 --step_size 1 --eta_min 1e-6".split()
    )
    assert epochs == 200
    got = rates(schedule, 200)
    assert got[10] < 1e-3 and len({got[e] for e in range(12, 201)}) > 1


def test_a_run_within_the_warm_up_keeps_its_rate():
    epochs, schedule = plan("S2", "--wup_length", "30", "--max_epoch", "10")
    assert epochs == 10
    assert set(rates(schedule, 10).values()) == {0.1}


def test_no_epochs_are_refused():
    args = cifar.parser(S1.DEFAULTS, "").parse_args(["--data", "digits", "--max_epoch", "0"])
    with pytest.raises(ValueError, match="`--max_epoch` must be at least 1, got 0"):
        cifar.check(S1.DEFAULTS, args)


def test_the_scripts_have_the_released_options():
    options = {o for a in cifar.parser(S1.DEFAULTS, "")._actions for o in a.option_strings}
    released = "gpu load log eta_min max_epoch base_lr wup_length step_size"
    added = "data variant bitw bita batch seed resume eval data-format"
    assert {"--" + o for o in (released + " " + added).split()} <= options
    assert isinstance(cifar.parser(S1.DEFAULTS, ""), argparse.ArgumentParser)
