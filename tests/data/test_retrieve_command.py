"""``cdi retrieve``: from every kind of file to densities and a picture, or one line that says why not."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml

from cdi.command import Command
from cdi.config import read_object
from cdi.interruption import stop_at_interrupt
from cdi.main import main
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.vortex_lines import VortexLine
from data.retrieval_cli import retrieve
from data.retrieval_file import line_rows

SETTINGS = ["schedule=HIO 20, ER 10", "starts=2", "best=2", "shrink_wrap.interval=10"]


@pytest.fixture
def pattern(tmp_path: Path) -> Path:
    """A small simulated crystal with its geometry."""
    path = tmp_path / "crystal.h5"
    crystal = ["--element", "Au", "--reflection", "1", "1", "1", "--diameter-A", "120"]
    frame = ["--shape", "24", "--oversampling", "3", "--peak-counts", "1e5", "--output", str(path), "--no-picture"]
    assert main(["simulate", *crystal, *frame]) == 0
    return path


def run(*arguments: str) -> int:
    return main(["retrieve", *arguments, "--no-progress", "--device", "cpu"])


def test_the_command_is_one_of_the_house() -> None:
    assert isinstance(retrieve, Command)
    assert retrieve.name == "retrieve"


def test_a_pattern_becomes_a_density_with_all_that_made_it(
    pattern: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "found.h5"
    assert run(str(pattern), *SETTINGS, "--output", str(output), "--seed", "3", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert run(str(pattern), *SETTINGS, "--output", str(output), "--seed", "3", "--overwrite") == 0
    printed = capsys.readouterr().out
    assert "first mode" in printed
    assert "Å (PRTF)" in printed
    assert (told["starts"], told["averaged"], told["output"]) == (2, 2, str(output))
    assert (told["patterns"][0]["unit"], told["patterns"][0]["lines"]) == ("angstrom", [])
    assert f"misfit       {told['patterns'][0]['misfit']:.4g} of the intensity" in printed
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
    with h5py.File(output) as file, h5py.File(pattern) as source:
        density = file["density"][()]
        assert density.shape == (1, 24, 24, 24)
        assert np.iscomplexobj(density)
        assert file["free_deviance"].shape == (1, 2)
        # F(m) = Σ density exp(+2πi m·n/N): Parseval gives the photons back.
        photons = 24**3 * (np.abs(density) ** 2).sum()
        assert photons == pytest.approx(source["counts"][()].sum(), rel=0.1)
        step = source.attrs["q_step"]
        np.testing.assert_allclose(file["voxel"][0] @ step.T, 2 * np.pi / 24 * np.eye(3), atol=1e-9)
        config = read_object(RetrievalConfig, yaml.safe_load(file.attrs["config"]), origin="the file")
        assert config.starts == 2
        assert all(dataset.attrs["units"] for dataset in file.values())
        assert file.attrs["seed"] == 3
        assert file["line_points"].shape == (0, 3)
    assert "lines        0" in printed


def test_vortex_lines_are_ragged_rows_of_their_pattern() -> None:
    points = np.arange(15.0).reshape(5, 3)
    rows = line_rows([(), (VortexLine(points[:2], 1, 0.1, 0.9), VortexLine(points[2:], 2, 0.2, 0.8))])
    np.testing.assert_array_equal(rows["line_pattern"], [1, 1])
    np.testing.assert_array_equal(rows["line_winding"], [1, 2])
    np.testing.assert_array_equal(rows["line_point_count"], [2, 3])
    np.testing.assert_array_equal(rows["line_points"], points)


def test_a_seed_repeats_and_an_output_is_not_overwritten_unasked(pattern: Path, tmp_path: Path) -> None:
    for name in ("one.h5", "two.h5"):
        assert run(str(pattern), *SETTINGS, "--output", str(tmp_path / name), "--no-picture") == 0
    with h5py.File(tmp_path / "one.h5") as one, h5py.File(tmp_path / "two.h5") as two:
        np.testing.assert_array_equal(one["density"][()], two["density"][()])
    assert run(str(pattern), *SETTINGS, "--output", str(tmp_path / "one.h5")) == 2


def test_several_files_are_reflections_that_share_a_support(pattern: Path, tmp_path: Path) -> None:
    output = tmp_path / "both.h5"
    assert run(str(pattern), *SETTINGS, "--also", str(pattern), "--output", str(output)) == 0
    with h5py.File(output) as file:
        assert file["density"].shape[0] == 2
        np.testing.assert_array_equal(file["support"][0], file["support"][1])
        assert yaml.safe_load(file.attrs["config"])["shared_support"] is True


def test_frames_without_geometry_are_cropped_and_come_in_voxels(
    pattern: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stack whose peak is off its middle."""
    with h5py.File(pattern) as file:
        counts = np.pad(file["counts"][()], ((5, 0), (0, 7), (3, 2)))
    np.save(tmp_path / "stack.npy", counts.astype(np.int32))
    output = tmp_path / "found.h5"
    assert run(str(tmp_path / "stack.npy"), *SETTINGS, "--shape", "20", "24", "22", "--binning", "1",
               "--output", str(output)) == 0  # fmt: skip
    assert "voxels (PRTF)" in capsys.readouterr().out
    with h5py.File(output) as file:
        assert file["density"].shape == (1, 20, 24, 22)
        assert "voxel" not in file


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["starts=0"], "starts must lie in"),
        (["startz=3"], "did you mean 'starts'"),
        (["--shape", "4"], "shape must have at least 8 voxels"),
        (["--shape", "24", "24"], "shape must be 1 or 3 numbers"),
        (["--binning", "9"], "binning must be at least 1 and leave 8 voxels"),
        (["--index", "0"], "--index must be left out"),
        (["--scan", "3", "4"], "--scan must be one number a file, got 2 for 1 files"),
        (["--axes", "frc"], "--axes"),
    ],
)
def test_bad_usage_is_one_line(
    arguments: list[str], line: str, pattern: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(pattern), *arguments, "--output", str(tmp_path / "found.h5")) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "found.h5").exists()


def test_a_pattern_without_a_photon_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "dark.npy", np.zeros((16, 18, 20), np.int32))
    assert run(str(tmp_path / "dark.npy"), "--output", str(tmp_path / "found.h5")) == 2
    assert "counts must not be all zero" in capsys.readouterr().err


def test_an_interrupt_writes_what_the_starts_have_reached_and_says_so(
    pattern: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a terminal does it, in the middle of the iterations."""
    from cdi.retrieval import phase_retrieval

    pressed = []

    def and_press(exposures: object, config: object, **more: Any) -> Any:
        def report(count: int) -> None:
            if not pressed:
                pressed.append(os.kill(os.getpid(), signal.SIGINT))

        return whole(exposures, config, **{**more, "report": report})  # type: ignore[arg-type]

    whole = phase_retrieval.retrieve
    monkeypatch.setattr(phase_retrieval, "retrieve", and_press)
    output = tmp_path / "found.h5"
    assert run(str(pattern), *SETTINGS, "--output", str(output), "--json") == 130
    printed = capsys.readouterr()
    assert json.loads(printed.out)["interrupted"] is True
    assert printed.err.splitlines()[-1] == (
        f"cdi: interrupted; {output} holds what the starts had reached; --overwrite runs them to their end"
    )
    with h5py.File(output) as file:
        assert (file["iterations"][()] < 30).all()


def test_what_files_of_frames_leave_open_is_said_as_to_predict(pattern: Path, tmp_path: Path) -> None:
    """Dataset, order of axes and mask; the same density as of the file that says them itself."""
    with h5py.File(pattern) as file:
        counts = file["counts"][()]
    mask = np.zeros(counts.shape, np.uint8)
    mask[3, 4, 5] = 1
    np.save(tmp_path / "dead.npy", mask.transpose(1, 2, 0))
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        file["entry/one"], file["entry/two"] = counts[..., ::-1], counts.transpose(1, 2, 0)
    np.savez(tmp_path / "plain.npz", counts=counts, mask=1 - mask)
    told = ["--dataset", "entry/two", "--axes", "rcf", "--mask", str(tmp_path / "dead.npy")]
    for name, words in (("a.nxs", told), ("plain.npz", [])):
        assert run(str(tmp_path / name), *SETTINGS, *words, "--binning", "1", "--output", str(tmp_path / f"{name}.h5"),
                   "--no-picture") == 0  # fmt: skip
    with h5py.File(tmp_path / "a.nxs.h5") as one, h5py.File(tmp_path / "plain.npz.h5") as two:
        np.testing.assert_array_equal(one["density"][()], two["density"][()])


def test_the_first_interrupt_ends_the_runs_and_the_second_gives_up() -> None:
    """And the handler of before is back afterwards."""
    before = signal.getsignal(signal.SIGINT)
    with stop_at_interrupt() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
