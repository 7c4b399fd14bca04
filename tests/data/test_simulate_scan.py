"""``cdi simulate --scan``: what a rocking curve sees of a crystal as it stands on the diffractometer."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.main import main
from data.scan_config import ScanConfig
from data.simulation import BuiltCrystal, orientation_from_axes, simulate_pattern, specimen_from_crystal

GOLD = Lattice.of_material("Au")
SCAN = "step_deg: 0.6\ndistance_m: 0.1\npixel_um: 600.0\nshape: [24, 20, 22]\n"
CRYSTAL = ("--element", "Au", "--diameter-A", "60", "--defect", "edge", "--reflection", "1", "1", "1",
           "--x-axis", "1", "-1", "0", "--z-axis", "0", "0", "1")  # fmt: skip


@pytest.fixture
def scan_file(tmp_path: Path) -> Path:
    path = tmp_path / "scan.yaml"
    path.write_text(SCAN)
    return path


def test_the_reflection_falls_on_the_middle_of_the_detector(tmp_path: Path, scan_file: Path) -> None:
    """The grid's centre is G turned by the sample circles, its axes are sheared; peak and truth are there."""
    output = tmp_path / "out.h5"
    assert main(["simulate", *CRYSTAL, "--scan", str(scan_file), "--output", str(output), "--peak-counts", "1e5"]) == 0
    with h5py.File(output) as file:
        turned = file.attrs["orientation"]
        np.testing.assert_allclose(file.attrs["q_centre"], turned @ GOLD.reflection_vector((1, 1, 1)), atol=1e-9)
        step = file.attrs["q_step"]
        unit = step / np.linalg.norm(step, axis=1, keepdims=True)
        assert np.abs(unit @ unit.T - np.eye(3)).max() > 0.05
        assert file.attrs["energy_keV"] == 9.0
        assert len(file["truth/g_dot_b"]) == 1
    perfect = [*CRYSTAL[:4], *CRYSTAL[6:]]
    assert main(["simulate", *perfect, "--scan", str(scan_file), "--output", str(tmp_path / "perfect.h5")]) == 0
    with h5py.File(tmp_path / "perfect.h5") as file:
        intensity = file["intensity"][()]
    brightest = np.unravel_index(intensity.argmax(), intensity.shape)
    assert np.abs(np.array(brightest) - [12, 10, 11]).max() <= 1


def test_the_scan_sees_the_amplitude_of_an_orthogonal_grid_where_they_share_q(scan_file: Path) -> None:
    """One crystal, two grids: the sheared grid's axis through the peak, point by point."""
    orientation = orientation_from_axes((1, -1, 0), (0, 0, 1))
    config = ScanConfig(step_deg=0.6, distance_m=0.1, pixel_um=600.0, shape=(24, 20, 22))
    scan = config.of_reflection(orientation @ GOLD.reflection_vector((1, 1, 1)))
    specimen = specimen_from_crystal(
        BuiltCrystal(diameter_A=60.0, defects=("edge",)), GOLD, scan.sample_rotation @ orientation, (1, 1, 1), "nufft"
    )
    grid = scan.grid()
    seen = simulate_pattern(specimen, (1, 1, 1), grid).amplitude[:, 10, 11]
    along = grid.step[0] / np.linalg.norm(grid.step[0])
    across = np.linalg.svd(along[None])[2][1:]
    straight = QGrid(grid.centre, np.stack([grid.step[0], 0.01 * across[0], 0.01 * across[1]]), (24, 3, 3))
    other = simulate_pattern(specimen, (1, 1, 1), straight, route="direct").amplitude[:, 1, 1]
    np.testing.assert_allclose(seen, other, atol=1e-6 * np.abs(other).max())


def test_atoms_of_a_file_turn_with_their_lines(tmp_path: Path, scan_file: Path) -> None:
    """Read back from a file, the same crystal gives the same pattern."""
    from data.formats.atom_files import write_atoms

    orientation = orientation_from_axes((1, -1, 0), (0, 0, 1))
    built = BuiltCrystal(diameter_A=60.0, defects=("edge",))
    specimen = specimen_from_crystal(built, GOLD, orientation, (1, 1, 1), "nufft")
    assert specimen.atoms is not None
    write_atoms(tmp_path / "au.extxyz", specimen.atoms)
    common = ["--reflection", "1", "1", "1", "--x-axis", "1", "-1", "0", "--z-axis", "0", "0", "1", "--no-picture",
              "--scan", str(scan_file)]  # fmt: skip
    assert main(["simulate", "--atoms", str(tmp_path / "au.extxyz"), *common, "--output", str(tmp_path / "a.h5")]) == 0
    assert main(["simulate", *CRYSTAL, "--no-picture", "--scan", str(scan_file), "--output",
                 str(tmp_path / "b.h5")]) == 0  # fmt: skip
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        # A built crystal chooses its slip system by g·b, and stands as turned: the amplitudes share their modulus.
        first, second = a["intensity"][()], b["intensity"][()]
        assert np.linalg.norm(first - second) < 1e-4 * np.linalg.norm(second)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("diffractometer: ID11\n", (), "diffractometer must be"),
        ("rocking: thta\n", (), "theta"),
        ("step_deg: 0\n", (), "step_deg must not be 0"),
        ("steps: 3\n", (), "unknown key 'steps'"),
        ("energy_keV: 2.0\n", (), "G must"),
        ("step_deg: 2.0\n", (), "oversampling must be at least 2"),
        (SCAN, ("--shape", "32"), "--shape must be left out with --scan"),
        (SCAN, ("--energy-keV", "8"), "--energy-keV must be left out with --scan"),
    ],
)
def test_a_scan_that_cannot_be_is_one_line(
    tmp_path: Path, text: str, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    code = main(["simulate", *CRYSTAL, "--scan", str(tmp_path / "bad.yaml"), *options, "--output",
                 str(tmp_path / "out.h5")])  # fmt: skip
    printed = capsys.readouterr().err.strip()
    assert code == 2
    assert message in printed
    assert "\n" not in printed
    assert not (tmp_path / "out.h5").exists()


def test_without_a_grid_there_is_no_pattern(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *CRYSTAL, "--output", str(tmp_path / "out.h5")]) == 2
    assert "give --shape and --oversampling, or --scan FILE.yaml" in capsys.readouterr().err


def test_a_larger_distance_samples_more_finely() -> None:
    """Steps along rows and columns fall as 1/distance; the rocking step does not."""
    near = ScanConfig(distance_m=0.5)
    far = replace(near, distance_m=1.0)
    G = GOLD.reflection_vector((1, 1, 1))
    first, second = (np.linalg.norm(config.of_reflection(G).grid().step, axis=1) for config in (near, far))
    np.testing.assert_allclose(first / second, [1, 2, 2], rtol=1e-3)
