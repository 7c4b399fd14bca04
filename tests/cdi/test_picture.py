"""Pictures are drawn without a display and show what they are given."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from cdi.grid import QGrid
from cdi.picture import (
    PLANES,
    draw_intensity_slice,
    draw_phase_slice,
    draw_support_slice,
    new_figure,
    save_figure,
    save_pattern_picture,
    support_points,
)

SHAPE = (9, 10, 12)
GRID = QGrid(np.array([0.0, 0.0, 2.0]), np.array([[0.01, 0, 0], [0, 0.02, 0], [0.003, 0, 0.04]]), SHAPE)


@pytest.mark.parametrize("plane", PLANES)
def test_a_slice_shows_the_central_plane_with_its_first_axis_to_the_right(plane: tuple[int, int]) -> None:
    volume = np.random.default_rng(0).integers(1, 900, SHAPE).astype(np.float32)
    axes = new_figure().subplots()
    image = draw_intensity_slice(axes, volume, plane, grid=GRID)
    across = ({0, 1, 2} - set(plane)).pop()
    np.testing.assert_array_equal(image.get_array(), np.take(volume, SHAPE[across] // 2, across).T)
    left, right, bottom, top = image.get_extent()
    spans = np.linalg.norm(GRID.step, axis=1)
    assert (right - left, top - bottom) == pytest.approx([SHAPE[a] * spans[a] for a in plane])
    assert left == pytest.approx(-(SHAPE[plane[0]] // 2 + 0.5) * spans[plane[0]])
    assert "Å⁻¹" in axes.get_xlabel()


def test_an_object_without_a_voxel_is_drawn_in_voxels() -> None:
    support = np.zeros(SHAPE)
    support[3:6, 4:7, 5:8] = 1
    axes = new_figure().subplots(1, 2)
    phase = draw_phase_slice(axes[0], np.full(SHAPE, 7.0), support, (0, 1))
    assert phase.get_array().count() == 9
    assert phase.get_array().max() == pytest.approx(7 - 2 * np.pi)
    draw_support_slice(axes[1], support, (0, 1))
    assert axes[0].get_xlabel() == "x (voxels)"


def test_support_points_are_positions_about_the_centre() -> None:
    support = np.zeros(SHAPE)
    support[4, 5, 7] = 1
    np.testing.assert_allclose(support_points(support, GRID.voxel), [GRID.voxel[2]])


def test_a_picture_is_a_png_whatever_its_name(tmp_path: Path) -> None:
    intensity = np.random.default_rng(1).random(SHAPE) * 1e9
    box = np.random.default_rng(2).normal(size=(50, 3))
    path = tmp_path / "picture.tmp"
    save_pattern_picture(path, intensity, grid=GRID, title="one", lines=[box[:2]], outline=box)
    image = imread(path, format="png")
    assert min(image.shape[:2]) > 500
    assert image[..., :3].std() > 0.1
    save_figure(new_figure(), tmp_path / "empty.png")
