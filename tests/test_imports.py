"""Imports go one way, as the syntax trees tell."""

import ast
import importlib
import os

import pytest

ROOT = os.path.join(os.path.dirname(__file__), "..")
PACKAGE = os.path.join(ROOT, "sspq")

# A module imports from its own folder and from lower levels alone. docs/architecture.md says what
# each of them is for.
ORDER = [
    {"compat", "files", "slq", "version"},
    {"oplib"},
    {"ops", "quantizers"},
    {"errors", "layers"},
    {"graphs"},
    {"data", "resnet_model2", "resnet_model3", "resnet_model4", "runs"},
    {"models"},
    {"analysis"},
    {"checkpoints"},
    {"training"},
    {"experiments"},
    {"export"},
    {"inference"},
    {"figures"},
    {"commands"},
    {"__main__", "__init__"},
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}


def modules():
    for folder, _, names in os.walk(PACKAGE):
        for name in sorted(names):
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                yield os.path.relpath(path, ROOT)[: -len(".py")].replace(os.sep, ".")


def imports(module):
    """Full names of what a module imports, inside functions too."""
    with open(os.path.join(ROOT, module.replace(".", os.sep) + ".py")) as f:
        for node in ast.walk(ast.parse(f.read())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: relative import"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def every_import():
    """(module, full name of what it imports) of all modules."""
    found = [(module, name) for module in modules() for name in imports(module)]
    assert len({module for module, _ in found}) > 80
    return found


def room(module):
    return module.split(".")[1]


def test_a_module_imports_only_from_its_own_room_or_lower_levels():
    for module, name in every_import():
        if name.startswith("sspq."):
            other, own = room(name), room(module)
            assert other == own or LEVEL[other] < LEVEL[own], f"{module} imports {name}"


def test_every_room_has_a_level():
    rooms = {room(module) for module in modules()}
    assert rooms == set(LEVEL)


def test_a_module_imports_nothing_from_outside_the_package_s_reach():
    outside = ("examples", "tests", "custom_ops", "benchmarks", "setup")
    for module, name in every_import():
        assert name.split(".")[0] not in outside, f"{module} imports {name}"


def test_the_released_names_are_for_users_alone():
    for module, name in every_import():
        assert not name.startswith("sspq.resnet_model") or room(module) == "__init__", module


def test_every_module_can_be_imported():
    for module in modules():
        if room(module) != "__main__":  # which is a program
            importlib.import_module(module.replace(".__init__", ""))


def test_tensorflow_is_imported_in_one_place_but_for_its_internals():
    for module, name in every_import():
        if name.split(".")[0] == "tensorflow" and module != "sspq.compat":
            # Parts that the public interface does not have.
            assert name.startswith("tensorflow.python."), f"{module} imports {name}"


@pytest.mark.parametrize("name", ["ops", "quantizers", "oplib", "compat", "slq"])
def test_ops_and_quantizers_work_without_tensorpack(name):
    for module in modules():
        if room(module) == name:
            assert not any(i.split(".")[0] == "tensorpack" for i in imports(module)), module


def test_slq_works_without_tensorflow_and_the_rest_of_sspq():
    for module in modules():
        if room(module) == "slq":
            for name in imports(module):
                assert name.split(".")[0] != "tensorflow", module
                assert not name.startswith("sspq.") or room(name) == "slq", module
