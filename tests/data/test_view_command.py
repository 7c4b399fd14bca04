"""``cdi view``: pictures and pages of every kind of file; how they look was seen, what they hold is tested."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_convert_command import CA, pynx_object

from cdi.atoms import Atoms
from cdi.drawn_crystal import DrawnCrystal, DrawnLine
from cdi.grid import QGrid
from cdi.main import main
from cdi.pattern import Exposure
from cdi.surface import hull_surface
from data.formats.atom_files import write_atoms
from data.formats.exposure_writer import write_exposure
from data.formats.object_files import read_object
from data.viewing import around_peak, read_shown

SHAPE = (20, 18, 22)


def viewed(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    assert main(["view", *map(str, words)]) == 0
    return capsys.readouterr().out.split()


@pytest.fixture
def pattern(tmp_path: Path) -> Path:
    axes = np.meshgrid(*(np.arange(n) - c for n, c in zip(SHAPE, (11, 8, 12), strict=True)), indexing="ij")
    intensity = 5000 * np.prod([np.sinc(a / 3.0) ** 2 for a in axes], axis=0)
    grid = QGrid(np.array([1.0, 2, 0]), np.eye(3) * 0.001, SHAPE)
    counts = np.random.default_rng(0).poisson(intensity + 0.1).astype(np.float32)
    write_exposure(tmp_path / "a.cxi", Exposure(counts, grid))
    return tmp_path / "a.cxi"


def test_the_slices_go_through_the_peak_wherever_it_is(pattern: Path) -> None:
    ((name, exposure),) = read_shown([pattern]).patterns
    assert name == "a.cxi"
    shown = around_peak(exposure)
    middle = tuple(n // 2 for n in shown.counts.shape)
    assert shown.counts[middle] == exposure.counts[11, 8, 12]
    assert shown.grid is not None
    np.testing.assert_allclose(shown.grid.centre, [1.001, 1.999, 0.001])


def test_a_pattern_becomes_a_picture_or_a_page(
    pattern: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default beside where one stands, under the file's name; the page needs no network."""
    monkeypatch.chdir(tmp_path)
    assert viewed(capsys, pattern) == ["a.cxi.png"]
    assert (tmp_path / "a.cxi.png").read_bytes().startswith(b"\x89PNG")
    pytest.importorskip("plotly")
    pytest.importorskip("skimage")
    viewed(capsys, pattern, "--output", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert page.count("<html") == 1
    assert "δq x (Å⁻¹)" in page or "\\u03b4q x" in page
    assert not re.findall(r'<script[^>]*src="http', page)


def prediction(path: Path) -> None:
    """Of ``cdi predict --volumes``: two reflections, a line whose Burgers vector is known and one whose is not."""
    line = {"points_A": [[0, 0, -30], [0, 0, 0], [0, 5, 30]], "confidence": 0.8}
    answer = {"lines": [line | {"burgers": [1.0, 2.0, 0.5]}, line | {"burgers": None}]}
    r = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in SHAPE), indexing="ij"), -1)
    support = (np.linalg.norm(r, axis=-1) < 7).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": "cdi-prediction", "prediction": json.dumps(answer)})
        file.attrs["sources"] = ["111.h5", "200.h5"]
        file["support"], file["voxel"] = support, np.diag([4.0, 5.0, 6.0])
        file["phase"] = np.stack([0.3 * r[..., 0], 0.5 * r[..., 1]]).astype(np.float32)


def test_a_prediction_is_its_surface_with_the_phase_of_each_reflection_and_its_lines(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    prediction(tmp_path / "a.h5")
    drawn = read_object(tmp_path / "a.h5").drawn("a")
    assert list(drawn.surfaces) == ["111.h5", "200.h5"]
    assert drawn.unit == "Å"
    assert np.abs(drawn.bounds).max(0) == pytest.approx([28, 35, 42], abs=5)
    assert [line.burgers is None for line in drawn.lines] == [False, True]
    go = pytest.importorskip("plotly.graph_objects")
    from cdi.scene import crystal_scene

    scene = crystal_scene(drawn)
    meshes = [trace for trace in scene.data if isinstance(trace, go.Mesh3d)]
    assert [mesh.visible for mesh in meshes] == [True, False]
    assert len([trace for trace in scene.data if isinstance(trace, go.Cone)]) == 1
    assert [button.label for button in scene.layout.updatemenus[1].buttons] == ["111.h5", "200.h5"]


def test_atoms_and_lines_are_one_crystal(tmp_path: Path) -> None:
    positions = np.random.default_rng(0).normal(size=(60, 3)) * 9
    write_atoms(tmp_path / "a.extxyz", Atoms(positions, np.zeros(60, int), ("Cu",)))
    (tmp_path / "a.ca").write_text(CA)
    (drawn,) = read_shown([tmp_path / "a.extxyz", tmp_path / "a.ca"]).crystals
    np.testing.assert_allclose(drawn.bounds[0], positions.min(0), atol=1e-6)
    (line,) = drawn.lines
    assert line.label == "b [0.5 0.5 0], 90°, 10 Å"


def test_several_pictures_are_numbered(pattern: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skimage")
    pynx_object(tmp_path / "object.cxi")
    written = viewed(capsys, pattern, tmp_path / "object.cxi", "--output", tmp_path / "v.png")
    assert [Path(path).name for path in written] == ["v-1.png", "v-2.png"]
    assert all(Path(path).is_file() for path in written)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a.cxi", "--output", "a.jpg"], "output must end in .png or .html, got 'a.jpg'"),
        (["none.h5"], "none.h5 does not exist"),
        (["a.cxi", "--output", "no/such/a.png"], "output must lie in an existing directory"),
        (["empty.json"], "empty.json must hold atoms or a line to draw"),
        (["broken.h5"], "broken.h5 holds no readable crystal"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    pattern: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], says: str,
) -> None:  # fmt: skip
    lines = {"format": "cdi-lines", "format_version": 1, "lines": []}
    (tmp_path / "empty.json").write_text(json.dumps(lines))
    with h5py.File(tmp_path / "broken.h5", "w") as file:
        file.attrs["format"] = "cdi-prediction"
    monkeypatch.chdir(tmp_path)
    assert main(["view", *words]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert says in printed.err


def test_a_missing_library_gives_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from cdi.errors import MissingDependencyError
    from cdi.scene import crystal_scene

    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    line = DrawnLine(np.array([[0.0, 0, 0], [0, 0, 1]]))
    drawn = DrawnCrystal("a", {"a": hull_surface(np.random.default_rng(0).random((9, 3)))}, (line,))
    with pytest.raises(MissingDependencyError, match=r"pip install 'crystal-defects-insitu\[view\]'"):
        crystal_scene(drawn)
