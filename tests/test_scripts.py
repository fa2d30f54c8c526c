"""The shell scripts as a user meets them."""

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig

import numpy as np
import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))


CHAINS = ("SSQ_cifar100_TS.sh", "TS.sh", "SLQ.sh")


def bash(*arguments, cwd=ROOT, **environment):
    # A bare environment: nothing of the one that runs the tests helps along.
    env = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), **environment}
    return subprocess.run(
        [shutil.which("bash")] + [str(a) for a in arguments],
        cwd=str(cwd),
        env=env,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def checkout(tmp_path):
    """The scripts and what they read, in a folder of their own without an environment."""
    for name in (*CHAINS, "scripts", "requirements", "tests/run.sh"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        source = os.path.join(ROOT, name)
        (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, str(target))
    return tmp_path


@pytest.fixture
def tools(tmp_path):
    """A PATH with everything but a Python 3.7."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "cat", "cksum", "dirname", "flock", "grep", "mktemp", "rm", "sed"):
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    for name in ("python3", "python"):
        fake = folder / name
        fake.write_text("#!/bin/sh\nexit 1\n")
        fake.chmod(0o755)
    return str(folder)


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
    code = '. scripts/setup_env.sh; python37_candidates() { echo "$0"; }; find_python37'
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
    return os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2])


@pytest.fixture
def on_top(checkout):
    """A PYTHONPATH with a module tensorflow, and with what the tests have: pip, numpy, ..."""

    def path(source):
        (checkout / "fake").mkdir()
        (checkout / "fake" / "tensorflow.py").write_text(source)
        return "%s:%s" % (checkout / "fake", sysconfig.get_path("purelib"))

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
    assert pip == "pip install -c constraints.txt -r base.txt -c %s/.venv/installed.txt" % checkout
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
    assert "%s: %s\n" % (base_python, reason) in done.stderr


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


OPTIONS = {
    "SSQ_cifar100_TS.sh": "demo data download log variant seed gpu float32 fresh",
    "SLQ.sh": "demo data load log model method bits partition seed batch gpu trainer fresh",
    "TS.sh": "demo data meta-dir log variant seed batch gpu trainer symbolic skip-bad fresh",
}


@pytest.mark.parametrize("chain", CHAINS)
def test_help_lists_every_option_and_sets_nothing_up(checkout, tools, chain):
    done = bash(chain, "--help", cwd=checkout, PATH=tools)
    assert done.returncode == 0
    for option in OPTIONS[chain].split():
        assert "\n  --%s " % option in done.stdout
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize(
    "options, message",
    [
        (("--dmeo",), "unknown option '--dmeo'"),
        (("demo",), "unknown option 'demo'"),
        (("--seed",), "--seed needs a value"),
        (("--log", "--fresh"), "--log needs a value"),
        (("--log", ""), "--log needs a value"),
        (("--demo fresh",), "unknown option '--demo fresh'"),
        ((), "or run --demo"),
    ],
)
def test_wrong_options_are_named_before_anything_is_set_up(
    checkout, tools, chain, options, message
):
    done = bash(chain, *options, cwd=checkout, PATH=tools)
    assert done.returncode == 2 and message in done.stderr
    assert done.stderr.startswith(chain + ": ")
    assert not (checkout / ".venv").exists()


def commands_of(checkout, *arguments, **environment):
    """What a chain would run: its Python commands, with the environment's making left out."""
    setup = checkout / "scripts" / "setup_env.sh"
    setup.write_text(setup.read_text() + "\nsetup_env() { PYTHON=printf_line; }\n")
    line = "printf_line() { printf '%s\\n' \"$*\"; }; export -f printf_line; "
    done = bash("-c", line + 'bash "$@"', "bash", *arguments, cwd=checkout, **environment)
    assert done.returncode == 0, done.stderr
    return [c.replace(str(checkout) + "/", "") for c in done.stdout.splitlines() if c]


def test_the_imagenet_chain_passes_its_options_to_both_steps(checkout):
    given = ("--meta-dir", "M", "--seed", "7", "--batch", "64", "--gpu", "0,1", "--skip-bad")
    s1, s2, report = commands_of(
        checkout, "TS.sh", "--data", "D", "--log", "L", "--trainer", "replicated", "--symbolic",
        "--variant", "released", *given,
    )  # fmt: skip
    assert s1.startswith("examples/imagenet-SSQ_S1.py ") and s1.endswith("--log L/s1 --resume")
    assert s2.startswith("examples/imagenet-SSQ_S2.py ") and s2.endswith("--log L/s2 --resume")
    assert "--load L/s1" in s2 and "--load" not in s1
    for command in (s1, s2):
        for option in (
            "--data D", "--meta-dir M", "--seed 7", "--batch 64", "--gpu 0,1", "--skip-bad",
            "--symbolic", "--variant released", "--trainer replicated",
        ):  # fmt: skip
            assert option in command
    assert report == "-m sspq report L"


def test_the_imagenet_chain_takes_its_folder_from_the_environment(checkout):
    s1, s2, _ = commands_of(checkout, "TS.sh", Imagenet_Path="/data/imagenet")
    for command in (s1, s2):
        assert "--data /data/imagenet" in command and "--batch 256" in command
        assert "--epochs" not in command and "--base_lr" not in command  # the released ones


def test_slq_quantizes_a_loaded_network_and_packs_it(checkout):
    given = ("--seed", "7", "--batch", "64", "--gpu", "0,1", "--bits", "3", "--partition", "loss")
    slq, pack, report = commands_of(
        checkout, "SLQ.sh", "--data", "D", "--load", "alexnet.npz", "--log", "L", *given
    )
    assert slq.startswith("examples/slq.py ") and slq.endswith("--log L/slq --resume")
    for option in (
        "--model alexnet", "--method slq", "--data D", "--load alexnet.npz", "--seed 7",
        "--batch 64", "--gpu 0,1", "--bits 3", "--partition loss",
    ):  # fmt: skip
        assert option in slq
    # The rest is AlexNet's own, as released.
    assert "--stage-epochs" not in slq and "--base_lr" not in slq
    assert pack == "-m sspq pack L/slq -o L/model.sspq.safetensors"
    assert report == "-m sspq report L"


@pytest.mark.parametrize("model", ["lenet", "sspq34"])
def test_the_demo_of_slq_trains_the_float32_network_first(checkout, model):
    float32, slq, _, _ = commands_of(
        checkout, "SLQ.sh", "--demo", "--model", model, "--method", "mlq", "--log", "L"
    )
    for command in (float32, slq):
        assert "--model %s --data digits" % model in command
    assert "--method float32" in float32 and "--log L/float32 --resume" in float32
    assert "--method mlq" in slq and "--load L/float32" in slq


def test_the_demo_of_slq_refuses_other_networks(checkout, tools):
    done = bash("SLQ.sh", "--demo", "--model", "alexnet", cwd=checkout, PATH=tools)
    assert done.returncode == 2 and "--demo is for lenet and sspq34, got 'alexnet'" in done.stderr
    assert not (checkout / ".venv").exists()


def test_the_demo_of_slq_refuses_a_network_to_start_from(checkout, tools):
    done = bash("SLQ.sh", "--demo", "--load", "N", cwd=checkout, PATH=tools)
    assert done.returncode == 2 and "drop --load" in done.stderr


@pytest.mark.parametrize(
    "chain, options",
    [(chain, ("--data", "D")) for chain in CHAINS]
    + [("TS.sh", ("--meta-dir", "D")), ("SSQ_cifar100_TS.sh", ("--download",))],
)
def test_a_demo_refuses_what_it_would_pass_over(checkout, tools, chain, options):
    for given in ((*options, "--demo"), ("--demo", *options)):
        done = bash(chain, *given, cwd=checkout, PATH=tools)
        assert done.returncode == 2
        assert done.stderr.endswith("--demo brings images of its own: drop %s\n" % options[0])
    assert not (checkout / ".venv").exists()


def test_a_demo_passes_over_folders_that_the_environment_names(checkout):
    _, s1, _, _ = commands_of(checkout, "TS.sh", "--demo", "--log", "L", Imagenet_Path="/data")
    assert "--data L/images" in s1
    s1, _, _ = commands_of(checkout, "SSQ_cifar100_TS.sh", "--demo", CIFAR100_PATH="/data")
    assert "--data digits" in s1


def test_fresh_removes_what_was_trained_and_nothing_else(checkout):
    for name in ("s1/model-1.index", "s2/report.json", "report.json", "notes.txt"):
        path = checkout / "log" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    commands_of(checkout, "TS.sh", "--data", "D", "--log", "log", "--fresh")
    assert os.listdir(str(checkout / "log")) == ["notes.txt"]


def test_fresh_keeps_the_old_run_until_the_new_one_is_there(checkout):
    log = checkout / "log"
    (log / "s1").mkdir(parents=True)
    (log / "s1" / "report.json").write_text("old")
    setup = checkout / "scripts" / "setup_env.sh"
    setup.write_text(setup.read_text() + "\nsetup_env() { PYTHON=false; }\n")
    for _ in range(2):  # what a second try finds is no better than nothing
        done = bash("TS.sh", "--data", "D", "--log", "log", "--fresh", cwd=checkout)
        assert done.returncode == 1
        assert (log / ".before-fresh" / "s1" / "report.json").read_text() == "old"


def test_fresh_leaves_a_run_alone_that_another_process_is_writing(checkout):
    (checkout / "log" / "s1").mkdir(parents=True)
    setup = checkout / "scripts" / "setup_env.sh"
    setup.write_text(setup.read_text() + "\nsetup_env() { PYTHON=true; }\n")
    with open(str(checkout / "log" / "s1" / ".lock"), "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = bash("TS.sh", "--data", "D", "--log", "log", "--fresh", cwd=checkout)
    assert done.returncode == 2 and "another process is writing to log/s1" in done.stderr
    assert (checkout / "log" / "s1" / ".lock").exists()


def test_fresh_removes_what_slq_made_and_nothing_else(checkout):
    for name in ("slq/stage1/report.json", "layers/a.png", "model.sspq.safetensors", "s1/model"):
        path = checkout / "log" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    commands_of(checkout, "SLQ.sh", "--load", "N", "--log", "log", "--fresh")
    assert os.listdir(str(checkout / "log")) == ["s1"]
