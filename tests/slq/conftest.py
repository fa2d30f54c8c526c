"""Fixtures for the tests of SLQ."""

import os

import numpy as np
import pytest

from sspq.slq.backend import NAMES

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(__file__)), "golden", "slq.npz")


@pytest.fixture(params=NAMES)
def backend(request, monkeypatch):
    """Runs a test with both implementations."""
    monkeypatch.setenv("SSPQ_SLQ", request.param)
    return request.param


@pytest.fixture(scope="session")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def many():
    """So many weights that they come in several parts, a few of them far out."""
    rng = np.random.RandomState(0)
    weights = rng.standard_normal(4_300_000) * 0.01
    weights[::100_000] *= 10
    return weights.astype(np.float32)
