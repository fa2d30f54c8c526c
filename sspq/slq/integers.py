"""What counts as an int in arguments; here since SLQ does without the rest of the package."""

from typing import Any

import numpy as np


def is_int(value: Any) -> bool:
    """Whether it is Python's or numpy's, such as ``labels.max() + 1``; a bool is none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
