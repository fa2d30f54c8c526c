"""The scripts that set the environment up, and those that run the tests, as a user meets them."""

import os
import shutil
import sys
import sysconfig

import numpy as np
import pytest

from tests.shell import CHAINS, ROOT, bash

NO_PYTHON = ("pyenv install 3.7", "uv python install 3.7", "conda create", "docker build")


@pytest.mark.parametrize("command", [(chain, "--demo") for chain in CHAINS] + [("tests/run.sh",)])
def test_without_python_37_one_message_names_the_ways_to_get_one(checkout, tools, command):
    before = sorted(os.listdir(str(checkout)))
    # Named by hand, so that the outcome does not depend on what this machine has.
    done = bash(*command, cwd=checkout, PATH=tools, SSPQ_PYTHON="/nowhere/python3.7")
    assert done.returncode != 0
    for way in NO_PYTHON:
        assert way in done.stderr
    assert sorted(os.listdir(str(checkout))) == before, "something half-made was left behind"


def test_a_search_without_success_says_so(checkout, tools):
    code = '. scripts/setup_env.sh; python_candidates() { echo "$0"; }; find_python37'
    done = bash("-c", code, cwd=checkout, PATH=tools)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("No Python 3.7 was found.")


def test_a_python_given_by_hand_that_does_not_do_is_named(checkout, tools):
    done = bash("tests/run.sh", cwd=checkout, PATH=tools, SSPQ_PYTHON="/bin/true-python")
    assert done.returncode != 0
    assert "SSPQ_PYTHON=/bin/true-python is not a Python 3.7" in done.stderr


def test_an_unknown_tensorflow_package_is_named(checkout, tools):
    done = bash("tests/run.sh", cwd=checkout, PATH=tools, SSPQ_TENSORFLOW="tf-nightly")
    assert done.returncode == 2
    assert "must be tensorflow, tensorflow-gpu or installed, got 'tf-nightly'" in done.stderr


def test_a_python_of_pyenv_is_found(checkout, tools):
    python = checkout / ".pyenv" / "versions" / "3.7.99" / "bin" / "python3.7"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    done = bash("-c", ". scripts/setup_env.sh; find_python37", cwd=checkout, PATH=tools)
    assert done.stdout.strip() == str(python)


@pytest.mark.parametrize(
    "environment, option", [({}, "--no-compile"), ({"PYTHONDONTWRITEBYTECODE": "1"}, "--compile")]
)
def test_packages_are_compiled_ahead_where_imports_keep_no_bytecode(
    checkout, tools, environment, option
):
    python = checkout / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho $* >options\n")
    python.chmod(0o755)
    code = ". scripts/setup_env.sh; pip_install venv numpy"
    assert bash("-c", code, cwd=checkout, PATH=tools, **environment).returncode == 0
    assert option in (checkout / "options").read_text().split()


@pytest.fixture
def base_python():
    """The interpreter below the environment of the tests."""
    return os.path.join(
        sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}"
    )


@pytest.fixture
def on_top(checkout):
    """A PYTHONPATH with a module tensorflow, and with what the tests have: pip, numpy, ..."""

    def path(source):
        (checkout / "fake").mkdir()
        (checkout / "fake" / "tensorflow.py").write_text(source)
        return f"{checkout / 'fake'}:{sysconfig.get_path('purelib')}"

    return path


def test_an_installed_tensorflow_and_its_libraries_stay_as_they_are(checkout, base_python, on_top):
    code = """
        . scripts/setup_env.sh
        pip_install() { shift; echo "pip install $*"; }
        setup_packages
        cat .venv/installed.txt
        grep include-system .venv/pyvenv.cfg
    """
    environment = {"SSPQ_TENSORFLOW": "installed", "SSPQ_PYTHON": base_python}
    done = bash(
        "-c", code, cwd=checkout, PYTHONPATH=on_top("__version__ = '1.15.5'"), **environment
    )
    pip, *held, system = done.stdout.splitlines()
    assert pip == f"pip install -c constraints.txt -r base.txt -c {checkout}/.venv/installed.txt"
    assert sorted(pin.split("==")[0] for pin in held) == ["h5py", "numpy", "protobuf"]
    assert "numpy==" + np.__version__ in held
    assert system == "include-system-site-packages = true"


@pytest.mark.parametrize(
    "source, reason",
    [
        ("__version__ = '2.4.1'", "it has TensorFlow 2.4.1"),
        ("raise ImportError('no libcuda.so.1')", "ImportError: no libcuda.so.1"),
    ],
)
def test_an_installed_tensorflow_that_does_not_do_is_refused_with_the_reason(
    checkout, base_python, on_top, source, reason
):
    environment = {"SSPQ_TENSORFLOW": "installed", "SSPQ_PYTHON": base_python}
    done = bash("tests/run.sh", cwd=checkout, PYTHONPATH=on_top(source), **environment)
    assert done.returncode != 0 and not (checkout / ".venv").exists()
    assert "needs a Python 3.7 or 3.8 with TensorFlow 1.15" in done.stderr
    assert f"{base_python}: {reason}\n" in done.stderr


def test_a_tensorflow_in_a_virtual_environment_is_refused(checkout):
    # One made on top of it would see the packages of its base instead.
    environment = {"SSPQ_TENSORFLOW": "installed", "SSPQ_PYTHON": sys.executable}
    done = bash("tests/run.sh", cwd=checkout, **environment)
    assert done.returncode != 0
    assert sys.executable + ": it is a virtual environment" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_set_up_of_another_user_is_used_as_it_is(checkout):
    code = """
        . scripts/setup_env.sh
        find_python() { echo python; }
        install_into() { mkdir .venv; }
        setup_packages
    """
    assert bash("-c", code, cwd=checkout).returncode == 0
    checkout.chmod(0o555)
    again = bash("-c", code, cwd=checkout)
    (checkout / "requirements" / "base.txt").write_text("something==1.0")
    changed = bash("-c", code, cwd=checkout)
    checkout.chmod(0o755)
    assert again.returncode == 0, again.stderr
    assert changed.returncode == 1
    assert "does not fit requirements/, and this user cannot write there" in changed.stderr


def test_what_the_tests_need_is_pinned_and_installed_again_when_it_changes(checkout):
    code = """
        . scripts/setup_env.sh
        find_python() { echo python; }
        install_into() { mkdir .venv; }
        pip_install() { shift; echo "pip install $*"; }
        for change in first none docs; do
          echo "# $change" >>requirements/$change.txt
          setup_packages dev
        done
    """
    done = bash("-c", code, cwd=checkout)
    assert done.returncode == 0, done.stderr
    folder = checkout / "requirements"
    pip = f"pip install -c {folder}/constraints.txt -r {folder}/dev.txt"
    assert done.stdout.splitlines() == [pip, pip]
    assert "-r docs.txt" in (folder / "dev.txt").read_text().splitlines()


@pytest.fixture
def fake_environment(checkout):
    """A checkout whose tests/run.sh says what it would set up and start."""
    bin_folder = checkout / "fake"
    bin_folder.mkdir()
    for name in ("python", "ruff", "mypy", "clang-format"):
        (bin_folder / name).write_text('#!/bin/sh\necho "${0##*/} $*"\n')
        (bin_folder / name).chmod(0o755)
    setup = checkout / "scripts" / "setup_env.sh"
    stub = f'\nsetup_env() {{ echo "setup $*"; PYTHON={(bin_folder / "python")}; }}\n'
    setup.write_text(setup.read_text() + stub)
    for folder in ("custom_ops", "benchmarks"):
        (checkout / folder).mkdir()
    (checkout / "custom_ops" / "a.cc").write_text("")
    (checkout / ".ci").mkdir()
    shutil.copy(os.path.join(ROOT, ".ci", "run"), str(checkout / ".ci"))
    return checkout


LINTERS = ["ruff format --check .", "ruff check .", "mypy ", "clang-format --dry-run -Werror"]
PYTEST = "python -m pytest -n auto --maxprocesses 4 --dist loadfile"
COVERAGE = " --cov=sspq --cov-branch --cov-config=pyproject.toml --cov-report=term"


@pytest.mark.parametrize(
    "command, extras, linted, arguments",
    [
        (("tests/run.sh",), "dev", True, " -m not slow"),
        (("tests/run.sh", "--all"), "dev horovod", True, COVERAGE),
        (("tests/run.sh", "--all", "-x"), "dev horovod", True, COVERAGE + " -x"),
        (("tests/run.sh", "-k", "a b"), "dev", False, " -k a b"),
        ((".ci/run",), "dev horovod", True, COVERAGE),
    ],
)
def test_the_quick_run_leaves_slow_tests_and_horovod_to_all(
    fake_environment, command, extras, linted, arguments
):
    done = bash(*command, cwd=fake_environment)
    assert done.returncode == 0, done.stderr
    first, *lines, last = done.stdout.splitlines()
    assert first == "setup " + extras
    assert [line.split(" custom_ops")[0] for line in lines] == (LINTERS if linted else [])
    assert last == PYTEST + arguments


def test_linters_always_run_where_ci_is_set(fake_environment):
    done = bash("tests/run.sh", "-x", cwd=fake_environment, CI="true")
    assert len(done.stdout.splitlines()) == 1 + len(LINTERS) + 1


def test_less_coverage_than_agreed_on_is_a_failure():
    with open(os.path.join(ROOT, "pyproject.toml")) as f:
        report = f.read().split("[tool.coverage.report]")[1]
    assert "fail_under = 92" in report.splitlines()
