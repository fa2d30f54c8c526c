"""Files that are whole or absent, whenever the process is killed."""

import json
import os
from contextlib import contextmanager
from typing import Any, Iterator, Union

_MARK = ".sspq-tmp"  # part of no name of a user's file


def temporary_name(path: str) -> str:
    """The path to write to before it replaces ``path``; it has the same ending."""
    return path + _MARK + os.path.splitext(path)[1]


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """The :func:`temporary_name` of a file to write, which then replaces ``path``.

    An error leaves ``path`` as it was, and no temporary file.
    """
    temporary = temporary_name(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as e:
        if e.filename == temporary:
            e.filename = path  # which the user knows
        raise
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def is_temporary(name: str) -> bool:
    """Whether the name is a :func:`temporary_name`, left behind by a kill."""
    path, mark, ending = name.rpartition(_MARK)
    return bool(path and mark) and ending == os.path.splitext(path)[1]


def write_atomically(path: str, content: Union[str, bytes]) -> None:
    """Replaces ``path`` by a file of ``content``; a kill at any time leaves the old or the new."""
    mode = "w" if isinstance(content, str) else "wb"
    with replacing(path) as temporary, open(temporary, mode) as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())


def write_json(path: str, value: Any) -> None:
    """Writes ``value`` as indented JSON, atomically. NaN and infinity are refused."""
    write_atomically(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: str) -> Any:
    """The value in a JSON file, or None when there is no such file.

    Raises:
        ValueError: the file is not JSON; its path is named.
    """
    if not os.path.isfile(path):
        return None
    with open(path) as f:
        try:
            return json.load(f)
        except ValueError as e:
            raise ValueError(f"{path} is not a JSON file: {e}") from e
