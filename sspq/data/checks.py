"""What is said when a data set or an argument of a data flow is not as expected."""

from __future__ import annotations

from typing import Any

from sspq.slq.integers import is_int


class DataError(ValueError):
    """A data set that is missing, damaged or not what was expected. The text says what to do."""


def int_in(name: str, value: Any, low: int, high: int, limit: str = "") -> int:
    """``value``, an int from ``low`` to ``high``; ``limit`` tells where a bound comes from.

    Raises:
        DataError: ``value`` is no int or out of its range; the text begins with ``name``.
    """
    if not is_int(value) or not low <= value <= high:
        reason = f" ({limit})" if limit else ""
        raise DataError(f"`{name}` must be an int from {low} to {high}{reason}, got {value!r}")
    return int(value)


def check_share(rank: int, ranks: int) -> None:
    """Refuses what is no number of a process among ``ranks``.

    Raises:
        DataError: ``rank`` is no int from 0 to ``ranks - 1``.
    """
    int_in("ranks", ranks, 1, 2**31 - 1)
    int_in("rank", rank, 0, ranks - 1, f"there are {ranks}")


def check_training(count: int, batch: int, seed: int, rank: int, ranks: int) -> None:
    """Refuses what ``count`` images cannot be trained on with.

    Raises:
        DataError: an argument is out of its range.
    """
    check_share(rank, ranks)
    int_in("seed", seed, 0, 2**32 - 1)
    int_in("batch", batch, 1, count // ranks, f"{count} images to train on, {ranks} ranks")


def pass_length(count: int, batch: int, ranks: int, limit: int | None) -> int:
    """How many batches one of ``ranks`` processes takes in a pass over ``count`` images.

    Raises:
        DataError: ``limit``, the most there may be, is neither None nor an int >= 1.
    """
    most = 2**31 - 1 if limit is None else int_in("limit", limit, 1, 2**31 - 1)
    return min(most, count // ranks // batch)
