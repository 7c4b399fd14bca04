"""What the page draws of a result lies where the result says, whatever the result."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from fake_predictions import SHAPE, exposure, frame, pattern, prediction

from inference_insitu.inference.results import ResultsFile, StoredResult
from inference_insitu.watching.newest_result import newest_result
from inference_insitu.watching.page.scene import (
    CLOUD_POINTS,
    LONGEST_SIDE,
    SURFACE_POINTS,
    lines_of,
    pattern_parts,
    scene,
    surface,
)


def vectors(data: bytes, kind: str = "<f4") -> np.ndarray:
    return np.frombuffer(data, kind).reshape(-1, 3).astype(float)


def test_the_surface_of_a_ball_lies_on_its_radius_with_normals_outwards() -> None:
    """In an oblique, uneven grid of voxels; a ball in Å."""
    voxel = np.array([[2.0, 0.3, 0.0], [0.0, 3.0, 0.5], [0.2, 0.0, 2.5]])
    shape = (41, 31, 36)
    places = np.stack(np.indices(shape), -1) - np.array(shape) // 2
    radius = np.linalg.norm(places @ voxel, axis=-1)
    drawn = surface(1 / (1 + np.exp(radius - 25)), voxel)
    points, normals = vectors(drawn["points"]), vectors(drawn["normals"], "i1") / 127
    distance = np.linalg.norm(points, axis=1)
    assert len(points) > 500
    assert distance.max() < 25
    assert distance.min() > 25 - 1.1 * np.linalg.norm(voxel, axis=1).sum()
    cosine = (normals * points).sum(1) / distance
    assert np.percentile(cosine, 5) > 0.9


@pytest.mark.parametrize("support", [np.zeros((4, 4, 4)), np.full((4, 4, 4), np.nan), np.ones((1, 1, 1))])
def test_a_support_that_holds_nothing_is_no_error(support: np.ndarray) -> None:
    points = vectors(surface(support, np.eye(3))["points"])
    assert len(points) == int(np.nansum(support))


def test_a_large_support_is_thinned() -> None:
    assert len(vectors(surface(np.ones((64, 64, 64)), np.eye(3))["points"])) == SURFACE_POINTS


def test_the_brightest_voxel_is_found_where_it_is() -> None:
    counts = np.zeros((12, 10, 8), np.float32)
    counts[9, 2, 7] = 500
    step = np.diag([0.1, 0.2, 0.3])
    drawn = pattern_parts(counts, step)
    assert vectors(drawn["points"]) == pytest.approx(np.array([[0.3, -0.6, 0.9]]), abs=1e-6)
    assert (drawn["most"], drawn["photons"], drawn["unit"]) == (500, 500, "1/Å")
    assert np.frombuffer(drawn["levels"], np.uint8).tolist() == [255]
    assert drawn["slices"]["y"]["shape"] == [12, 8]


def test_slices_are_those_of_the_middle_on_a_logarithmic_scale() -> None:
    counts = np.zeros((5, 6, 7), np.float32)
    counts[2, 3, 3], counts[2, 0, 6] = 99, 9
    levels = np.frombuffer(pattern_parts(counts, np.eye(3))["slices"]["x"]["levels"], np.uint8).reshape(6, 7)
    assert (levels[3, 3], levels[0, 6], levels.sum()) == (255, round(255 * np.log(10) / np.log(100)), 255 + 128)


def test_a_large_pattern_keeps_its_brightest_voxels_and_the_browser_gets_little() -> None:
    counts = np.ones((300, 260, 70), np.float32)
    counts[299, 0, 69] = 1e6
    drawn = pattern_parts(counts, np.full((3, 3), np.nan))
    assert drawn["unit"] == "voxels"
    assert max(max(one["shape"]) for one in drawn["slices"].values()) <= LONGEST_SIDE
    points, levels = vectors(drawn["points"]), np.frombuffer(drawn["levels"], np.uint8)
    assert len(points) == CLOUD_POINTS
    assert points[levels.argmax()] == pytest.approx(np.array([150, -130, 35]), abs=6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -5.0, 0.0])
def test_counts_that_are_none_are_dark(value: float) -> None:
    drawn = pattern_parts(np.full((3, 4, 5), value, np.float32), np.eye(3))
    assert (drawn["most"], drawn["photons"], drawn["points"]) == (0, 0, b"")


@pytest.mark.parametrize(
    "told",
    [
        None,
        3,
        [3],
        [{}],
        [{"points_A": [[1, 2]]}],
        [{"points_A": [[1, 2, 3]]}],
        [{"points_A": [[1, 2, float("nan")]] * 2}],
    ],
)
def test_lines_that_are_none_are_left_out(told: object) -> None:
    assert lines_of(told) == []


def test_a_prediction_that_is_no_object_still_shows_its_volumes() -> None:
    empty = np.zeros((4, 4, 4), np.float32)
    result = StoredResult(3, 0.5, "edge", 1, True, [], empty, np.eye(3), empty, empty, np.zeros((3, 3)))  # type: ignore[arg-type]
    drawn = scene(result)
    assert (drawn["step"], drawn["lines"], drawn["crystal"]["unit"]) == (3, [], "voxels")


def test_results_are_read_while_their_writer_still_runs(tmp_path: Path) -> None:
    (tmp_path / "writing").mkdir()
    file = ResultsFile(tmp_path / "writing" / "results-0.0.h5")
    for step in (10, 20, 30):
        file.append(frame(step), exposure(step), prediction(lines=step // 10))
        # What another process sees of it: within one, HDF5 refuses to open a file twice.
        shutil.copy(tmp_path / "writing" / "results-0.0.partial.h5", tmp_path)
        found = newest_result(tmp_path, "pattern")
        assert found.file == "results-0.0.partial.h5"
        assert found.result is not None
        assert (found.result.step, found.result.count) == (step, step // 10)
        assert (found.result.counts == pattern(step)).all()
    assert newest_result(tmp_path, "pattern", 9).result is None
    for at_most, step in ((10, 10), (29, 20), (1000, 30)):
        result = newest_result(tmp_path, "pattern", at_most).result
        assert result is not None
        assert result.step == step
        drawn = scene(result)
        assert len(drawn["lines"]) == step // 10
        assert drawn["pattern"]["shape"] == list(SHAPE)
    file.close()
    again = ResultsFile(tmp_path / "results-0.1.h5")
    again.append(frame(20), exposure(20), prediction(0.25))
    again.close()
    result = newest_result(tmp_path, "pattern", 20).result
    assert result is not None
    assert result.defect_probability == 0.25, "a second life's answer counts"


def test_a_file_that_does_not_read_costs_neither_the_others_nor_the_view(tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "results-1.0.h5")
    file.append(frame(10), exposure(10), prediction())
    file.close()
    whole = (tmp_path / "results-1.0.h5").read_bytes()
    (tmp_path / "results-2.0.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "results-3.0.h5").write_bytes(b"")
    (tmp_path / "results-4.0.h5").symlink_to("/nowhere")
    with h5py.File(tmp_path / "results-5.0.h5", "w") as other:
        other.create_dataset("pattern", data=3)
    with h5py.File(tmp_path / "results-6.0.h5", "w") as other:
        other["pattern"] = h5py.ExternalLink(str(tmp_path / "results-1.0.h5"), "pattern")
    with h5py.File(tmp_path / "results-7.0.h5", "w") as huge:
        huge.attrs["classes"] = ["none"]
        group = huge.create_group("pattern/x")
        group["step"], group["rank"] = [99], [0]
        for name in ("counts", "line_density", "support"):
            group.create_dataset(name, (1, 9000, 9000, 9000), "f4", chunks=(1, 9, 9, 9))
    found = newest_result(tmp_path, "pattern")
    assert found.result is not None
    assert (found.result.step, found.file) == (10, "results-1.0.h5")
    told = "\n".join(found.problems)
    for name in ("results-2.0.h5", "results-3.0.h5", "results-4.0.h5", "results-5.0.h5"):
        assert f"{name} does not read" in told
    assert "step 99 of results-7.0.h5 does not read: ValueError: counts must have 3 axes and at most" in told
