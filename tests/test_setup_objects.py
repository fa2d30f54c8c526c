"""``setup.py`` compiles again what has changed, and only that."""

import os

import pytest
from setuptools import Distribution

import setup

COMPILER = """#!/bin/sh
case "$*" in *" -c "*) echo "$*" >>"%s";; esac
exec g++ "$@"
"""


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Builds a library of two sources; gives the names of those that were compiled for it."""
    log, compiler = tmp_path / "log", tmp_path / "compiler"
    compiler.write_text(COMPILER % log)
    compiler.chmod(0o755)
    (tmp_path / "one.cc").write_text("int one() { return 1; }\n")
    (tmp_path / "two.cc").write_text('#include "two.h"\nint two() { return kTwo; }\n')
    for folder in ("include", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "two.h").write_text("constexpr int kTwo = 2;\n")
    monkeypatch.setattr(setup, "ROOT", str(tmp_path))
    monkeypatch.setenv("CXX", str(compiler))

    def compiled(include="include", flags=("-fPIC",), force=False):
        command = setup.BuildOps(Distribution())
        command.build_temp, command.force = str(tmp_path / "objects"), force
        log.write_text("")
        options = [*flags, f"-I{(tmp_path / include)}"]
        command.compile_library(str(tmp_path / "lib.so"), ["one.cc", "two.cc"], options, [], [])
        assert (tmp_path / "lib.so").stat().st_size
        return sorted(os.path.basename(w) for w in log.read_text().split() if w.endswith(".cc"))

    assert compiled() == ["one.cc", "two.cc"]
    return compiled


def test_nothing_is_compiled_twice(build):
    assert build() == []


def test_comments_and_the_place_of_headers_do_not_matter(build, tmp_path):
    header = tmp_path / "include" / "two.h"
    header.write_text("// A comment.\n" + header.read_text())
    assert build() == []
    assert build(include="other") == []


def test_a_header_has_what_includes_it_compiled(build, tmp_path):
    (tmp_path / "include" / "two.h").write_text("constexpr int kTwo = 3;\n")
    assert build() == ["two.cc"]


@pytest.mark.parametrize("change", [{"flags": ("-fPIC", "-O1")}, {"force": True}])
def test_other_flags_and_force_have_all_compiled(build, change):
    assert build(**change) == ["one.cc", "two.cc"]


def test_what_failed_to_compile_is_compiled_again(build, tmp_path):
    source = tmp_path / "one.cc"
    good = source.read_text()
    source.write_text("int one() { return nothing; }\n")
    with pytest.raises(setup.BuildError, match="nothing"):
        build()
    source.write_text(good)
    assert build() == ["one.cc"]
