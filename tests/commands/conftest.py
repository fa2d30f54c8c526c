"""Runs of small models, and images."""

import pytest

from sspq import models
from sspq.data.ilsvrc import demo_tree
from tests.export.models import save, small


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder of a run of SSPQ34 with 4 and 8 bits."""
    path = tmp_path_factory.mktemp("run")
    save(path, small(bitw=4, bita=8))
    return path


@pytest.fixture(scope="session")
def lenet(tmp_path_factory):
    """The same of LeNet, for all that does not depend on the network: ten times as fast."""
    path = tmp_path_factory.mktemp("lenet")
    save(path, models.build("lenet", num_classes=10))
    return path


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """An ILSVRC folder of real images."""
    return demo_tree.write(tmp_path_factory.mktemp("images") / "tree")


@pytest.fixture
def imagenet(tmp_path, one_block_a_group):
    """The folder of a run of a small network for ImageNet."""
    run = tmp_path / "run"
    run.mkdir()
    save(run, models.build("lspq18", image_size=32, num_classes=10, bita=32))
    return run
