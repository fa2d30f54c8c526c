"""The test of arguments that have to be ints."""

from typing import Any

import numpy as np


def is_int(value: Any) -> bool:
    """Whether ``value`` is an int of Python or numpy, such as ``labels.max() + 1``; no bool is."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
