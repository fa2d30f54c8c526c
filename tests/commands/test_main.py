"""``python -m sspq``."""

import json
import os
import subprocess
import sys

import pytest

from sspq.analysis import environment
from sspq.commands.main import COMMANDS, main, parser
from sspq.compat import TF_VERSION, tf

ROOT = os.path.join(os.path.dirname(__file__), "..")


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "sspq"] + list(arguments), cwd=ROOT, capture_output=True, text=True
    )


def test_env_prints_what_a_bug_report_needs():
    done = run("env")
    assert done.returncode == 0
    for text in ("sspq", "tensorflow       " + TF_VERSION, "compiler", "libsspq.so", "device"):
        assert text in done.stdout
    lines = done.stdout.splitlines()
    for op in ("SspqShift2D ", "SspqShift2DGrad"):
        assert any(line.startswith(op) and "CPU float32, CPU float64" in line for line in lines)
    assert any(line.split() == ["SspqBatchNorm", "CPU"] for line in lines)


def test_env_can_be_read_by_a_program():
    state = json.loads(run("env", "--json").stdout)
    gpu = ["GPU float16", "GPU float32", "GPU float64"] if state["build"]["cuda"] else []
    assert state["cpu_versions"][-2:] == ["baseline", "reference"]
    assert state["kernels"]["SspqShift2D"] == ["CPU float32", "CPU float64"] + gpu
    assert state["build"]["tensorflow"] == TF_VERSION
    assert state["slq"] == "native"


def test_env_tells_of_a_missing_library_and_goes_on(monkeypatch):
    monkeypatch.setattr(environment.oplib, "LIB_PATH", "/nowhere/libsspq.so")
    text = environment.format_environment(environment.environment())
    assert "NOT LOADED" in text and "/nowhere/libsspq.so is missing" in text
    assert "tensorflow       " + TF_VERSION in text


@pytest.mark.parametrize("wish, name", [("", "numpy"), ("numpy", "numpy"), ("native", "none")])
def test_env_tells_why_slq_is_not_compiled(wish, name, monkeypatch):
    monkeypatch.setenv("SSPQ_SLQ", wish)
    monkeypatch.setattr(environment.native, "LIB_PATH", "/nowhere/libsspq_slq.so")
    environment.native.load.cache_clear()
    text = environment.format_environment(environment.environment())
    assert f"slq              {name} (" in text and "/nowhere/libsspq_slq.so" in text
    environment.native.load.cache_clear()


def test_a_user_error_is_one_line_and_status_2(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("sspq: ")


@pytest.mark.parametrize(
    "error",
    [MemoryError("no room"), tf.errors.ResourceExhaustedError(None, None, "no room\n\nHint: ...")],
)
def test_too_little_memory_is_one_line_and_status_2(error, tmp_path, capsys, monkeypatch):
    def exhausted(folder):
        raise error

    monkeypatch.setattr("sspq.figures.slq.is_slq", exhausted)
    assert main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "sspq: no room\n"


def test_a_traceback_is_shown_on_demand(tmp_path, monkeypatch):
    monkeypatch.setenv("SSPQ_TRACEBACK", "1")
    with pytest.raises(ValueError, match=str(tmp_path)):
        main(["report", str(tmp_path)])


def test_ctrl_c_is_one_line_and_status_130(tmp_path, capsys, monkeypatch):
    def interrupted(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("sspq.figures.slq.is_slq", interrupted)
    assert main(["report", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "sspq: interrupted\n"


@pytest.mark.parametrize("arguments", [(), ("fly",)])
def test_an_unknown_command_shows_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code == 2 and "usage: python -m sspq" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_of_a_command_has_a_help_text(name):
    [commands] = [a for a in parser([name])._actions if a.dest == "command"]
    actions = commands.choices[name]._actions
    assert len(actions) > 1 and [a.dest for a in actions if not a.help] == []
