"""A data set survives kills, and is the same however it was made."""

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
import torch
from checks_of_data import REPOSITORY, assert_one_line, assert_same_sample, die, run_cdi, start_without_torch

from cdi.config import read_config, write_config
from cdi.errors import RunError
from data import generation
from data.dataset import StoredCrystals, StoredSamples
from data.generation import Shard, generate, is_whole, shards_of
from data.molecular_dynamics.relaxed_recipe import RelaxedRecipe
from data.recipe import Recipe
from data.sampling import draw_sample, draw_samples
from data.store_writer import write_samples

# As the processes that generate: products of matrices differ in their last bits with the number of threads, and a
# count in thousands with them (docs/format.md).
torch.set_num_threads(1)

TINY = Recipe("tiny", samples=22, seed=5, samples_per_file=4, first_index=100, shape=(16, 20, 18), elements=("Cu",))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole")
    generate(TINY, directory, processes=1, progress=False)
    return directory


def _contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("shard-*.h5")}


def test_the_data_set_holds_the_samples_of_its_recipe(uninterrupted: Path) -> None:
    stored = StoredSamples(uninterrupted)
    assert stored.indices.tolist() == list(range(100, 122))
    for position in (0, 3, 4, 21):
        assert_same_sample(stored[position], draw_sample(TINY, 100 + position))
    assert read_config(Recipe, uninterrupted / "recipe.yaml") == TINY
    assert [shard.count for shard in shards_of(TINY, uninterrupted)] == [4, 4, 4, 4, 4, 2]


def test_two_processes_killed_midway_and_finished_by_one_lose_and_double_nothing(
    tmp_path: Path, uninterrupted: Path
) -> None:
    write_config(TINY, tmp_path / "tiny.yaml")
    output = tmp_path / "set"
    command = ["generate", str(tmp_path / "tiny.yaml"), "--output", str(output), "--processes", "2"]
    running = subprocess.Popen(
        [sys.executable, "-m", "cdi", *command], cwd=REPOSITORY, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(output.glob("shard-*.h5")) and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = _children(running.pid)
    running.kill()
    running.wait(timeout=30)
    finished = _contents(output)
    assert len(finished) >= 1
    assert not (output / "dataset.h5").exists()
    assert workers
    _wait_until_gone(workers)
    (output / ".shard-00005.h5.1.tmp").write_text("left by a kill")
    (output / sorted(finished)[-1]).write_bytes(b"\x89HDF truncated")
    before = {name: (output / name).stat().st_mtime_ns for name in sorted(finished)[:-1]}

    result = run_cdi(*command[:-1], "1")

    assert result.returncode == 0, result.stderr
    assert _contents(output) == _contents(uninterrupted)
    assert {name: (output / name).stat().st_mtime_ns for name in before} == before
    assert not list(output.glob(".*.tmp"))
    with h5py.File(output / "dataset.h5") as file, h5py.File(uninterrupted / "dataset.h5") as whole:
        for name in whole:
            np.testing.assert_array_equal(file[name][()], whole[name][()])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _wait_until_gone(processes: list[int]) -> None:
    """Workers follow their parent within seconds; a test must not leave any behind."""
    deadline = time.monotonic() + 30
    alive = processes
    while alive and time.monotonic() < deadline:
        alive = [pid for pid in alive if _runs(pid)]
        time.sleep(0.05)
    assert not alive


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_another_recipe_is_refused_and_harms_nothing(uninterrupted: Path) -> None:
    before = _contents(uninterrupted)
    with pytest.raises(ValueError, match=r"holds another \(differs in: samples, seed\); choose another --output"):
        generate(replace(TINY, seed=6, samples=3), uninterrupted, progress=False)
    (uninterrupted / "recipe.yaml").rename(uninterrupted / "hidden.yaml")
    with pytest.raises(ValueError, match="must not hold shards of another recipe or program version"):
        generate(replace(TINY, seed=6), uninterrupted, progress=False)
    (uninterrupted / "hidden.yaml").rename(uninterrupted / "recipe.yaml")
    assert _contents(uninterrupted) == before


def test_a_shard_of_other_samples_does_not_count_as_whole(uninterrupted: Path) -> None:
    first = shards_of(TINY, uninterrupted)[0]
    assert is_whole(first, TINY)
    assert not is_whole(Shard(first.path, first=4, count=4), TINY)
    assert not is_whole(first, replace(TINY, seed=6))
    assert not is_whole(Shard(uninterrupted / "none.h5", 0, 4), TINY)


@pytest.mark.slow
def test_a_set_of_several_reflections_is_made_resumed_and_read_by_crystal(tmp_path: Path, uninterrupted: Path) -> None:
    """Shards hold whole crystals; one that lacks exposures is made again; first exposures are those of one alone."""
    write_config(TINY, tmp_path / "tiny.yaml")
    command = ["generate", tmp_path / "tiny.yaml", "samples=5", "reflection_count=3", "--output", tmp_path / "set"]
    made = run_cdi(*command, "--processes", "1")
    assert made.returncode == 0, made.stderr
    assert made.stdout == f"{tmp_path}/set/dataset.h5: 5 samples, 3 exposures each, of 16 × 20 × 18 voxels\n"
    stored, first = StoredCrystals(tmp_path / "set"), StoredSamples(uninterrupted)
    recipe = replace(TINY, samples=5, reflection_count=3)
    assert read_config(Recipe, tmp_path / "set" / "recipe.yaml") == recipe
    assert stored.samples.indices.tolist() == [index for index in range(100, 105) for _ in range(3)]
    assert stored.indices.tolist() == list(range(100, 105))
    for position, samples in enumerate(stored):
        assert_same_sample(samples[0], first[position])
        for got, wanted in zip(samples, draw_samples(recipe, 100 + position), strict=True):
            assert_same_sample(got, wanted)

    kept, shard = shards_of(recipe, tmp_path / "set")
    whole, made_at = shard.path.read_bytes(), kept.path.stat().st_mtime_ns
    write_samples(shard.path, draw_samples(recipe, 104)[:2], 2, recipe)
    assert is_whole(kept, recipe)
    assert not is_whole(shard, recipe)
    assert generate(recipe, tmp_path / "set", progress=False) == tmp_path / "set" / "dataset.h5"
    assert (shard.path.read_bytes(), kept.path.stat().st_mtime_ns) == (whole, made_at)
    with pytest.raises(ValueError, match=r"holds another \(differs in: reflection_count\)"):
        generate(replace(recipe, reflection_count=1), tmp_path / "set", progress=False)


def test_two_writers_do_not_share_a_directory(tmp_path: Path) -> None:
    with generation._sole_writer(tmp_path), pytest.raises(OSError, match="another process is generating into"):
        generate(TINY, tmp_path, progress=False)


def test_a_dead_worker_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "_start_worker", start_without_torch)
    monkeypatch.setattr(generation, "write_shard", die)
    with pytest.raises(RunError, match=r"a worker process died.*take fewer --processes and start the same command"):
        generate(TINY, tmp_path, progress=False)


def test_ctrl_c_ends_with_one_line_and_what_is_there_is_kept(tmp_path: Path) -> None:
    write_config(replace(TINY, samples=4000), tmp_path / "tiny.yaml")
    output = tmp_path / "set"
    running = subprocess.Popen(
        [sys.executable, "-m", "cdi", "generate", str(tmp_path / "tiny.yaml"), "--output", str(output),
         "--processes", "1", "--no-progress"],
        cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(output.glob("shard-*.h5")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert errors.strip() == "cdi: interrupted; whole files are kept in --output, and the same command goes on"
    assert list(output.glob("shard-*.h5"))
    assert not list(output.glob(".*.tmp"))


def test_bad_recipes_and_numbers_of_processes_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: x\nsamples: 3\nsample_per_file: 2\n")
    result = run_cdi("generate", tmp_path / "bad.yaml", "--output", tmp_path / "set")
    assert_one_line(result, "unknown key 'sample_per_file'", "did you mean 'samples_per_file'")
    assert not (tmp_path / "set").exists()
    with pytest.raises(ValueError, match="processes must be at least 1, got 0"):
        generate(TINY, tmp_path / "set", processes=0)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "examples" / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_recipes_are_read_strictly(path: Path) -> None:
    assert read_config(RelaxedRecipe if path.stem == "relaxed" else Recipe, path).samples > 0
