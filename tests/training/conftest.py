"""Fixtures for the tests of training."""

import pytest

from sspq.training.slq.callback import SLQ
from tests.training.slq_net import Watch, train


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """All four stages at 4 bits: the folder, and the variables after each of 240 steps."""
    folder, watch = tmp_path_factory.mktemp("whole"), Watch()
    train(folder, SLQ(bits=4), [watch])
    return folder, watch.steps
