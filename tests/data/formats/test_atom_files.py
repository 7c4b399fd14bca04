"""Atomistic files of the formats that simulations write."""

from pathlib import Path

import numpy as np
import pytest

from cdi.atoms import Atoms
from data.formats.atom_files import read_atoms, write_atoms

POSITIONS = np.array([[0.5, 1.25, -3.0], [2.0, 0.0, 0.125], [4.0, -1.5, 7.75]])

DUMP = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
3
ITEM: BOX BOUNDS ss ss ss
-10 10
-10 10
-10 10
ITEM: ATOMS id type x y z
3 1 4.0 -1.5 7.75
1 1 0.5 1.25 -3.0
2 2 2.0 0.0 0.125
"""
NAMED_DUMP = DUMP.replace("id type", "id element").replace(" 1 ", " Ni ").replace("2 2 2.0", "2 Al 2.0")
DATA = """made by hand

3 atoms
2 atom types
-10 10 xlo xhi
-10 10 ylo yhi
-10 10 zlo zhi

Masses

1 58.6934
2 26.982

Atoms # atomic

3 1 4.0 -1.5 7.75
1 1 0.5 1.25 -3.0
2 2 2.0 0.0 0.125
"""
XYZ = "3\nProperties=species:S:1:pos:R:3\nNi 0.5 1.25 -3.0\nAl 2 0 0.125\nNi 4 -1.5 7.75\n"


def _written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "atoms.file"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("content", "element"),
    [
        (XYZ, None),
        (XYZ.replace("Properties=species:S:1:pos:R:3", "a plain comment"), None),
        (DUMP, ["Ni", "Al"]),
        (NAMED_DUMP, None),
        (DATA, None),
        (DATA, ["Ni", "Al"]),
        (DUMP.replace("0\nITEM: NUMBER", "5\nITEM: NUMBER").replace("7.75", "1.0") + DUMP, ["Ni", "Al"]),
    ],
    ids=["extxyz", "xyz", "dump", "dump with elements", "data by mass", "data by type", "last frame"],
)
def test_every_format_gives_the_same_atoms(tmp_path: Path, content: str, element: list[str] | None) -> None:
    atoms = read_atoms(_written(tmp_path, content), element)
    np.testing.assert_allclose(atoms.positions, POSITIONS)
    assert [atoms.elements[s] for s in atoms.species] == ["Ni", "Al", "Ni"]


def test_scaled_coordinates_are_scaled_by_the_box(tmp_path: Path) -> None:
    """Up to the box's origin, a translation that no intensity sees."""
    scaled = DUMP[: DUMP.index("3 1 4.0")].replace("x y z", "xs ys zs")
    rows = [f"{i + 1} 1 {x} {y} {z}" for i, (x, y, z) in enumerate((POSITIONS + 10) / 20)]
    atoms = read_atoms(_written(tmp_path, scaled + "\n".join(rows) + "\n"), "Cu")
    np.testing.assert_allclose(atoms.positions - atoms.centre, POSITIONS - POSITIONS.mean(0))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    atoms = Atoms(POSITIONS * np.pi, np.array([1, 0, 1]), ("Al", "Ni"))
    write_atoms(tmp_path / "a.xyz", atoms)
    again = read_atoms(tmp_path / "a.xyz")
    np.testing.assert_allclose(again.positions, atoms.positions, atol=1e-8)
    assert [again.elements[s] for s in again.species] == ["Ni", "Al", "Ni"]


@pytest.mark.parametrize(
    ("content", "element", "message"),
    [
        (XYZ.replace("-3.0", "nan"), None, r"positions must be finite, got 1 atoms .*index 0"),
        (XYZ[: XYZ.index("Ni 4")], None, "must be a complete extxyz file, it is truncated or damaged"),
        (XYZ.replace("Ni", "Qx"), None, "must be a complete extxyz file"),
        ("0\n\n", None, "must hold at least one atom, got none"),
        (XYZ, "Cu", "--element must be left out for .*: the file names its elements"),
        (DUMP, None, "holds LAMMPS types without element names; name all 2, e.g. --element Cu Ni"),
        (DUMP, "Cu", "name all 2"),
        (DUMP, ["Cu", "Xy"], "element must be a chemical symbol, got 'Xy'"),
        (DUMP[: DUMP.index("2 2 2.0")], ["Ni", "Al"], "must be a complete lammps-dump-text file"),
        (DUMP.replace("7.75", "nan"), ["Ni", "Al"], "positions must be finite"),
        (DUMP.replace("ATOMS\n3", "ATOMS\n0"), "Cu", "must hold at least one atom, got none"),
        (NAMED_DUMP, "Cu", "--element must be left out"),
        (DATA.replace("58.6934", "1.5"), None, "holds LAMMPS types without element names"),
        (DATA[: DATA.index("2 2 2.0")], ["Ni", "Al"], "must be a complete lammps-data file"),
        (b"\x80\x04pickle", None, r"must be one of: extended or plain xyz, .*; got a file that starts with b'\\x80"),
        ("", None, "got an empty file"),
    ],
)
def test_damage_is_one_line(
    tmp_path: Path, content: str | bytes, element: str | list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_atoms(_written(tmp_path, content), element)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_atoms(tmp_path / "none.xyz")


def test_files_of_others_are_read(shared: Path) -> None:
    gold = read_atoms(shared / "atoms" / "opendxa_au_nanoparticle_t1000.xyz")
    assert (len(gold), gold.elements) == (23513, ("Au",))
    aluminium = read_atoms(shared / "atoms" / "atomman_fcc_Al_disl.dump", ["Al", "Al"])
    assert (len(aluminium), aluminium.elements) == (32640, ("Al",))
