"""The trials themselves, on the MPI of this environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inference_insitu.device.runtime import LIBRARY, device_count
from inference_insitu.doctor import cuda_probe, death_probe, launch_probe, library_probe, port_probe
from inference_insitu.doctor.verdict import Level, Verdict

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(240)]
TIMEOUT_S = 60.0
SHARED = Path("/dev/shm")


@pytest.fixture(scope="module")
def launcher() -> Path:
    pytest.importorskip("mpi4py", exc_type=ImportError)
    found = launch_probe.find_launcher()
    if found is None:
        pytest.skip("needs mpiexec")
    return found


@pytest.fixture(scope="module")
def library(launcher: Path) -> Verdict:
    return library_probe.library(TIMEOUT_S)


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open MPI refuses root unless told."""
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")


def test_the_library_is_loaded_in_a_child_alone(library: Verdict) -> None:
    assert library.ok
    assert library.facts["vendor"] in library.facts["full_version"]
    assert library.facts["path"] == "" or Path(library.facts["path"]).exists()


def test_the_launcher_of_this_environment_starts_one_job(launcher: Path, library: Verdict) -> None:
    verdict, threads = launch_probe.launch(launcher, library.facts, TIMEOUT_S)
    assert verdict.ok
    assert verdict.facts["sizes"] == [2, 2]
    assert threads.facts["level"] in launch_probe.THREAD_LEVELS


def test_another_launcher_starts_jobs_of_one_rank(library: Verdict, tmp_path: Path) -> None:
    """A script that starts processes and tells them nothing, as another MPI's launcher does."""
    launcher = tmp_path / "mpiexec"
    body = '[ "$1" = --version ] && echo "mpiexec (Foreign MPI) 1.0" && exit\nshift 2\n"$@" &\n"$@" &\nwait\n'
    launcher.write_text(f"#!/bin/sh\n{body}")
    launcher.chmod(0o755)
    (verdict,) = launch_probe.launch(launcher, library.facts, TIMEOUT_S)
    assert verdict.blocking
    assert verdict.facts["sizes"] == [1, 1]
    assert "2 jobs of one rank each" in verdict.finding
    assert library.facts["vendor"] in verdict.advice


def test_a_launcher_that_hangs_is_given_up(library: Verdict, tmp_path: Path) -> None:
    launcher = tmp_path / "mpiexec"
    launcher.write_text("#!/bin/sh\nsleep 300\n")
    launcher.chmod(0o755)
    (verdict,) = launch_probe.launch(launcher, library.facts, 1.0)
    assert verdict.blocking
    assert "no answer within 1 s" in verdict.finding


def test_a_death_ends_an_mpich_job_and_spares_an_open_mpi_one(launcher: Path, library: Verdict) -> None:
    vendor = library.facts["vendor"]
    verdict = death_probe.death_of_a_rank(launcher, vendor, TIMEOUT_S)
    if vendor == "MPICH":
        assert verdict.level is Level.NO
        assert verdict.finding == "mpiexec ends the whole job"
        assert "--with-ft ulfm" in verdict.advice
    elif vendor == "Open MPI":
        assert verdict.facts["survived"] in (True, None)


def test_two_mpich_jobs_are_joined_by_a_port(launcher: Path, library: Verdict) -> None:
    if library.facts["vendor"] != "MPICH":
        pytest.skip("MPICH joins jobs; elsewhere it depends on the build")
    assert port_probe.two_jobs_by_a_port(launcher, TIMEOUT_S).ok


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs /dev/shm")
def test_no_trial_leaves_shared_memory_behind(
    launcher: Path, library: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it kills ranks and ends without MPI's finalisation: what its ranks named is gone."""
    named: list[str] = []
    from inference_insitu.doctor import child

    def remove(found: list[dict[str, list[str]]]) -> None:
        named.extend(path for entry in found for path in entry.get("segments", ()))
        child_remove(found)

    child_remove = child.remove_segments
    monkeypatch.setattr(child, "remove_segments", remove)
    death_probe.death_of_a_rank(launcher, library.facts["vendor"], TIMEOUT_S)
    port_probe.two_jobs_by_a_port(launcher, 10.0)
    assert [path for path in named if Path(path).exists()] == []
    if library.facts["vendor"] == "MPICH":
        assert named


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CUDA driver that needs no GPU (``fake_cuda.c``)."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler on Linux")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).parent / "fake_cuda.c"
    command = [compiler, "-shared", "-fPIC", str(source), "-o", str(folder / LIBRARY)]
    subprocess.run(command, check=True, timeout=120)
    return folder


@pytest.mark.parametrize(
    ("mode", "level", "aware", "finding"),
    [
        ("open", Level.OK, True, "arrive whole"),
        ("closed", Level.NO, False, "MPI does not take arrays on the GPU"),
        pytest.param("false", Level.NO, False, "other bytes", marks=pytest.mark.slow),
        ("none", Level.NO, None, "no GPU to try with"),
        ("broken", Level.WARNING, None, "cuInit failed: 999"),
        ("crash", Level.WARNING, None, "killed by SIGSEGV"),
    ],
)
def test_cuda_awareness_is_what_becomes_of_an_array(
    mode: str,
    level: Level,
    aware: bool | None,
    finding: str,
    launcher: Path,
    driver: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Device memory that MPI can read, cannot, reads wrong; and drivers without a GPU, or none that answers."""
    paths = [str(driver), os.environ.get("LD_LIBRARY_PATH", "")]
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("FAKE_CUDA_MODE", mode)
    verdict = cuda_probe.cuda_aware_mpi(launcher, TIMEOUT_S)
    assert verdict.facts["aware"] is aware
    assert verdict.level is level
    assert finding in verdict.finding


def test_mpi_takes_or_refuses_arrays_on_a_gpu(launcher: Path) -> None:
    """With the driver that is here: one of the two is found out, whichever library this is."""
    if not (device_count() or 0):
        pytest.skip(f"needs a GPU: {LIBRARY} counts none")
    verdict = cuda_probe.cuda_aware_mpi(launcher, TIMEOUT_S)
    assert verdict.facts["devices"] == device_count()
    assert verdict.facts["aware"] in (True, False), verdict.finding
