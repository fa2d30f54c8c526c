"""What the ImageNet scripts' options mean, and what they refuse to be told."""

import numpy as np
import pytest

from sspq.graphs.imagenet import MODES
from sspq.report.layers import SHIFT, read_layers
from sspq.training.imagenet_model import ImageNetSSPQ
from sspq.training.imagenet_options import Step, augmentation, check, parser, schedule
from tests.training.imagenet_steps import options_of, step_of

STEP = Step("S1", "resnet_model3", 90, 30, 30, 0.01, needs_load=False)


def checked(*options):
    check(STEP, parser(STEP, None).parse_args(["--fake", "--data-format", "NHWC", *options]))


@pytest.mark.parametrize("mode", MODES)
def test_options_of_shifts_are_for_modes_with_shifts_alone(mode):
    options = ("--mode", mode, "--shift-lr-mult", "0.1", "--shift-normalize")
    model = ImageNetSSPQ(depth=50, mode=mode, image_size=32, data_format="NHWC")
    if any(layer.kind == SHIFT for layer in read_layers(model)):
        checked(*options)
    else:
        wanted = (
            "`--shift-lr-mult`, `--shift-normalize`: of shift networks, .* mode %s is not" % mode
        )
        for more in ((), ("--flops",)):
            with pytest.raises(ValueError, match=wanted):
                checked(*options, *more)
    checked("--mode", mode)


def test_large_batches_begin_with_the_rate_of_256():
    args = options_of("SSQ_S1", "--batch", 1024)
    rates = []
    rate = 0.4
    for epoch in range(1, 12):
        rate = schedule(step_of("SSQ_S1"), args)(epoch, rate)
        rates.append(rate)
    np.testing.assert_allclose(rates[:6], [0.1, 0.16, 0.22, 0.28, 0.34, 0.4])
    assert rates[8] == 0.4 and rates[9] < 0.4


def test_the_released_schedule_of_s1():
    # The figures that the published recipe gives, 105 epochs at a batch of 256.
    step, rate, rates = step_of("SSQ_S1"), 0.1, {}
    for epoch in range(1, 106):
        rates[epoch] = rate = schedule(step, options_of("SSQ_S1"))(epoch, rate)
    expected = {9: 0.1, 10: 0.0994, 20: 0.0940, 30: 0.0802, 40: 0.0583, 50: 0.0337, 60: 0.0142,
                70: 0.00388, 80: 5.7e-4, 90: 3.1e-5, 101: 1e-5, 105: 1e-5}  # fmt: skip
    for epoch, value in expected.items():
        assert rates[epoch] == pytest.approx(value, rel=0.02), epoch


def test_augmentation_is_the_released_one_unless_told_otherwise():
    a = augmentation(options_of("SSQ_S1"))
    assert (a.area, a.colour, a.mirror) == ((0.08, 1.0), True, True)
