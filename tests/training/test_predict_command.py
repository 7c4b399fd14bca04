"""``cdi predict``: sets of reflections, what is known of the lattice, every output, and refusals of one line."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.main import main
from cdi.pattern import DiffractionPattern, Exposure
from data.pattern_store import write_pattern
from data.recipe import Recipe
from data.sample import Sample
from data.sampling import draw_samples
from data.store_writer import write_samples
from models.checkpoint import Checkpoint, save
from models.config import NetworkConfig
from models.known_crystal import KnownCrystal
from models.network import DefectNet
from models.prediction import CLASSES, MOST_LINES, BurgersCandidate, PredictedLine, Prediction
from training.measured_crystal import MeasuredCrystal, Question, read_crystal
from training.prediction_files import write_lines
from training.prediction_text import report

RECIPE = Recipe("tiny", samples=2, seed=5, shape=(16, 16, 16), reflection_count=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network."""
    torch.manual_seed(0)
    config = NetworkConfig(
        shape=(16, 16, 16), width=8, token_dim=16, layers=1, heads=2, reader_width=8, iterations=2, passes=1
    )
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save(Checkpoint("tiny", config, DefectNet(config).state_dict()), path)
    return path


@pytest.fixture(scope="module")
def crystals() -> list[tuple[Sample, ...]]:
    return [draw_samples(RECIPE, index) for index in range(2)]


@pytest.fixture(scope="module")
def stored(crystals: list[tuple[Sample, ...]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set") / "set.h5"
    samples = [sample for crystal in crystals for sample in crystal]
    write_samples(path, samples, len(samples), RECIPE)
    return path


@pytest.fixture
def files(crystals: list[tuple[Sample, ...]], tmp_path: Path) -> list[str]:
    """The second crystal's exposures as one file each, of ``cdi simulate``'s format."""
    paths = []
    for number, sample in enumerate(crystals[1]):
        grid = sample.exposure.grid
        assert grid is not None
        pattern = DiffractionPattern(np.sqrt(sample.exposure.counts).astype(complex), grid, sample.reflection)
        write_pattern(tmp_path / f"{number}.h5", pattern, exposure=sample.exposure)
        paths.append(str(tmp_path / f"{number}.h5"))
    return paths


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["predict", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["predict", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_a_crystal_of_a_data_set_and_its_exposures_as_files_are_one_answer(
    stored: Path, files: list[str], model: Path, crystals: list[tuple[Sample, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The data set tells reflections and lattice itself; the files tell reflections, the command line the element."""
    formula = crystals[1][0].truth.formula
    whole = json.loads(asked(capsys, str(stored), "--index", "1", "--model", str(model), "--json"))
    apart = json.loads(asked(capsys, *files, "--element", formula, "--model", str(model), "--json"))
    hkl = [list(sample.reflection) for sample in crystals[1]]
    assert whole["reflections"] == apart["reflections"] == hkl
    assert whole["lattice"] == apart["lattice"] == formula
    for key in ("class_probabilities", "count_probabilities", "lines", "unit"):
        assert whole[key] == apart[key]
    assert set(whole["class_probabilities"]) == set(CLASSES)
    assert [entry["name"] for entry in apart["quality"]] == ["0.h5", "1.h5", "2.h5"]
    assert all(len(entry["oversampling"]) == 3 for entry in apart["quality"])
    assert apart["warnings"] == []


def test_every_output_is_written(stored: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"report": "a.html", "picture": "a.png", "vtk": "a.vtp", "volumes": "a.h5"}
    options = [word for name, file in names.items() for word in (f"--{name}", str(tmp_path / file))]
    printed = asked(capsys, str(stored), "--index", "0", "--model", str(model), *options)
    for file in names.values():
        assert str(tmp_path / file) in printed
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "a.html").read_text()
    assert page.count("data:image/png;base64,") >= 3
    assert "What these data cannot tell apart" in page
    assert "<script src=" not in page
    assert printed.index("quality ") < printed.index("class ")
    assert "<VTKFile" in (tmp_path / "a.vtp").read_text()
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["format"] == "cdi-prediction"
        assert file["phase"].shape == (3, 8, 8, 8)
        assert file["support"].shape == file["line_density"].shape == (8, 8, 8)
        assert file["q_centre"].shape == file.attrs["reflections"].shape == (3, 3)
        assert file["voxel"].attrs["units"] == "angstrom"
        assert json.loads(file.attrs["prediction"])["model"]["name"] == "tiny"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--index", "2"], "--index must lie in [0, 1]"),
        ([], "holds 2 crystals; choose one with --index 0 to 1"),
        (["--index", "0", "--scan", "4"], "--spec and --scan must be left out"),
        (["--index", "0", "--element", "Unobtainium"], "element must be one of"),
        (["--index", "0", "--reflections", "1 1"], "--reflections must be three whole numbers each"),
        (["--index", "0", "--reflections", "1 1 1"], "--reflections must be one a file"),
        (["--index", "0", "--vtk", "lines.vtk"], "vtk output must end in .vtp"),
        (["--index", "0", "--report", "a.pdf"], "report must end in .html"),
        (["--index", "0", "--axes", "abc"], "axes must name frames, rows and columns"),
        (["--index", "0", "--volumes", "no/such/folder.h5"], "output must lie in an existing directory"),
        (["--index", "0", "--element", "Au", "--structure-file", "x.cif"], "must be left out with --structure-file"),
    ],
)
def test_a_wrong_question_is_one_line(
    stored: Path, model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert says in refused(capsys, str(stored), "--model", str(model), *arguments)


def test_reflections_that_the_lattice_does_not_put_there_are_refused(files: list[str]) -> None:
    """Two files exchanged, or another sign: the angles between the scattering vectors tell."""
    crystal = read_crystal(files, Question())
    assert crystal.known is None
    with pytest.raises(ValueError, match="--reflections must come with the lattice"):
        read_crystal(files, Question(reflections=((1, 1, 1), (2, 0, 0), (0, 2, 0))))
    with pytest.raises(ValueError, match="--scan must be one number a file, got 2 for 3 files"):
        read_crystal(files, Question(scans=(1, 2)))
    lattice = Lattice.of_structure("fcc", ("Au",), 4.08)
    grid = QGrid.orthogonal(lattice.reflection_vector((1, 1, 1)), [100.0] * 3, 3.0, (16, 16, 16))
    axis = lattice.reflection_vector((2, 0, 0))
    exposures = [Exposure(np.ones(grid.shape), replace(grid, centre=G)) for G in (grid.centre, axis)]
    from training.measured_crystal import _check_fit

    _check_fit(KnownCrystal(lattice, ((1, 1, 1), (2, 0, 0))), exposures)
    for wrong in (((1, 1, 1), (-2, 0, 0)), ((2, 0, 0), (1, 1, 1)), ((2, 2, 2), (2, 0, 0))):
        with pytest.raises(ValueError, match="reflections must fit the measured scattering vectors to 5 % and 3°"):
            _check_fit(KnownCrystal(lattice, wrong), exposures)


def predicted(lines: tuple[PredictedLine, ...], undetermined: str = "") -> Prediction:
    half = (6, 5, 4)
    return Prediction(
        0.9, (0.1, 0.2, 0.65, 0.05, 0, 0), (0.1, 0.3, 0.6, *[0.0] * (MOST_LINES - 2)), undetermined, lines,
        np.zeros(half, np.float32), np.ones(half, np.float32), np.zeros((2, *half), np.float32),
        np.diag([6.0, 7.0, 8.0]), {"name": "fake", "weights_sha256": "0" * 64}, 0.0,
    )  # fmt: skip


def measured() -> MeasuredCrystal:
    gold = Lattice.of_material("Au")
    reflections = ((1, 1, 1), (2, 0, 0))
    grids = [QGrid.orthogonal(gold.reflection_vector(hkl), [90.0] * 3, 3.0, (12, 10, 8)) for hkl in reflections]
    exposures = tuple(Exposure(np.ones(grid.shape), grid) for grid in grids)
    return MeasuredCrystal(("a.h5", "b.h5"), exposures, KnownCrystal(gold, reflections))


POINTS = np.linspace([-5.0, 0, 1], [25.0, 2, 3], 4)
SURE = PredictedLine(POINTS, (1.0, 2.0, 3.0), 0.8, (1.02, -0.97), (BurgersCandidate((0.5, -0.5, 0), 0.96),))
OPEN = PredictedLine(
    POINTS, None, 0.6, (1.0, 1.0), (BurgersCandidate((0.5, 0, 0.5), 0.4), BurgersCandidate((0.5, 0.5, 0), 0.4))
)
HIDDEN = PredictedLine(POINTS, None, 0.6, (0.0, 0.0), (BurgersCandidate((0, 0.5, -0.5), 0.7),))


def test_the_report_names_burgers_vectors_and_says_what_is_undetermined_and_why() -> None:
    text = "\n".join(report(predicted((SURE, OPEN, HIDDEN), "novel"), measured()))
    assert "patterns     2 of Au 1 1 1, 2 0 0" in text
    assert "class        screw  (screw 0.65, edge 0.20, none 0.10, mixed 0.05)" in text
    assert "undetermined novel: the pattern is unlike those" in text
    assert "lines        3 traced  (visible: 2 0.60, 1 0.30, 0 0.10)" in text
    assert "from [-5.0, 0.0, 1.0] to [25.0, 2.0, 3.0] Å, 30 long, confidence 0.80" in text
    assert "g·b      +1.02  -0.97" in text
    assert "b        ½[1-10] 0.96" in text
    assert "b        undetermined: 2 vectors wind alike in these reflections (½[101] 0.40, ½[110] 0.40, …)" in text
    assert "b        undetermined: no reflection sees it (½[01-1] 0.70, …)" in text
    unknown = replace(measured(), known=None)
    text = "\n".join(report(predicted((PredictedLine(POINTS, None, 0.6, (1.0,)),)), unknown))
    assert "b        undetermined: the lattice or the reflections are unknown" in text
    assert "undetermined novel" not in text


def test_lines_for_paraview_carry_confidence_windings_and_burgers_vector(tmp_path: Path) -> None:
    """NaN where a Burgers vector is undetermined; no line is a file too."""
    from xml.etree import ElementTree

    write_lines(tmp_path / "a.vtp", predicted((SURE, OPEN)))
    found = {
        a.get("Name"): np.array((a.text or "").split(), float)
        for a in ElementTree.parse(tmp_path / "a.vtp").getroot().iter("DataArray")
    }
    assert found["confidence"].tolist() == [0.8, 0.6]
    assert found["windings"].tolist() == [1.02, -0.97, 1.0, 1.0]
    np.testing.assert_array_equal(found["burgers_A"], [1, 2, 3, np.nan, np.nan, np.nan])
    assert found["burgers_lattice"].tolist() == [0.5, -0.5, 0, 0.5, 0, 0.5]
    write_lines(tmp_path / "none.vtp", predicted(()))
    assert 'NumberOfLines="0"' in (tmp_path / "none.vtp").read_text()
