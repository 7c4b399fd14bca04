"""Lattices from files: the standard orientation, two routes to one structure, and one line for what is wrong."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from ase.spacegroup import crystal
from scipy.spatial.transform import Rotation

from cdi.lattices.lattice import Lattice
from cdi.lattices.structure_file import FORMATS, read_lattice

QUARTZ = crystal(
    ["Si", "O"], [(0.4697, 0, 0), (0.4135, 0.2669, 0.1191)], spacegroup=152, cellpar=[4.916, 4.916, 5.405, 90, 90, 120]
)  # Levien, Prewitt & Weidner, Am. Mineral. 65, 920 (1980)
TRICLINIC = Atoms(
    "CuFO",
    scaled_positions=[[0.1, 0.2, 0.3], [0.5, 0.65, 0.8], [0.9, 0.4, 0.55]],
    cell=[5, 6, 7, 75, 98, 112],
    pbc=True,
)
NAMES = {"a.cif": "cif", "POSCAR": "vasp", "CONTCAR": "vasp", "a.vasp": "vasp", "a.poscar": "vasp",
         "a.extxyz": "extxyz", "a.xyz": "extxyz", "A.CIF": "cif", "a.xsf": "xsf"}  # fmt: skip


def write_file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_format_brings_back_the_same_crystal(tmp_path: Path, name: str) -> None:
    """Metric, elements and interatomic vectors of a turned triclinic cell survive; a lies along x, b in xy."""
    atoms = TRICLINIC.copy()
    turn = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
    atoms.set_cell(TRICLINIC.cell.array @ turn.T, scale_atoms=True)
    write(tmp_path / name, atoms, format=NAMES[name])
    lattice = read_lattice(tmp_path / name)
    assert lattice.structure == name
    np.testing.assert_allclose(lattice.cell[np.triu_indices(3, 1)], 0, atol=1e-12)
    assert (np.diag(lattice.cell) > 0).all()
    np.testing.assert_allclose(lattice.cell @ lattice.cell.T, TRICLINIC.cell.array @ TRICLINIC.cell.array.T, atol=1e-4)
    expected = dict(zip(TRICLINIC.get_chemical_symbols(), TRICLINIC.get_scaled_positions(), strict=True))
    for symbol, site in zip(lattice.elements, lattice.sites, strict=True):
        np.testing.assert_allclose(site, expected[symbol], atol=1e-5)


def test_a_file_of_a_known_structure_is_that_structure(tmp_path: Path) -> None:
    """Mg from a CIF: cell, reflections and point group of the table's hcp."""
    write(tmp_path / "Mg.cif", bulk("Mg", "hcp", a=3.21, c=5.21))
    read, known = read_lattice(tmp_path / "Mg.cif"), Lattice.of_material("Mg")
    np.testing.assert_allclose(read.cell, known.cell, atol=1e-6)
    assert len(read.point_group) == 24
    for hkl in np.ndindex(4, 4, 4):
        assert read.allows(hkl) == known.allows(hkl)


def test_a_primitive_cell_keeps_the_full_symmetry(tmp_path: Path) -> None:
    """48 operations whether the file holds one fcc atom or four."""
    for cubic in (True, False):
        write(tmp_path / "Cu.vasp", bulk("Cu", cubic=cubic))
        assert len(read_lattice(tmp_path / "Cu.vasp").point_group) == 48


def test_quartz_has_its_screw_axis_and_class(tmp_path: Path) -> None:
    """P3₁21: 00l only for l = 3n, point group 32 with 6 elements, of one hand."""
    write(tmp_path / "quartz.cif", QUARTZ)
    lattice = read_lattice(tmp_path / "quartz.cif")
    assert [m for m in range(1, 8) if lattice.allows((0, 0, m))] == [3, 6]
    assert len(lattice.point_group) == 6
    assert (np.linalg.det(lattice.point_group) > 0).all()


def test_point_groups_agree_with_spglib(tmp_path: Path) -> None:
    """Its rotations are counted on the same cell: quartz, rutile, a triclinic cell."""
    spglib = pytest.importorskip("spglib")
    rutile = crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90]
    )
    for atoms in (QUARTZ, rutile, TRICLINIC):
        write(tmp_path / "x.extxyz", atoms)
        lattice = read_lattice(tmp_path / "x.extxyz")
        kinds = [lattice.elements.index(symbol) for symbol in lattice.elements]
        found = spglib.get_symmetry((lattice.cell, lattice.sites, kinds), symprec=1e-4)["rotations"]
        assert len(lattice.point_group) == len({w.tobytes() for w in found})


def test_stiffness_is_isotropic_unless_given(tmp_path: Path) -> None:
    write(tmp_path / "a.cif", QUARTZ)
    assert read_lattice(tmp_path / "a.cif", poisson_ratio=0.08).poisson_ratio == pytest.approx(0.08)
    given = Lattice.of_material("Cu").stiffness
    np.testing.assert_array_equal(read_lattice(tmp_path / "a.cif", stiffness=given).stiffness, given)


def test_the_last_structure_of_a_file_counts(tmp_path: Path) -> None:
    write(tmp_path / "a.extxyz", [bulk("Cu"), bulk("Ni")])
    assert read_lattice(tmp_path / "a.extxyz").formula == "Ni"


CIF = """data_x
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 4.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""
BAD = {
    "no cell": ("a.xyz", "1\nno cell here\nCu 0 0 0\n", "a.xyz must hold a cell, periodic along three edges"),
    "a cluster": ("a.extxyz", '1\nLattice="9 0 0 0 9 0 0 0 9" pbc="F F F"\nCu 0 0 0\n', "must hold a cell, periodic"),
    "no atoms": ("a.extxyz", '0\nLattice="4 0 0 0 4 0 0 0 4"\n', "a.extxyz must "),
    "NaN": ("a.extxyz", '1\nLattice="4 0 0 0 4 0 0 0 4"\nCu 0 nan 0\n', "a.extxyz must hold finite coordinates"),
    "NaN cell": ("a.extxyz", '1\nLattice="4 0 0 0 nan 0 0 0 4"\nCu 0 0 0\n', "a.extxyz must hold finite coordinates"),
    "damaged": ("a.cif", CIF[:-40] + "Cu1 Cu 0 0\n", "a.cif must be a readable cif file"),
    "not a POSCAR": ("POSCAR", "\x00\x01garbage\n1.0\n", "POSCAR must be a readable vasp file"),
    "empty": ("a.cif", "", "a.cif must be a readable cif file"),
    "part of an atom": ("a.cif", CIF + "Cu1 Cu 0 0 0 0.5\n", "a.cif must hold fully occupied sites"),
    "a shared site": ("a.cif", CIF + "Cu1 Cu 0 0 0 0.5\nAu1 Au 0 0 0 0.5\n", "a.cif must hold fully occupied sites"),
    "two atoms in one place": (
        "a.extxyz", '2\nLattice="4 0 0 0 4 0 0 0 4"\nCu 0 0 0\nAu 0 0 3.9\n', r"sites at least 0.5 Å apart, got 0.100",
    ),
    "left-handed": ("a.extxyz", '1\nLattice="4 0 0 0 4 0 0 0 -4"\nCu 0 0 0\n', "must hold a right-handed cell"),
    "an unknown format": ("a.traj", "", "structure file must be POSCAR, CONTCAR or end in one of .cif"),
    "no lattice's size": ("a.extxyz", '1\nLattice="400 0 0 0 4 0 0 0 4"\nCu 0 0 0\n', "lattice constant must lie in"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_crystal_gets_one_line(tmp_path: Path, case: str) -> None:
    name, text, message = BAD[case]
    with pytest.raises(ValueError, match=message) as caught:
        read_lattice(write_file(tmp_path, name, text))
    assert "\n" not in str(caught.value)


def test_a_fully_occupied_cif_is_read(tmp_path: Path) -> None:
    """The column of occupancies is no obstacle in itself."""
    assert read_lattice(write_file(tmp_path, "a.cif", CIF + "Cu1 Cu 0 0 0 1.0\n")).elements == ("Cu",)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """A pickle under any accepted name is refused as damaged, and its code does not run."""
    for name in ("a.cif", "POSCAR", "a.extxyz", "a.xsf"):
        flag = tmp_path / "ran"
        (tmp_path / name).write_bytes(pickle.dumps(_Harmful(flag)))
        with pytest.raises(ValueError, match="must be a readable"):
            read_lattice(tmp_path / name)
        assert not flag.exists()
    assert not {"traj", "db", "json", "py", "bundletrajectory"} & set(FORMATS.values())


class _Harmful:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.flag,)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_lattice(tmp_path / "none.cif")


def test_a_poisson_ratio_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="poisson_ratio must lie in"):
        read_lattice(tmp_path / "a.cif", poisson_ratio=0.7)
