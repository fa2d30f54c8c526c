"""Fixtures for the tests of the scripts."""

import pytest

from tests.data import ilsvrc_tree


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """An ILSVRC folder of 12 images of 3 classes to train on, and 6 to validate on."""
    return ilsvrc_tree.make(tmp_path_factory.mktemp("images") / "tree")


@pytest.fixture(scope="session", autouse=True)
def scan_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
