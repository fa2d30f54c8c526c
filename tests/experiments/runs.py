"""What a run leaves in its folder."""

import os

from sspq import checkpoints
from sspq.compat import tf
from sspq.files import read_json


def report(folder, *parts):
    return read_json(os.path.join(str(folder), *parts, "report.json"))


def values(folder):
    """All variables of the last checkpoint."""
    reader = tf.train.NewCheckpointReader(checkpoints.last_complete(str(folder)))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def assert_same(one, other):
    """Fails unless both hold the same variables, to the bit."""
    assert set(one) == set(other)
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name
