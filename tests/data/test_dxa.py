"""OVITO's lines in our conventions, of atoms built and of atoms found; their file; what a pattern makes of them."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from jsonargparse import ArgumentParser
from scipy.spatial.transform import Rotation

from cdi.command import Command
from cdi.crystal import Crystal
from cdi.defects.line import DislocationLine
from cdi.defects.straight_dislocation import dislocation_on
from cdi.lattices.lattice import Lattice
from cdi.shapes.ball import Ball
from data.cli import simulate
from data.formats.atom_files import read_atoms, write_atoms
from data.molecular_dynamics.cli import lines
from data.molecular_dynamics.dxa import ExtractedLine, PeriodicCell, burgers_fractions, extract_lines
from data.molecular_dynamics.lines_file import read_lines, write_lines
from data.molecular_dynamics.snapshot import read_cell

TURNED = Rotation.from_rotvec([0.4, -0.9, 0.3]).as_matrix()
DXA_TOLERANCE = 0.07
"""Line lengths moved by this much between runs that differed in the order of the atoms only."""


def dislocated(material: str, system: int, character_deg: float, diameter: float = 54.0) -> Crystal:
    lattice = Lattice.of_material(material)
    chosen = lattice.slip_systems()[system]
    line = dislocation_on(
        lattice, chosen, character_deg=character_deg, point=TURNED @ [0.5, 0.3, 0.4], orientation=TURNED
    )  # fmt: skip
    return Crystal(lattice, Ball.of_diameter(diameter), TURNED, (line,))


class TestWithOvito:
    @pytest.fixture(autouse=True)
    def needs_ovito(self) -> None:
        pytest.importorskip("ovito")

    @pytest.mark.parametrize(
        ("material", "system", "character_deg"),
        [("Cu", 3, 90.0), ("Cu", 14, 0.0), ("Al", 21, 60.0), ("Fe", 2, 90.0), ("W", 9, 0.0)],
    )
    def test_a_built_line_is_found_with_its_sense_burgers_vector_place_and_character(
        self, material: str, system: int, character_deg: float
    ) -> None:
        """For the sense ξ of the built line, DXA's b is ours: RH/FS in both, in Å and in lattice units."""
        crystal = dislocated(material, system, character_deg)
        (built,) = crystal.lines()
        found = extract_lines(crystal.atoms().positions, crystal.lattice.structure)
        longest = max(found, key=lambda entry: entry.line.length)
        along = (built.points[1] - built.points[0]) / built.length
        sense = np.sign((longest.line.points[-1] - longest.line.points[0]) @ along)
        assert sense * longest.line.burgers == pytest.approx(built.burgers, abs=0.1)
        fractions = sense * burgers_fractions(longest, crystal.lattice, TURNED)
        assert fractions == pytest.approx(crystal.burgers_fractions(built), abs=1e-3)
        off = longest.line.points - built.points[0]
        assert np.linalg.norm(np.cross(off, along), axis=1).mean() < 4
        assert 0.75 * built.length < longest.line.length < 1.15 * built.length
        assert longest.line.character_deg == pytest.approx(character_deg, abs=15)

    @pytest.mark.parametrize("material", ["Mg", "Si"])
    def test_perfect_crystals_of_other_structures_have_no_line(self, material: str) -> None:
        crystal = Crystal(Lattice.of_material(material), Ball.of_diameter(45.0), TURNED)
        assert extract_lines(crystal.atoms().positions, crystal.lattice.structure) == ()

    @pytest.mark.parametrize("name", ["opendxa_au_nanoparticle_t1000.xyz", "opendxa_au_nanoparticle_t50000.xyz"])
    def test_a_compressed_particle_has_the_lines_that_came_with_it(self, shared: Path, name: str) -> None:
        path = shared / "atoms" / name
        assert read_cell(path) is None
        assert_same_lines(extract_lines(read_atoms(path).positions, "fcc"), path)

    def test_a_periodic_snapshot_has_the_partials_that_came_with_it(self, shared: Path) -> None:
        path = shared / "atoms" / "atomman_fcc_Al_disl.dump"
        cell = read_cell(path)
        assert cell is not None
        assert cell.periodic == (True, False, False)
        # DXA wants more room along the line than the snapshot's one period.
        positions = np.concatenate([read_atoms(path, ["Al", "Al"]).positions + k * cell.vectors[0] for k in range(3)])
        longer = PeriodicCell(cell.vectors * [[3], [1], [1]], cell.origin, cell.periodic)
        assert_same_lines(extract_lines(positions, "fcc", longer), path)

    def test_a_screw_dipole_in_iron_has_the_lines_that_came_with_it(self, shared: Path) -> None:
        from ovito.io import import_file

        path = shared / "atoms" / "ovito_1.chkpt.imd"
        data = import_file(str(path)).compute()
        cell = PeriodicCell(np.array(data.cell)[:, :3].T, np.array(data.cell)[:, 3], (True, True, True))
        assert_same_lines(extract_lines(np.array(data.particles.positions), "bcc", cell), path)

    def test_the_command_finds_lines_in_a_file_and_a_pattern_carries_them(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """``cdi lines`` on atoms off the origin, then ``cdi simulate --lines``: g·b is that of the built line."""
        crystal = dislocated("Cu", 14, 0.0, diameter=40.0)
        atoms = crystal.atoms()
        shifted = atoms.positions + np.array([40.0, -3.0, 9.0])
        write_atoms(tmp_path / "cu.xyz", type(atoms)(shifted, atoms.species, atoms.elements))
        run(lines, tmp_path / "cu.xyz", "--output", tmp_path / "cu.json")
        assert "dislocation lines: 1 (" in capsys.readouterr().out
        assert (tmp_path / "cu.png").read_bytes().startswith(b"\x89PNG")
        x_axis, _, z_axis = TURNED
        run(simulate, "--atoms", tmp_path / "cu.xyz", "--lines", tmp_path / "cu.json", "--reflection", 2, 0, 0,
            "--shape", 8, "--oversampling", 3, "--x-axis", *x_axis, "--z-axis", *z_axis,
            "--output", tmp_path / "cu.h5", "--no-picture")  # fmt: skip
        with h5py.File(tmp_path / "cu.h5") as file:
            g_dot_b, points = file["truth/g_dot_b"][()], file["truth/points_A"][()]
        (line,) = crystal.lines()
        assert abs(g_dot_b) == pytest.approx([abs(2 * crystal.burgers_fractions(line)[0])])
        assert np.linalg.norm(points, axis=1).max() < 22


def run(command: Command, *arguments: object) -> None:
    parser = ArgumentParser(exit_on_error=False)
    command.add_arguments(parser)
    command.run(parser.parse_args([str(argument) for argument in arguments]))


def assert_same_lines(found: tuple[ExtractedLine, ...], path: Path) -> None:
    """As many lines as in the file beside ``path``, of that total length, with those Burgers vectors and our sign."""
    wanted = json.loads(path.with_name(path.name + ".dxa.json").read_text())
    assert len(found) == len(wanted["lines"])
    total = sum(entry.line.length for entry in found)
    assert total == pytest.approx(wanted["total_line_length_A"], rel=DXA_TOLERANCE)
    theirs = sorted(np.linalg.norm(line["spatial_burgers_A"]) for line in wanted["lines"])
    assert sorted(np.linalg.norm(entry.line.burgers) for entry in found) == pytest.approx(theirs, abs=0.05)


def straight(burgers: tuple[float, float, float], own: tuple[float, float, float]) -> ExtractedLine:
    points = [[0.0, 0.0, -20.0], [0.0, 3.0, 20.0]]
    return ExtractedLine(DislocationLine(np.array(points), np.array(burgers)), own)


def test_a_strained_burgers_vector_is_told_in_the_crystals_own_axes() -> None:
    """DXA's setting of the crystal axes is any; the one that fits the laboratory is taken, exact again."""
    copper = Lattice.of_material("Cu")
    strained = 1.05 * TURNED @ copper.direction((-1 / 6, 1 / 3, 1 / 6))
    found = straight(tuple(strained), (1 / 3, 1 / 6, -1 / 6))
    assert burgers_fractions(found, copper, TURNED) == pytest.approx([-1 / 6, 1 / 3, 1 / 6])


def test_where_no_setting_fits_the_burgers_vector_is_what_the_line_shows() -> None:
    """In a twin, whose axes are others; and in a hexagonal lattice, where fractions are no setting of each other."""
    copper, magnesium = Lattice.of_material("Cu"), Lattice.of_material("Mg")
    found = straight(tuple(copper.direction((0.1, 0.2, 0.35))), (0.5, 0.5, 0.0))
    assert burgers_fractions(found, copper, np.eye(3)) == pytest.approx([0.1, 0.2, 0.35])
    basal = straight(tuple(TURNED @ magnesium.direction((1, 1, 0))), (0.5, 0.866, 0.0))
    assert burgers_fractions(basal, magnesium, TURNED) == pytest.approx([1, 1, 0])


def test_a_structure_that_dxa_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="structure must be one of fcc, bcc, hcp, diamond for DXA, got 'rock-salt'"):
        extract_lines(np.zeros((3, 3)), "rock-salt")


def test_lines_survive_their_file(tmp_path: Path) -> None:
    written = (straight((1.0, -2.0, 0.5), (0.5, 0.0, -0.5)), straight((0.1, 0.2, 1.3), (0.1667, 0.1667, 0.3333)))
    write_lines(tmp_path / "a.json", written, "fcc", {"atoms": "a.xyz"})
    for line, other in zip(read_lines(tmp_path / "a.json"), written, strict=True):
        np.testing.assert_allclose(line.line.points, other.line.points)
        np.testing.assert_allclose(line.line.burgers, other.line.burgers)
        assert line.burgers_lattice == other.burgers_lattice
    write_lines(tmp_path / "none.json", (), "bcc")
    assert read_lines(tmp_path / "none.json") == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("not JSON", "Expecting value"),
        ("[1, 2]", "no format 'cdi-lines'"),
        ('{"format": "cdi-lines", "format_version": 99, "lines": []}', "format_version 99, this program reads 1"),
        ('{"format": "cdi-lines", "format_version": 1, "lines": null}', "nobody looked for lines: --no-dxa"),
        ('{"format": "cdi-lines", "format_version": 1, "lines": [{"points_A": []}]}', "burgers_lattice"),
        (
            '{"format": "cdi-lines", "format_version": 1, "lines": '
            '[{"points_A": [[0, 0, 0]], "burgers_A": [1, 0, 0], "burgers_lattice": [1, 0, 0]}]}',
            "points must be finite",
        ),
    ],
)
def test_a_file_that_holds_no_lines_is_one_line(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(ValueError, match=r"bad\.json must be a file of lines by cdi relax or cdi lines") as caught:
        read_lines(tmp_path / "bad.json")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lines_of_a_built_crystal_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--lines must come with --atoms"):
        run(simulate, "--element", "Cu", "--lines", "x.json", "--reflection", 1, 1, 1, "--shape", 8,
            "--oversampling", 3, "--output", tmp_path / "a.h5")  # fmt: skip
