"""The package imports what it needs when it needs it, and no sooner."""

import ast
import os
import subprocess
import sys

import pytest

import sspq

ROOT = os.path.join(os.path.dirname(__file__), "..")
PACKAGE = os.path.join(ROOT, "sspq")
HELP_SECONDS = 0.3  # of CPU time; importing TensorFlow alone takes longer


def cpu_seconds(*arguments):
    """CPU time of a Python process, user and system, the least of three runs."""
    found = []
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        assert status == 0, arguments
        found.append(usage.ru_utime + usage.ru_stime)
    return min(found)


def output(code):
    """What a Python process of its own prints."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_help_does_not_wait_for_tensorflow():
    assert cpu_seconds("-m", "sspq", "--help") < HELP_SECONDS
    assert cpu_seconds("-c", "import sspq.compat") > HELP_SECONDS  # which is what it measures


@pytest.mark.parametrize(
    "names",
    [
        "sspq",
        "sspq.slq",
        "sspq.runs.folder, sspq.runs.history, sspq.runs.schema, sspq.runs.stages",
    ],
)
def test_tensorflow_is_not_imported_by(names):
    code = f"import sys, {names}; print({{'tensorflow', 'tensorpack'}} & set(sys.modules))"
    assert output(code) == "set()\n"


@pytest.mark.parametrize("names", ["sspq, tensorpack", "tensorpack, sspq"])
def test_shift2d_is_a_layer_of_linear_wrap_in_either_order_of_imports(names):
    code = f"import {names}; print(tensorpack.LinearWrap([]).Shift2D)"
    assert output(code).startswith("<function LinearWrap.__getattr__")


@pytest.mark.parametrize("name", sspq.__all__)
def test_every_public_name_resolves(name):
    assert getattr(sspq, name) is not None and name in dir(sspq)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'sspq' has no attribute 'shift3d'"):
        sspq.shift3d  # noqa: B018


def names_of(tree):
    """Every name, attribute and imported module of a syntax tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield node.module
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.name for alias in node.names)


def test_command_lines_are_read_in_commands_and_experiments_alone():
    readers = set()
    for folder, _, names in os.walk(PACKAGE):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                with open(path) as f:
                    if {"argparse", "Namespace"} & set(names_of(ast.parse(f.read()))):
                        readers.add(os.path.relpath(path, PACKAGE))
    others = {path for path in readers if path.split(os.sep)[0] not in ("commands", "experiments")}
    assert len(readers) > 10 and not others
