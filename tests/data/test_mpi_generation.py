"""A data set made by MPI ranks is the one that a single process makes, and survives kills as well."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from checks_of_data import REPOSITORY

from cdi.config import write_config
from data.generation import generate
from data.recipe import Recipe

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(300)]
SMALL = Recipe(
    "small", samples=11, seed=5, samples_per_file=2, first_index=100, shape=(16, 20, 18), elements=("Cu",),
    reflection_count=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def of_one_process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole")
    generate(SMALL, directory, processes=1, progress=False)
    return directory


def mpirun(ranks: int, *arguments: object) -> subprocess.Popen[str]:
    """``cdi`` on the launcher of this environment, in a process group of its own."""
    pytest.importorskip("mpi4py")
    launcher = Path(sys.executable).parent / "mpiexec"
    if not launcher.is_file():
        pytest.skip(f"no mpiexec beside {sys.executable}")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PMI_", "OMPI_", "MPI_"))}
    return subprocess.Popen(
        [str(launcher), "-n", str(ranks), sys.executable, "-m", "cdi", *map(str, arguments)],
        cwd=REPOSITORY, env=kept | {"OMP_NUM_THREADS": "1"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def finished(run: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; nothing survives the test."""
    try:
        output, errors = run.communicate(timeout=240)
    finally:
        kill_group(run.pid)
    return run.returncode, output, errors


def kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def shards(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("shard-*.h5")}


@pytest.mark.slow
def test_ranks_killed_midway_and_started_again_make_the_set_of_one_process(
    tmp_path: Path, of_one_process: Path
) -> None:
    """Byte by byte; what was whole is kept, and only rank 0 speaks."""
    write_config(SMALL, tmp_path / "small.yaml")
    output = tmp_path / "set"
    first = mpirun(2, "generate", tmp_path / "small.yaml", "--output", output, "--no-progress")
    deadline = time.monotonic() + 200
    while not shards(output) and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.01)
    kill_group(first.pid)
    first.communicate(timeout=60)
    kept = {path: path.stat().st_mtime_ns for path in output.glob("shard-*.h5")}
    assert kept
    assert not (output / "dataset.h5").exists()
    wait_until_unlocked(output)

    code, printed, errors = finished(
        mpirun(3, "generate", tmp_path / "small.yaml", "--output", output, "--no-progress")
    )

    assert (code, errors) == (0, "")
    assert printed == f"{output}/dataset.h5: 11 samples, 2 exposures each, of 16 × 20 × 18 voxels\n"
    assert shards(output) == shards(of_one_process)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not list(output.glob(".*.tmp"))
    with h5py.File(output / "dataset.h5") as file, h5py.File(of_one_process / "dataset.h5") as whole:
        assert set(file) == set(whole)
        for name in whole:
            np.testing.assert_array_equal(file[name][()], whole[name][()])


def wait_until_unlocked(directory: Path) -> None:
    """The ranks of a killed launcher follow it within moments; the kernel frees their lock then."""
    import fcntl

    deadline = time.monotonic() + 30
    with (directory / ".generating").open("r+") as lock:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
            else:
                return
    pytest.fail("the killed job still holds the directory")


@pytest.mark.parametrize(
    ("recipe", "options", "words"),
    [
        ("name: x\nsamples: 3\nsample_per_file: 2\n", [], "unknown key 'sample_per_file'"),
        ("name: x\nsamples: 3\n", ["--processes", "2"], "--processes must be left out under an MPI launcher"),
    ],
)
def test_bad_input_is_one_line_of_all_ranks_and_exit_code_2(
    tmp_path: Path, recipe: str, options: list[str], words: str
) -> None:
    (tmp_path / "bad.yaml").write_text(recipe)
    code, _, errors = finished(
        mpirun(2, "generate", tmp_path / "bad.yaml", "--output", tmp_path / "set", "--no-progress", *options)
    )
    (line,) = errors.strip().splitlines()
    assert line.startswith("cdi: ")
    assert words in line
    assert code == 2
    assert not (tmp_path / "set").exists()


def test_another_recipe_is_refused_by_all_ranks_together(tmp_path: Path, of_one_process: Path) -> None:
    write_config(replace(SMALL, seed=6), tmp_path / "other.yaml")
    before = shards(of_one_process)
    code, _, errors = finished(
        mpirun(2, "generate", tmp_path / "other.yaml", "--output", of_one_process, "--no-progress")
    )
    (line,) = errors.strip().splitlines()
    assert "holds another (differs in: seed)" in line
    assert code == 2
    assert shards(of_one_process) == before


def test_a_failure_of_one_rank_ends_all_with_its_line(tmp_path: Path) -> None:
    """A shard's name is taken by a directory: whoever draws that shard fails, and the others stop."""
    write_config(replace(SMALL, samples=400), tmp_path / "small.yaml")
    output = tmp_path / "set"
    (output / "shard-00001.h5" / "in the way").mkdir(parents=True)
    code, _, errors = finished(mpirun(2, "generate", tmp_path / "small.yaml", "--output", output, "--no-progress"))
    (line,) = errors.strip().splitlines()
    assert line.startswith("cdi: ")
    assert "shard-00001.h5" in line
    assert code == 2
    assert len(list(output.glob("shard-*.h5"))) < 60
    assert not list(output.glob(".*.tmp"))
    assert not (output / "dataset.h5").exists()
