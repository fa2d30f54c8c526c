"""One run in a folder, one writer at a time."""

import os
import subprocess
import sys

import pytest

from sspq.files import replacing
from sspq.runs.folder import RunFolder, RunFolderError

SETTINGS = {"seed": 0, "bits": {"weights": 8}}


def begin(path):
    """A folder with a run in it that has trained for an epoch."""
    folder = RunFolder(str(path), SETTINGS, resume=False)
    with open(folder.file("history.json"), "w") as f:
        f.write("[]")
    folder._lock.close()
    return folder


def test_a_folder_with_a_run_is_left_alone_without_resume(tmp_path):
    folder = begin(tmp_path / "new" / "run")
    with pytest.raises(RunFolderError, match="already holds a run; give --resume"):
        RunFolder(folder.path, SETTINGS, resume=False)
    RunFolder(folder.path, SETTINGS, resume=True)


def test_a_run_with_other_settings_is_refused_with_the_difference(tmp_path):
    begin(tmp_path)
    with pytest.raises(RunFolderError, match="seed is 0 there and 1 now"):
        RunFolder(str(tmp_path), dict(SETTINGS, seed=1), resume=True)


def test_a_run_that_was_refused_at_its_start_is_in_nobody_s_way(tmp_path):
    RunFolder(str(tmp_path), SETTINGS, resume=False)._lock.close()
    RunFolder(str(tmp_path), dict(SETTINGS, seed=1), resume=False)


def test_settings_that_tell_nothing_count_as_none(tmp_path):
    begin(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(RunFolderError, match="no run.json with the settings of their run"):
        RunFolder(str(tmp_path), SETTINGS, resume=True)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["model-50.index", "history.json", "history.csv", "report.json"])
def test_results_of_nobody_knows_which_run_are_left_alone(tmp_path, name, resume):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunFolderError, match="but no run.json .* give another folder") as e:
        RunFolder(str(tmp_path), SETTINGS, resume)
    assert str(tmp_path) in str(e.value)
    assert sorted(os.listdir(str(tmp_path))) == sorted([".lock", name])
    assert (tmp_path / name).read_text() == "mine"


def test_a_second_writer_waits_and_then_gives_up(tmp_path):
    first = RunFolder(str(tmp_path), SETTINGS, resume=False)
    with pytest.raises(RunFolderError, match="another process is writing"):
        RunFolder(str(tmp_path), SETTINGS, resume=True, wait=0.3)
    first._lock.close()
    RunFolder(str(tmp_path), SETTINGS, resume=True, wait=0.3)


def test_a_killed_writer_leaves_no_lock(tmp_path):
    code = (
        "import sys, time; from sspq.runs.folder import RunFolder;"
        "f = RunFolder(sys.argv[1], {'seed': 0}, False); print('in', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"in\n"
    with pytest.raises(RunFolderError, match="another process"):
        RunFolder(str(tmp_path), {"seed": 0}, resume=True, wait=0.1)
    child.kill()
    child.wait()
    RunFolder(str(tmp_path), {"seed": 0}, resume=True, wait=5)


def test_leftovers_of_an_interrupted_save_are_removed_and_nothing_else(tmp_path):
    folder = RunFolder(str(tmp_path), SETTINGS, resume=False)
    (tmp_path / "model-7_temp_ab12").mkdir()
    (tmp_path / "model-7_temp_ab12" / "part-00000-of-00001.data-00000-of-00001").write_text("x")
    for name in (
        "model-7.index.tempstate123",
        "model-7.data-00000-of-00001.tempstate123",
        "checkpoint.tmp" + 32 * "a",
        "graph-1123-014602.meta.tmp" + 32 * "b",
    ):
        (tmp_path / name).write_text("x")
    unfinished = replacing(str(tmp_path / "history.json"))
    with open(unfinished.__enter__(), "w") as f:
        f.write("[")
    (tmp_path / "model-3.index").write_text("x")
    folder.clear_leftovers()
    assert sorted(os.listdir(str(tmp_path))) == [".lock", "model-3.index", "run.json"]


def test_a_user_s_files_in_the_folder_of_a_run_are_kept(tmp_path):
    folder = RunFolder(str(tmp_path), SETTINGS, resume=False)
    folders = ["my_temp_data", "model-7_temp_data", "x.sspq-tmp"]
    files = ["notes.tmp", "notes.tmp.txt", "a.tempstate", "my_model-7.index.tempstate1"]
    for name in folders:
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("x")
    for name in files:
        (tmp_path / name).write_text("x")
    folder.clear_leftovers()
    left = sorted(os.listdir(str(tmp_path)))
    assert left == sorted([".lock", "run.json"] + folders + files)
    assert all((tmp_path / name / "mine").exists() for name in folders)


def test_a_process_dies_with_its_parent_when_asked_to(tmp_path):
    child = (
        "import os, time; from sspq.experiments.script import die_with_parent;"
        "die_with_parent(); print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = (
        "import subprocess, sys, time;"
        "subprocess.Popen([sys.executable, '-W', 'ignore', '-c', sys.argv[1]]); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent, child],
        stdout=subprocess.PIPE,
        env=dict(os.environ, SSPQ_DIE_WITH_PARENT="1"),
    )
    assert int(process.stdout.readline()) != process.pid
    process.kill()
    process.wait()
    # The grandchild holds the other end of the pipe: reading to its end proves that it is gone.
    assert process.stdout.read() == b""
