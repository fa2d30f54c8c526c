"""What the ImageNet scripts refuse to be told."""

import pytest

from sspq.graphs.imagenet import MODES
from sspq.report.layers import SHIFT, read_layers
from sspq.training.imagenet_model import ImageNetSSPQ
from sspq.training.imagenet_options import Step, check, parser

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
