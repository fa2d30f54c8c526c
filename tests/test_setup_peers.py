"""The environment with PyTorch that benchmarks/peers.py makes."""

import pytest

from tests.shell import bash

SCRIPT = "scripts/setup_peers.sh"
# Makes environments with itself as their interpreter, and notes what it is to install.
PYTHON = """#!/bin/bash
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  *urllib*) exit %d ;;
  "-m pip install"*) printf '%%s\\n' "$*" >>"$HOME/installed" ;;
esac
"""


@pytest.fixture
def python(checkout):
    def make(index_answers):
        path = checkout / "python"
        path.write_text(PYTHON % (not index_answers))
        path.chmod(0o755)
        return str(path)

    return make


def test_it_is_made_once_for_each_version(checkout, python):
    given = {"SSPQ_PEERS_PYTHON": python(True), "SSPQ_PEERS_INDEX": "https://index.invalid"}
    own = str(checkout / ".cache/sspq/peers/bin/python")
    for _ in range(2):
        assert bash(SCRIPT, cwd=checkout, **given).stdout.strip() == own
    (line,) = (checkout / "installed").read_text().splitlines()
    assert f"-r {checkout}/requirements/peers.txt" in line
    assert line.endswith("--extra-index-url https://index.invalid")
    (checkout / "requirements" / "peers.txt").write_text("torch==0.0\n")
    assert bash(SCRIPT, cwd=checkout, **given).stdout.strip() == own
    assert len((checkout / "installed").read_text().splitlines()) == 2


@pytest.mark.parametrize("index, told", [("https://index.invalid", True), ("", False)])
def test_an_index_that_cannot_be_reached_is_left_out(checkout, python, index, told):
    done = bash(SCRIPT, cwd=checkout, SSPQ_PEERS_PYTHON=python(False), SSPQ_PEERS_INDEX=index)
    assert done.returncode == 0
    assert ("https://index.invalid cannot be reached" in done.stderr) == told
    assert "--extra-index-url" not in (checkout / "installed").read_text()


def test_a_python_that_does_not_do_is_named(checkout):
    done = bash(SCRIPT, cwd=checkout, SSPQ_PEERS_PYTHON="/bin/true-python")
    assert done.returncode == 1 and done.stdout == ""
    assert "SSPQ_PEERS_PYTHON=/bin/true-python is not a Python 3.10 to 3.14" in done.stderr


def test_without_a_python_that_does_it_says_so(checkout):
    # Nothing that this machine has is one.
    script = checkout / SCRIPT
    script.write_text(script.read_text().replace("(3, 10) <= sys", "(3, 99) <= sys"))
    done = bash(SCRIPT, cwd=checkout)
    assert done.returncode == 1 and done.stdout == ""
    assert "No Python 3.10 to 3.14 was found, which PyTorch needs." in done.stderr
