"""Lines of OVITO's Crystal Analysis files: as OVITO itself exports them, and what is damaged."""

from pathlib import Path

import numpy as np
import pytest

from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.lattices.lattice import Lattice
from cdi.shapes.ball import Ball
from data.formats.ca_file import read_ca
from data.molecular_dynamics.dxa import extract_lines

CA = """CA_FILE_VERSION 6
CA_LIB_VERSION 0.0.0
CLUSTERS 1
CLUSTER 1
CLUSTER_ORIENTATION
0 -4 0
4 0 0
0 0 4
END_CLUSTER
DISLOCATIONS 2
0
-0.5 -0.5 0
1
2
0 0 0
0 0 10
1
0 0.1666666667 -0.5
1
3
1 2 3
4 5 6
7 8 10
DISLOCATION_JUNCTIONS
1 0
"""


def test_burgers_vectors_go_through_the_cluster_s_matrix_and_into_our_sign(tmp_path: Path) -> None:
    (tmp_path / "a.ca").write_text(CA)
    first, second = read_ca(tmp_path / "a.ca")
    np.testing.assert_allclose(first.line.burgers, [-2, 2, 0])
    assert first.burgers_lattice == (0.5, 0.5, 0.0)
    np.testing.assert_array_equal(second.line.points[2], [7, 8, 10])
    np.testing.assert_allclose(second.line.burgers, [4 / 6, 0, 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("VERSION 6", "VERSION 99", "it must start with CA_FILE_VERSION"),
        ("4 5 6\n", "4 nan 6\n", "3 finite numbers must stand in a line, got '4 nan 6'"),
        ("4 5 6\n", "4 5\n", "3 finite numbers must stand in a line"),
        ("DISLOCATIONS 2", "DISLOCATIONS 3", "damaged"),
        ("1\n3\n1 2 3", "1\n999999999\n1 2 3", "a line must have 2 to"),
        ("1\n3\n1 2 3", "1\n300\n1 2 3", "damaged .*DISLOCATION_JUNCTIONS"),
        ("1\n3\n1 2 3", "7\n3\n1 2 3", "damaged"),
        (CA[CA.index("DISLOCATIONS 2") :], "", "it ends before its dislocations"),
        (CA[CA.index("7 8 10") :], "", "a line announces 3 points, 2 are there"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "a.ca").write_text(CA.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as caught:
        read_ca(tmp_path / "a.ca")
    assert "\n" not in str(caught.value)


def test_what_ovito_exports_is_what_it_says_in_memory(tmp_path: Path) -> None:
    """Points, spatial and lattice Burgers vectors of a dislocated copper ball."""
    io = pytest.importorskip("ovito.io")
    data_of = pytest.importorskip("ovito.data")
    modifiers = pytest.importorskip("ovito.modifiers")
    lattice = Lattice.of_material("Cu")
    system, point = lattice.slip_systems()[3], np.array([0.5, 0.3, 0.4])
    line = dislocation_on(lattice, system, character_deg=90.0, point=point, orientation=np.eye(3))
    positions = Crystal(lattice, Ball.of_diameter(46.0), np.eye(3), (line,)).atoms().positions
    modifier = modifiers.DislocationAnalysisModifier()
    modifier.input_crystal_structure = modifier.Lattice.FCC
    data = data_of.DataCollection()
    low, high = positions.min(0) - 5, positions.max(0) + 5
    data.create_cell(np.column_stack([np.diag(high - low), low]), pbc=(False,) * 3)
    data.create_particles(count=len(positions)).create_property("Position", data=positions)
    data.apply(modifier)
    io.export_file(data, str(tmp_path / "a.ca"), "ca")
    wanted, found = extract_lines(positions, "fcc"), read_ca(tmp_path / "a.ca")
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.line.points, other.line.points, atol=1e-6)
        np.testing.assert_allclose(one.line.burgers, other.line.burgers, atol=1e-5)
        np.testing.assert_allclose(one.burgers_lattice, other.burgers_lattice, atol=1e-4)
