"""``cdi convert``: each kind of file into the formats of the field, and one line for what cannot be."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from cdi.atoms import Atoms
from cdi.main import main
from data.formats.atom_files import read_atoms, write_atoms
from data.formats.object_files import read_object
from data.formats.pattern_files import read_exposure
from data.molecular_dynamics.lines_file import read_lines

SHAPE = (12, 10, 14)
CA = """CA_FILE_VERSION 6
CLUSTER 1
CLUSTER_ORIENTATION
4 0 0
0 4 0
0 0 4
DISLOCATIONS 1
0
-0.5 -0.5 0
1
2
0 0 0
0 0 10
"""


def converted(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["convert", *map(str, words)]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["convert", *map(str, words)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.fixture
def pattern(tmp_path: Path) -> Path:
    counts = np.random.default_rng(0).poisson(3.0, SHAPE)
    counts[6:9, 3:6, 7:10] += 50
    counts[7, 4, 8] = 5000
    np.save(tmp_path / "scan.npy", counts.transpose(1, 2, 0))
    return tmp_path / "scan.npy"


def test_a_pattern_is_prepared_and_written(pattern: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = converted(
        capsys, pattern, tmp_path / "a.cxi", "--axes", "rcf", "--prepare", "centre=brightest", "shape=[8,8,8]"
    )
    assert "window: 8 × 8 × 8 voxels around [7, 4, 8]" in said
    found = read_exposure(tmp_path / "a.cxi")
    assert found.counts.shape == (8, 8, 8)
    assert found.counts[4, 4, 4] == 5000
    assert "output must not exist yet" in refused(capsys, pattern, tmp_path / "a.cxi")
    converted(capsys, pattern, tmp_path / "a.tif", "--axes", "rcf")
    np.testing.assert_array_equal(read_exposure(tmp_path / "a.tif").counts, np.load(pattern).transpose(2, 0, 1))


def test_atoms_go_from_format_to_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    atoms = Atoms(rng.normal(size=(7, 3)) * 9, np.array([0, 1, 0, 1, 1, 0, 0]), ("Cu", "Ni"))
    write_atoms(tmp_path / "a.extxyz", atoms)
    for first, second in ((".extxyz", ".dump"), (".dump", ".lmp"), (".lmp", ".xyz")):
        converted(capsys, tmp_path / f"a{first}", tmp_path / f"a{second}")
        found = read_atoms(tmp_path / f"a{second}")
        np.testing.assert_allclose(found.positions, atoms.positions, atol=2e-8)
        assert [found.elements[s] for s in found.species] == [atoms.elements[s] for s in atoms.species]


def test_lines_of_ovito_become_ours_and_paraview_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.ca").write_text(CA)
    converted(capsys, tmp_path / "a.ca", tmp_path / "a.json", "--structure", "fcc")
    (line,) = read_lines(tmp_path / "a.json")
    np.testing.assert_array_equal(line.line.burgers, [2, 2, 0])
    assert "1 lines" in converted(capsys, tmp_path / "a.json", tmp_path / "a.vtp")
    assert 'Name="burgers_A"' in (tmp_path / "a.vtp").read_text()


def pynx_object(path: Path) -> np.ndarray:
    rng = np.random.default_rng(2)
    density = rng.random(SHAPE) * np.exp(1j * rng.normal(size=SHAPE))
    with h5py.File(path, "w") as file:
        file["entry_1/image_1/data"] = density.astype(np.complex64)
    return density


def test_a_crystal_in_real_space_becomes_volumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A complex image of PyNX's CXI: magnitude at most 1, phase, on voxels of one."""
    density = pynx_object(tmp_path / "a.cxi")
    found = read_object(tmp_path / "a.cxi")
    np.testing.assert_allclose(found.phase[0], np.angle(density), atol=1e-6)
    assert found.magnitude.max() == pytest.approx(1)
    assert found.unit == "voxels"
    assert "1 patterns, voxels in voxels" in converted(capsys, tmp_path / "a.cxi", tmp_path / "a.vti")
    assert 'Name="phase"' in (tmp_path / "a.vti").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["scan.npy", "a.jpg"], "output of a pattern must end in one of .cxi, .h5"),
        (["a.ca", "a.cxi"], "output of lines must end in one of .vtp, .vtu, .json"),
        (["none.npy", "a.cxi"], "none.npy does not exist"),
        (["scan.npy", "no/such/a.cxi"], "output must lie in an existing directory"),
        (["scan.npy", "a.cxi", "--prepare", "bining=[2,2,2]"], "unknown key 'bining'; did you mean 'binning'?"),
        (["scan.npy", "a.cxi", "--axes", "xyz"], "axes must name frames, rows and columns"),
        (["a.ca", "a.vtp", "--prepare", "hot_pixels=true"], "only patterns are prepared"),
        (["scan.npy", "a.cxi", "--scan", "7"], "scan 7 needs a SPEC file"),
    ],
)
def test_what_cannot_be_is_one_line(
    pattern: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], says: str,
) -> None:  # fmt: skip
    (tmp_path / "a.ca").write_text(CA)
    monkeypatch.chdir(tmp_path)
    assert says in refused(capsys, *words)


def test_a_warning_is_one_line_beside_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", frames=np.ones((10, 11, 12)), theta_deg=0.01 * np.arange(12))
    assert main(["convert", str(tmp_path / "a.npz"), str(tmp_path / "a.cxi")]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("cdi: warning: ")
    assert printed.err.count("\n") == 1
    assert "axis 2 is taken as the rocking axis" in printed.err
    assert read_exposure(tmp_path / "a.cxi").counts.shape == (12, 10, 11)


def test_without_a_pattern_s_photons_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", np.ones(SHAPE, np.float32))
    assert "must leave a photon" in refused(capsys, tmp_path / "a.npy", tmp_path / "a.cxi", "--prepare", "threshold=5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy"]
