"""The networks by name."""

import json

import numpy as np
import pytest

from sspq import models
from sspq.analysis.published import compare_with_published


@pytest.mark.parametrize("name", sorted(models.MODELS))
def test_a_network_can_be_rebuilt_from_what_it_says_of_itself(name):
    model = models.build(name)
    again = models.rebuild(model.describe())
    assert type(again) is type(model) and again.describe() == model.describe()
    assert models.rebuild(models.identity(model)).describe() == model.describe()


def test_a_network_in_float32_alone_refuses_other_bits():
    described = models.identity(models.build("alexnet", width=0.5))
    assert models.rebuild(described, data_format="NCHW").width == 0.5
    with pytest.raises(ValueError, match="alexnet has no `bitw` .4.; it knows num_classes"):
        models.rebuild(dict(described, bits={"weights": 4, "activations": 32}), data_format="NCHW")


def test_settings_override_the_description():
    described = models.build("lspq50", bitw=2, num_classes=7, image_size=96).describe()
    model = models.rebuild(described, bitw=1, linear_bits=8)
    assert model.describe()["bits"] == {"weights": 1, "activations": 8, "linear": 8}
    assert (model.num_classes, model.image_size) == (7, 96)
    of_numpy = models.build("lspq50", bitw=np.int8(2), num_classes=np.int64(7), image_size=96)
    assert json.dumps(of_numpy.describe()) == json.dumps(described)


@pytest.mark.parametrize(
    "name, published, here",
    [
        ("resnet50", "97.49 MB at 76.35 %", "97.492 MiB (+0.00 %)"),
        ("asl50", "84.74 MB at 72.30 %", "84.822 MiB (+0.10 %)"),
        ("resIBShift50", "54.41 MB at 75.83 %", "54.406 MiB (-0.01 %)"),
        ("sspq50", "9.79 MB at 73.67 %", "9.587 MiB (-2.08 %)"),
        ("lspq50", "3.55 MB at 73.93 %", "3.567 MiB (+0.48 %)"),
    ],
)
def test_published_sizes_are_compared_with_the_graph_s(name, published, here):
    line = compare_with_published(name)
    assert published in line and here in line


def test_without_a_published_size_there_is_nothing_to_compare():
    assert compare_with_published("sspq34") is None


def test_unknown_names_and_settings_are_named():
    with pytest.raises(ValueError, match="got 'resnet51'"):
        models.build("resnet51")
    with pytest.raises(ValueError, match="sspq34 has no `linear_bits`"):
        models.build("sspq34", linear_bits=8)
    with pytest.raises(ValueError, match="no model describes itself as 'x'"):
        models.rebuild({"model": "x"})
