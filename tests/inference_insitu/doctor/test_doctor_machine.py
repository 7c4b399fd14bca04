"""What needs no MPI: cores, shared memory, compilers, packages."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from inference_insitu.doctor import compilers, machine, packages
from inference_insitu.doctor.shared_memory import shared_memory
from inference_insitu.doctor.verdict import Level


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_container_s_quota_is_read(files: dict[str, str], quota: float | None, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert machine.cpu_quota(tmp_path) == quota


def test_a_quota_below_the_cores_that_are_shown_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000")
    verdict = machine.cores(tmp_path)
    assert verdict.level is Level.WARNING
    assert "held to 0.5" in verdict.finding
    assert "at most 1 busy ranks" in verdict.advice


def test_launcher_variables_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "12")
    assert machine.launcher_variables().facts["seen"]["SLURM_NTASKS"] == "12"


def test_shared_memory_is_tried_by_another_process(tmp_path: Path) -> None:
    """And nothing is left of the trial."""
    verdict = shared_memory(60.0, tmp_path)
    assert verdict.level in (Level.OK, Level.WARNING)
    assert verdict.facts["free_bytes"] == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.5)
    assert list(tmp_path.iterdir()) == []


def test_little_shared_memory_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: type(usage)(64 << 20, 0, 64 << 20))
    verdict = shared_memory(60.0, tmp_path)
    assert verdict.level is Level.WARNING
    assert "64 of 64 MiB free" in verdict.finding
    assert "--shm-size" in verdict.advice


def test_no_shared_memory_is_a_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shared_memory(60.0, tmp_path / "none").level is Level.NO

    def full(*arguments: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    verdict = shared_memory(60.0, tmp_path)
    assert verdict.level is Level.NO
    assert "No space left on device" in verdict.finding


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_a_compiler_that_is_not_there_names_what_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("FC", raising=False)
    c, fortran, _ = compilers.compilers(60.0)
    assert c.level is fortran.level is Level.NO
    assert "gcc" in c.finding
    assert "gfortran" in fortran.finding
    assert "gfortran" in fortran.advice


def test_a_compiler_that_fails_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that CC names, whatever else there is."""
    monkeypatch.setenv("CC", str(script(tmp_path / "mycc", "echo licence expired >&2; exit 4")))
    c, _, embedding = compilers.compilers(60.0)
    assert c.level is Level.WARNING
    assert "mycc" in c.finding
    assert "exit code 4: licence expired" in c.finding
    assert not embedding.ok


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_compiler_that_builds_a_running_program_is_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc -O0")
    c, _, embedding = compilers.compilers(120.0)
    assert c.ok
    assert c.facts["command"] == "cc -O0"
    assert embedding.ok == (compilers.shared_libpython() is not None and embedding.facts["header"] is not None)


def test_a_python_without_a_shared_library_cannot_be_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "shared_libpython", lambda: None)
    verdict = compilers.embedding(["cc"], 60.0)
    assert verdict.level is Level.NO
    assert "--enable-shared" in verdict.advice


METADATA = """Metadata-Version: 2.4
Name: some-house
Version: 1.0
Requires-Dist: numpy>=2.0
Provides-Extra: mpi
Provides-Extra: md
Provides-Extra: new
Requires-Dist: numpy>=1.0; extra == 'mpi'
Requires-Dist: no-such-package-of-ours>=4; extra == 'md'
Requires-Dist: some-house[mpi]; extra == 'md'
Requires-Dist: never-wanted; (python_version < '3') and extra == 'md'
Requires-Dist: numpy>=99; extra == 'new'
"""


def test_groups_tell_what_they_lack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing packages and old ones, also by way of another group; foreign conditions don't count."""
    (tmp_path / "some_house-1.0.dist-info").mkdir()
    (tmp_path / "some_house-1.0.dist-info/METADATA").write_text(METADATA)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = {verdict.facts["group"]: verdict for verdict in packages.optional_groups("some-house")}
    assert found["mpi"].ok
    assert found["mpi"].facts["packages"] == ["numpy"]
    assert found["md"].facts == {
        "group": "md",
        "packages": ["no-such-package-of-ours", "numpy"],
        "lacking": ["no-such-package-of-ours"],
    }
    assert found["md"].advice == "pip install 'some-house[md]'"
    assert found["new"].facts["lacking"][0].startswith("numpy>=99 (has ")


def test_a_house_that_is_not_installed_is_a_warning() -> None:
    (verdict,) = packages.optional_groups("no-such-house-of-ours")
    assert verdict.level is Level.WARNING
