"""Files that are whole or not there."""

import os

import pytest

from sspq.files import is_temporary, replacing, write_atomically


@pytest.mark.parametrize("name", ["report.json", "report"])
def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path, name):
    path = tmp_path / name
    write_atomically(str(path), "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(str(path), "new \udcff")
    assert path.read_text() == "old"
    assert os.listdir(str(tmp_path)) == [name]


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    path = str(tmp_path / "none" / "report.json")
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(path, "new")
    assert caught.value.filename == path and str(caught.value).endswith(f"'{path}'")


@pytest.mark.parametrize("name", ["report.json", "report", "model.sspq.safetensors"])
def test_what_a_kill_leaves_behind_is_told_from_the_files_themselves(name):
    assert not is_temporary(name)
    with pytest.raises(KeyboardInterrupt), replacing(name) as temporary:
        assert is_temporary(temporary)
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["notes.tmp", "notes.tmp.txt", "a.sspq-tmp.b", ".sspq-tmp"])
def test_a_user_s_own_temporary_file_is_none_of_these(name):
    assert not is_temporary(name)
