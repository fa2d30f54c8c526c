"""The chains' shell scripts as a user meets them."""

import fcntl
import os

import pytest

from tests.shell import CHAINS, bash

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
        assert f"\n  --{option} " in done.stdout
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
        assert f"--model {model} --data digits" in command
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
        assert done.stderr.endswith(f"--demo brings images of its own: drop {options[0]}\n")
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
