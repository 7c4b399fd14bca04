"""Attaching and closing many times in one process leaves nothing behind."""

import json

import pytest
from fault_runs import HARD_TIMEOUT_S, HERE

pytest.importorskip("mpi4py")
pytestmark = [pytest.mark.mpi, pytest.mark.timeout(300)]

MORE_KB = 2000
"""Growth of memory that a thousand cycles may have; a communicator that stays in each takes twice as much."""


@pytest.mark.parametrize(
    ("kind", "cycles"),
    [
        ("fake", 100),
        pytest.param("fake", 1000, marks=pytest.mark.slow),
        ("real", 6),
        pytest.param("real", 14, marks=pytest.mark.slow),
    ],
)
def test_cycles_leave_nothing(mpirun, tmp_path, kind, cycles):
    """MPICH has 2048 communicators, of which each cycle takes three: one that stays shows."""
    completed = mpirun(2, "-m", "mpi4py", HERE / "fault_cycles.py", tmp_path, cycles, kind, timeout_s=HARD_TIMEOUT_S)
    assert completed.returncode == 0, completed.stderr
    for rank in (0, 1):
        figures = json.loads((tmp_path / f"figures-{rank}.json").read_text())
        before, after = figures["before"], figures["after"]
        assert after["descriptors"] <= before["descriptors"] + 1
        assert after["mappings"] <= before["mappings"]
        assert after["segments"] == 0
        assert after["kB"] <= before["kB"] + MORE_KB
