"""Fixtures for the tests of training."""

import pytest

from sspq.graphs.imagenet import BLOCKS
from tests.data import ilsvrc


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """An ILSVRC folder of 12 images of 3 classes to train on, and 6 to validate on."""
    return ilsvrc.make(tmp_path_factory.mktemp("images") / "tree")


@pytest.fixture(scope="session", autouse=True)
def scan_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def one_block_a_group(monkeypatch):
    """Halves what a network of 18 layers takes to build, for tests of what is around it."""
    monkeypatch.setitem(BLOCKS, 18, (1, 1, 1, 1))
