"""``cdi simulate``: the contract that scripts rely on."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from checks_of_data import assert_one_line, run_cdi
from jsonargparse import ArgumentParser

from cdi.atoms import Atoms
from cdi.lattices.lattice import Lattice
from cdi.scattering.form_factor import form_factor
from data.built_crystal import BuiltCrystal
from data.cli import simulate
from data.formats.atom_files import write_atoms
from data.simulation import lattice_of, orientation_from_axes


def _simulate(*arguments: object) -> None:
    parser = ArgumentParser(exit_on_error=False)
    simulate.add_arguments(parser)
    simulate.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def atoms_file(tmp_path: Path) -> Path:
    """A box of copper, longer than wide, its atoms shaken and off the origin."""
    sites = Lattice.of_material("Cu").sites_in_box((0, 0, 0), (12, 16, 21))[0]
    shaken = sites + np.random.default_rng(0).normal(scale=0.05, size=sites.shape) + [3.0, -40.0, 100.0]
    write_atoms(tmp_path / "cu.xyz", Atoms.of_element("Cu", shaken))
    return tmp_path / "cu.xyz"


def test_the_output_holds_the_direct_sum_of_the_files_atoms(tmp_path: Path, atoms_file: Path) -> None:
    """F(Q) = f(|Q|) Σ exp(+iQ·r), written out here term by term."""
    from data.formats.atom_files import read_atoms

    output = tmp_path / "out.h5"
    _simulate("--atoms", atoms_file, "--reflection", 1, -1, 1, "--shape", 8, 9, 10, "--oversampling", 2.5,
              "--output", output, "--no-picture")  # fmt: skip
    with h5py.File(output) as file:
        q = np.stack([file[name][()] for name in ("q_x", "q_y", "q_z")], -1)
        amplitude, intensity = file["amplitude"][()], file["intensity"][()]
        units = {name: file[name].attrs["units"] for name in file}
        assert file.attrs["reflection"].tolist() == [1, -1, 1]
    assert units == {"amplitude": "electrons", "intensity": "electrons^2"} | dict.fromkeys(
        ("q_x", "q_y", "q_z"), "1/angstrom"
    )
    assert intensity.shape == amplitude.shape == (8, 9, 10) == q.shape[:3]
    np.testing.assert_allclose(q[4, 4, 5], 2 * np.pi / 3.61 * np.array([1, -1, 1]))
    positions = read_atoms(atoms_file).positions
    np.testing.assert_allclose(q[1, 0, 0] - q[0, 0, 0], [2 * np.pi / (2.5 * np.ptp(positions[:, 0])), 0, 0], atol=1e-12)
    direct = form_factor("Cu", np.linalg.norm(q, axis=-1), energy_keV=9.0) * np.exp(1j * q @ positions.T).sum(-1)
    assert np.linalg.norm(amplitude - direct) < 1e-6 * np.linalg.norm(direct)
    np.testing.assert_allclose(intensity, np.abs(amplitude) ** 2)


def test_a_turned_crystal_has_its_reflection_along_the_named_axis(tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    _simulate("--element", "Au", "--reflection", 1, 1, 1, "--shape", 16, "--oversampling", 2.5, "--diameter-A", 40,
              "--defect", "screw", "--x-axis", 1, -1, 0, "--z-axis", 1, 1, 1, "--peak-counts", 1e4,
              "--output", output)  # fmt: skip
    with h5py.File(output) as file:
        q = np.array([file[name][8, 8, 8] for name in ("q_x", "q_y", "q_z")])
        np.testing.assert_allclose(q, [0, 0, 2 * np.pi * np.sqrt(3) / 4.08], atol=1e-12)
        assert 9000 < file["counts"][()].max() < 11000
        assert file["counts"].attrs["units"] == "photons"
        truth = file["truth"]
        assert truth["point_count"][()].sum() == len(truth["points_A"])
        assert abs(truth["g_dot_b"][0]) == 1
        along = truth["points_A"][-1] - truth["points_A"][0]
        assert np.linalg.norm(np.cross(along, truth["burgers_A"][0])) < 1e-6 * np.linalg.norm(along)
        np.testing.assert_allclose(np.linalg.norm(truth["burgers_A"][0]), 4.08 / np.sqrt(2))
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_both_routes_agree_and_counts_repeat(tmp_path: Path, atoms_file: Path) -> None:
    common = ("--atoms", atoms_file, "--reflection", 2, 0, 0, "--shape", 8, "--oversampling", 2, 3, 4, "--no-picture",
              "--peak-counts", 1000, "--seed", 4)  # fmt: skip
    _simulate(*common, "--output", tmp_path / "a.h5")
    _simulate(*common, "--output", tmp_path / "b.h5", "--route", "direct")
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        assert np.linalg.norm(a["amplitude"][()] - b["amplitude"][()]) < 1e-6 * np.linalg.norm(b["amplitude"][()])
        np.testing.assert_array_equal(a["counts"][()], b["counts"][()])


def test_a_corrupt_file_is_exit_code_2_one_line_and_no_output(tmp_path: Path, atoms_file: Path) -> None:
    atoms_file.write_text(atoms_file.read_text()[:3000])
    output = tmp_path / "out.h5"
    result = run_cdi("simulate", "--atoms", atoms_file, "--reflection", 1, 1, 1, "--shape", 8, "--oversampling", 3,
                     "--output", output)  # fmt: skip
    assert_one_line(result, "cu.xyz must be a complete extxyz file")
    assert [path.name for path in tmp_path.iterdir()] == ["cu.xyz"]


GOOD = {"--element": ["Cu"], "--reflection": [1, 1, 1], "--shape": [8], "--oversampling": [3], "--diameter-A": [30]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--reflection": [1, 1, 0]}, r"reflection must be allowed in fcc .*, got \(1, 1, 0\)"),
        ({"--oversampling": [1.9]}, "oversampling must be at least 2"),
        ({"--oversampling": [3, 3]}, "shape and oversampling must be 1 or 3 numbers"),
        ({"--shape": [8, 8]}, "shape and oversampling must be 1 or 3 numbers"),
        ({"--shape": [0]}, "shape must be three positive integers"),
        ({"--shape": [100_000]}, "shape must have at most"),
        ({"--element": []}, "give --atoms FILE, or one --element to build a crystal of"),
        ({"--element": ["Xe"]}, "lattice constant and structure must be given for Xe"),
        ({"--crystal-shape": ["cone"]}, "crystal shape must be one of sphere, .*, polyhedron, got 'cone'"),
        ({"--defect": ["edge", "hole"]}, "defect must be one of none, screw, mixed, edge, .*, got 'hole'"),
        ({"--burgers": [0.5, 0.5, 0]}, "a Burgers vector needs a dislocation"),
        ({"--defect": ["edge"], "--burgers": [1, 0, 0]}, "burgers must be a perfect Burgers vector of fcc"),
        ({"--diameter-A": [-5]}, "diameter_A must be positive, got -5.0"),
        ({"--diameter-A": [1e6], "--route": ["nufft"]}, "the crystal must have at most"),
        ({"--route": ["fft"]}, "route must be one of auto, nufft, direct, object, got 'fft'"),
        ({"--energy-keV": [0]}, "energy_keV must lie within the tables"),
        ({"--peak-counts": [-1]}, "peak_counts must be positive"),
        ({"--x-axis": [1, 0, 0]}, "give both --x-axis and --z-axis"),
        ({"--x-axis": [1, 0, 0], "--z-axis": [1, 0, 1]}, "must be perpendicular, got 45 degrees"),
        ({"--lattice-constant": [0]}, "cell must be three independent right-handed edges in Å"),
    ],
)
def test_a_bad_argument_is_one_line_and_no_output(
    tmp_path: Path, change: dict[str, list[object]], message: str
) -> None:
    merged = {**GOOD, **change}
    arguments = [part for name, values in merged.items() if values for part in (name, *values)]
    with pytest.raises(ValueError, match=message) as caught:
        _simulate(*arguments, "--output", tmp_path / "out.h5")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_kept_unless_told_otherwise(tmp_path: Path, atoms_file: Path) -> None:
    output = tmp_path / "out.h5"
    output.write_text("mine")
    common = ("--atoms", atoms_file, "--reflection", 1, 1, 1, "--shape", 8, "--oversampling", 3, "--output", output)
    with pytest.raises(ValueError, match=r"output must not exist yet, .* give --overwrite"):
        _simulate(*common)
    with pytest.raises(ValueError, match="--defect must be left out with --atoms"):
        _simulate(*common, "--overwrite", "--defect", "edge")
    assert output.read_text() == "mine"
    _simulate(*common, "--overwrite", "--no-picture")
    assert h5py.is_hdf5(output)


def test_an_orientation_is_a_rotation_that_puts_directions_on_axes() -> None:
    rotation = orientation_from_axes((1, -1, 0), (1, 1, 1))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(rotation @ np.array([1, 1, 1]) / np.sqrt(3), [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation @ np.array([1, -1, 0]) / np.sqrt(2), [1, 0, 0], atol=1e-12)
    np.testing.assert_array_equal(orientation_from_axes(None, None), np.eye(3))


def test_what_the_user_says_of_the_lattice_wins_over_the_table() -> None:
    assert lattice_of(("Fe",), None, None).structure == "bcc"
    assert lattice_of(("Fe",), 3.6, "fcc").allows((1, 1, 1))
    assert lattice_of(("Xe",), 6.2, "fcc").constant == 6.2
    assert BuiltCrystal().defects == ()
