"""What a compiler is told."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from inference_insitu.native import flags


def words(*arguments):
    command = [sys.executable, "-m", "inference_insitu.native.flags", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_header_sources_and_python_are_where_the_words_say():
    done = words("--cflags", "--source", "--fortran")
    assert done.returncode == 0, done.stderr
    said = done.stdout.split()
    assert said == shlex.split(done.stdout)  # a makefile's shell and a command substitution read it alike
    folders = [Path(word[2:]) for word in said if word.startswith("-I")]
    assert any((folder / "cdi_couple.h").is_file() for folder in folders)
    assert any((folder / "Python.h").is_file() for folder in folders)
    assert f"-DCDI_PYTHON_DEFAULT={sys.executable}" in said
    assert [Path(word).name for word in said if Path(word).is_file()] == ["cdi_couple.f90", "cdi_couple.c"]


def test_a_python_without_a_shared_library_is_compiled_in_or_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(flags, "shared_libpython", lambda: None)
    with pytest.raises(ValueError, match="must have a shared library"):
        flags.build(tmp_path, ["cc"])
    archive = tmp_path / "libpython.a"
    monkeypatch.setattr(flags, "_static_libpython", lambda: archive)
    said = flags.ldflags()
    assert said[:3] == ["-Wl,--whole-archive", str(archive), "-Wl,--no-whole-archive"]
    assert "-rdynamic" in said


def test_a_folder_with_a_blank_is_refused_before_a_shell_splits_it(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/home/a b/bin/python")
    with pytest.raises(ValueError, match="must be without blanks, got '/home/a b/bin/python'"):
        flags.cflags()


@pytest.mark.parametrize(
    ("environment", "code", "line"), [("/nowhere/mpicc", 2, "/nowhere/mpicc"), ("false", 1, "false does not compile")]
)
def test_a_compiler_that_fails_is_told(monkeypatch, tmp_path, environment, code, line):
    if flags.shared_libpython() is None:
        pytest.skip("this Python has no shared library to embed")
    monkeypatch.setenv("MPICC", environment)
    done = words("--build", str(tmp_path))
    assert done.returncode == code
    assert line in done.stderr
    assert not done.stdout


def test_nothing_asked_for_is_an_error():
    done = words()
    assert done.returncode == 2
    assert "--build" in done.stderr
