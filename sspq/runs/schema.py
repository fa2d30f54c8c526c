"""Kinds of the fields of a run's JSON files, and their check."""

import math
from typing import Any, Mapping, Tuple

# The kind of a field of a JSON file: its name in errors, and its Python types.
Kind = Tuple[str, Tuple[type, ...]]
NUMBER: Kind = ("a finite number", (int, float))
NUMBER_OR_NULL: Kind = ("a finite number or null", (int, float, type(None)))
TEXT: Kind = ("text", (str,))
OBJECT: Kind = ("an object", (dict,))


class ResultsError(ValueError):
    """A file is missing, or does not hold results."""


def check_fields(place: str, value: Any, fields: Mapping[str, Kind]) -> None:
    """Refuses a value of a JSON file that is no object with given fields.

    Args:
        place: place of the value, which the error names: a path, for instance.
        value: value as JSON gives it.
        fields: kinds of the fields by name; ``"a.b"`` is the field b of the object a.

    Raises:
        ResultsError: a field is missing or of another kind.
    """
    for name, (expected, types) in fields.items():
        found = value
        for key in name.split("."):
            if not isinstance(found, dict) or key not in found:
                raise ResultsError(f"{place}: `{name}` is missing")
            found = found[key]
        # In Python true and false are numbers, and its JSON has NaN.
        odd = isinstance(found, bool) or isinstance(found, float) and not math.isfinite(found)
        if odd or not isinstance(found, types):
            raise ResultsError(f"{place}: `{name}` must be {expected}, got {found!r}")
