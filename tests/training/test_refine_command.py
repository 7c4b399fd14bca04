"""``cdi refine``: from a file, from network and retrieval, and refusals of one line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import h5py
import numpy as np
import pytest
import torch

from cdi.fourier import amplitude_from_object
from cdi.lattices.lattice import Lattice
from cdi.main import main
from cdi.pattern import Exposure
from cdi.refinement.start import model_line
from models.checkpoint import Checkpoint, save
from models.config import NetworkConfig
from models.known_crystal import KnownCrystal
from models.network import DefectNet
from training.refinement_starts import burgers_of, file_start, lattice_windings, network_retrieval

FAST = ["--set", "order=2", "iterations=3", "free_iterations=2", "uncertainty=false", "extra_lines=0"]


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts of a ball with one screw-like winding, 16³ voxels."""
    x, y, z = np.meshgrid(*(np.arange(16) - 8,) * 3, indexing="ij")
    inside = x**2 + y**2 + z**2 < 3.6**2
    density = torch.as_tensor(inside * np.exp(1j * np.arctan2(y - 0.4, x - 0.3)))
    intensity = amplitude_from_object(density).abs().square().numpy()
    counts = np.random.default_rng(0).poisson(intensity * 5e3 / intensity.max())
    folder = tmp_path_factory.mktemp("pattern")
    np.save(folder / "p.npy", counts.astype(np.float32))
    half = slice(4, 12)
    with h5py.File(folder / "volumes.h5", "w") as file:
        file.attrs["format"] = "cdi-prediction"
        file["support"] = inside[half, half, half].astype(np.float32)
        file["phase"] = np.angle(density.numpy())[None, half, half, half].astype(np.float32)
    return folder


def test_a_file_of_volumes_is_refined_and_written(
    pattern: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "object.h5"
    arguments = [
        str(pattern / "p.npy"),
        "--from",
        str(pattern / "volumes.h5"),
        "--output",
        str(output),
        "--json",
        *FAST,
    ]
    assert main(["refine", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["unit"] == "voxel"
    assert told["no_dislocation"]["rejected"]
    assert [line["windings"] for line in told["lines"]] == [[1]]
    with h5py.File(output) as file:
        assert file["density"].shape == (1, 16, 16, 16)
        assert json.loads(file.attrs["refinement"]) == told


def test_network_and_retrieval_are_starts(pattern: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    config = NetworkConfig(
        shape=(16, 16, 16), width=8, token_dim=16, layers=1, heads=2, reader_width=8, iterations=2, passes=1
    )
    model = tmp_path / "tiny.safetensors"
    save(Checkpoint("tiny", config, DefectNet(config).state_dict()), model)
    told = ["--from", "network", "retrieval", "--model", str(model), "--starts", "1", *FAST]
    output = tmp_path / "object.h5"
    assert main(["refine", str(pattern / "p.npy"), *told, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    with h5py.File(output) as file:
        found = json.loads(file.attrs["refinement"])
        density, support = file["density"][:], file["support"][:]
    # An untrained network names no line, and its object may not be phased: the retrieval is always there.
    names = [each["start"] for each in found["starts"]]
    assert "retrieval, run 1" in names
    assert {"network", "retrieval, run 1"} >= {name for name in names if "then" not in name}
    assert f"best         {found['best']}:" in printed
    assert f"P(defect)    {found['defect_probability']:.3f}" in printed
    assert len(printed.splitlines()) >= 5 + len(found["hypotheses"])
    assert np.isfinite(density).all()
    assert not density[0][support == 0].any()


def test_what_is_printed_is_what_json_says(pattern: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines with their g·b and error, and every hypothesis with its verdict."""
    arguments = ["refine", str(pattern / "p.npy"), "--from", str(pattern / "volumes.h5"), *FAST, "--ensemble", "2"]
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    (line,) = told["lines"]
    assert line["standard_error"] > 0
    assert f"± {line['standard_error']:.2g}, confidence {line['confidence']:.2f}" in printed
    assert "g·b      +1" in printed
    (none,) = (each for each in told["hypotheses"] if each["hypothesis"] == "none")
    row = next(row for row in printed.splitlines() if row.startswith("  none"))
    assert row.split()[1:] == [
        f"{none['difference']:.1f}",
        "±",
        f"{none['standard_error_of_difference']:.1f}",
        "rejected",
    ]


def test_lines_of_a_network_stay_with_its_own_object(pattern: Path) -> None:
    """What a retrieval makes of it may lie elsewhere, or be the twin."""
    exposures = (Exposure(np.load(pattern / "p.npy")),)
    _, (start,) = file_start(pattern / "volumes.h5", exposures)
    line = model_line(np.array([[0.3, 0.4, -3.0], [0.3, 0.4, 3.0]]), (1,))
    (found,) = network_retrieval(replace(start, lines=(line,)), exposures, 0, 0.1)
    assert found.name == "network, then retrieval"
    assert found.lines == ()


def misfit(density: torch.Tensor, counts: np.ndarray) -> float:
    """Σ|√I − s|F|| / Σ√I, the scale s fitted."""
    measured, found = np.sqrt(counts), amplitude_from_object(density).abs().numpy()
    scale = (measured * found).sum() / (found**2).sum()
    return float(np.abs(measured - scale * found).sum() / measured.sum())


@pytest.mark.parametrize(("knows", "other"), [("the phase", "retrieve"), ("the support alone", "finished")])
def test_a_retrieval_goes_on_from_what_a_network_has_right(
    pattern: Path, knows: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the ``other`` way ends, as where what it found is too large to be phased."""
    counts = np.load(pattern / "p.npy")
    exposures = (Exposure(counts),)
    _, (start,) = file_start(pattern / "volumes.h5", exposures)
    if knows == "the support alone":
        nonsense = torch.rand(start.density.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        start = replace(start, density=torch.polar(start.density.abs().double(), 6.0 * nonsense))
        assert misfit(start.density[0], counts) > 0.5

    def refuses(*_: object, **__: object) -> NoReturn:
        raise ValueError("support must fill at most half of the array")

    monkeypatch.setattr(f"training.refinement_starts.{other}", refuses)
    (found,) = network_retrieval(start, exposures, 0, 0.1)
    assert misfit(found.density[0], counts) < 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "nowhere.h5"], "--from must be network, retrieval, or a file"),
        (["--from", "network", "found.h5"], "--from must be a file alone"),
        (["--from", "network", "network"], "--from must name each start once"),
        (["--starts", "0"], "--starts must be at least 1"),
        (["--from", "volumes.h5", "--starts", "3"], "--starts must come with --from retrieval"),
        (["--from", "network", "--starts", "3"], "--starts must come with --from retrieval"),
        (["--model", "default"], "--model must come with --from network, got --from retrieval"),
        (["--device", "tpu"], "device must be cpu or cuda, got 'tpu'"),
        (["--from", "volumes.h5", "--model", "default"], "--model must come with --from network"),
        (["--overwrite"], "--overwrite must come with --output"),
        (["--ensemble", "1"], "ensemble must be 0, or 2 refits or more"),
        (["--set", "order=99"], "order must lie in"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    pattern: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["refine", str(pattern / "p.npy"), *arguments]) != 0
    assert message in capsys.readouterr().err


def test_burgers_vectors_of_one_winding_are_one_hypothesis() -> None:
    known = KnownCrystal(Lattice.of_material("Cu"), ((1, 1, 1),))
    assert lattice_windings(known) == ((-1,), (0,), (1,))
    assert len(burgers_of((1,), known)) == 3
    three = KnownCrystal(Lattice.of_material("Cu"), ((1, 1, 1), (2, 0, 0), (0, 2, 0)))
    assert all(len(burgers_of(w, three)) == 1 for w in lattice_windings(three))
    assert lattice_windings(None) == ()
