"""Fixtures for the tests of what is exported."""

import pytest

from sspq.export.packed import container
from tests.export.models import Saved, small, unchanged
from tests.export.packed_files import packed


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """``saved(**settings)`` is SSPQ34's checkpoint, ``saved(build=...)`` another model's.

    Each is made once, by what is given.
    """
    made = {}

    def checkpoint(build=small, change=unchanged, **settings):
        key = (build, change, tuple(sorted(settings.items())))
        if key not in made:
            made[key] = Saved(tmp_path_factory.mktemp("saved"), build(**settings), change)
        return made[key]

    return checkpoint


@pytest.fixture
def file(tmp_path):
    """Path of a packed file with a tensor of each scheme."""
    path = str(tmp_path / "m.sspq.safetensors")
    container.write(path, packed())
    return path
