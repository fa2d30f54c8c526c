"""The op library is found, checked and loaded once, and its errors say what to do."""

import json

import pytest

from sspq import oplib
from sspq.compat import TF_VERSION

REBUILD = "python setup.py build_ext --inplace"


@pytest.fixture
def library_folder(tmp_path, monkeypatch):
    """An empty folder where the library is looked for, as if nothing had been loaded yet."""
    monkeypatch.setattr(oplib, "LIB_PATH", str(tmp_path / "libsspq.so"))
    monkeypatch.setattr(oplib, "BUILD_INFO_PATH", str(tmp_path / "build.json"))
    oplib.load.cache_clear()
    yield tmp_path
    oplib.load.cache_clear()


def _write(folder, tensorflow, library=b"this is no library"):
    (folder / "libsspq.so").write_bytes(library)
    (folder / "build.json").write_text(json.dumps({"tensorflow": tensorflow}))


def _message(call, *args):
    with pytest.raises(oplib.OpLibraryError) as raised:
        call(*args)
    return str(raised.value)


def test_the_library_was_built_for_the_running_tensorflow():
    assert oplib.build_info()["tensorflow"] == TF_VERSION
    oplib.check_build(oplib.build_info())


def test_a_build_for_another_tensorflow_is_refused_with_both_versions_and_the_command():
    message = _message(oplib.check_build, {"tensorflow": "1.14.0"}, "1.15.5")
    assert "built for TensorFlow 1.14.0" in message
    assert "TensorFlow 1.15.5 is running" in message
    assert REBUILD in message


def test_a_record_without_a_version_is_refused():
    assert "built for TensorFlow None" in _message(oplib.check_build, {}, "1.15.5")


def test_a_build_for_another_tensorflow_is_not_loaded(library_folder):
    _write(library_folder, tensorflow="1.13.1")
    message = _message(oplib.load)
    assert "1.13.1" in message and TF_VERSION in message and REBUILD in message


def test_a_version_for_another_processor_is_named_with_those_that_are_there(monkeypatch):
    oplib.load.cache_clear()
    monkeypatch.setenv("SSPQ_CPU", "avx1024")
    message = _message(oplib.load)
    monkeypatch.setenv("SSPQ_CPU", "baseline")
    assert message.startswith("SSPQ_CPU=avx1024: must be one of ")
    assert ", ".join(oplib.cpu_versions()) in message


def test_a_missing_library_is_named_with_the_command(library_folder):
    message = _message(oplib.load)
    assert str(library_folder / "libsspq.so") in message
    assert REBUILD in message


def test_a_library_without_its_record_is_refused(library_folder):
    _write(library_folder, tensorflow=TF_VERSION)
    (library_folder / "build.json").unlink()
    assert REBUILD in _message(oplib.load)


def test_a_library_that_does_not_load_is_named_with_the_command(library_folder):
    _write(library_folder, tensorflow=TF_VERSION)
    message = _message(oplib.load)
    assert "does not load" in message
    assert str(library_folder / "libsspq.so") in message
    assert REBUILD in message


def test_a_failed_load_is_tried_again(library_folder, monkeypatch):
    _message(oplib.load)
    monkeypatch.undo()
    assert hasattr(oplib.load(), "sspq_shift2d")


def test_an_op_library_error_is_an_import_error():
    assert issubclass(oplib.OpLibraryError, ImportError)


def test_the_library_is_loaded_once():
    assert oplib.load() is oplib.load()


def test_a_damaged_record_is_named_with_the_command(library_folder):
    _write(library_folder, tensorflow=TF_VERSION)
    (library_folder / "build.json").write_text('{"tensorflow": "1.1')
    message = _message(oplib.build_info)
    assert "build.json is damaged" in message and REBUILD in message
