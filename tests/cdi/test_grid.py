"""Grids of q: the dual basis, where each voxel lies, and what is refused."""

import re

import numpy as np
import pytest

from cdi.grid import MAX_VOXELS, QGrid, real_space_step

STEP = 0.02 * (np.eye(3) + np.array([[0, 0.3, 0], [0.1, 0, -0.2], [0, 0.15, 0]]))


def test_voxels_are_dual_to_the_steps() -> None:
    """a_i · step_j = 2π δ_ij / N_i for a sheared, uneven grid."""
    shape = (5, 6, 7)
    product = real_space_step(STEP, shape) @ STEP.T
    np.testing.assert_allclose(product, np.diag(2 * np.pi / np.asarray(shape)), atol=1e-12)
    np.testing.assert_array_equal(QGrid([1, 2, 3], STEP, shape).voxel, real_space_step(STEP, shape))


def test_axes_count_from_the_voxel_at_half_the_size() -> None:
    """q(m) = centre + m @ step with m = 0 at N // 2."""
    grid = QGrid([1.0, -2.0, 3.0], STEP, (5, 6, 7))
    q = np.stack(grid.axes(), -1)
    np.testing.assert_allclose(q[2, 3, 3], [1, -2, 3])
    np.testing.assert_allclose(q[4, 1, 3], np.array([1, -2, 3]) + 2 * STEP[0] - 2 * STEP[1])
    np.testing.assert_allclose(grid.modulus()[0, 5, 6], np.linalg.norm(q[0, 5, 6]))


def test_an_orthogonal_grid_oversamples_by_the_wanted_ratio() -> None:
    """The field of view N · voxel equals extent × oversampling along each axis."""
    grid = QGrid.orthogonal([0, 0, 2.7], [100, 150, 80], [2, 3.5, 5], (16, 20, 24))
    view = np.diag(grid.voxel) * np.asarray(grid.shape)
    np.testing.assert_allclose(view, [200, 525, 400])
    np.testing.assert_allclose(grid.voxel, np.diag(np.diag(grid.voxel)), atol=1e-12)


@pytest.mark.parametrize(
    ("centre", "step", "shape", "message"),
    [
        ([0, 0], STEP, (5, 6, 7), "centre must be 3 finite numbers"),
        ([0, 0, np.nan], STEP, (5, 6, 7), "centre must be 3 finite numbers"),
        ([0, 0, 1], STEP[:2], (5, 6, 7), "step must be a finite (3, 3) matrix"),
        ([0, 0, 1], np.full((3, 3), np.inf), (5, 6, 7), "step must be a finite (3, 3) matrix"),
        ([0, 0, 1], np.zeros((3, 3)), (5, 6, 7), "step must have three independent rows"),
        ([0, 0, 1], STEP[[0, 0, 2]], (5, 6, 7), "step must have three independent rows"),
        ([0, 0, 1], STEP, (5, 6), "shape must be three positive integers"),
        ([0, 0, 1], STEP, (5, 0, 7), "shape must be three positive integers"),
        ([0, 0, 1], STEP, (2**20, 2**20, 2**30), f"shape must have at most {MAX_VOXELS} voxels"),
    ],
)
def test_malformed_grids_are_refused(
    centre: list[float], step: np.ndarray, shape: tuple[int, ...], message: str
) -> None:
    """Each with a message that names the argument and what it must be."""
    with pytest.raises(ValueError, match=re.escape(message)):
        QGrid(centre, step, shape)


@pytest.mark.parametrize(
    ("extent", "oversampling", "message"),
    [
        ([100, 0, 80], 3, "extent must be positive and finite"),
        ([100, np.inf, 80], 3, "extent must be positive and finite"),
        ([100, 90, 80], [3, 1.9, 3], "oversampling must be at least 2"),
        ([100, 90, 80], np.nan, "oversampling must be at least 2"),
    ],
)
def test_undersampled_grids_are_refused(extent: list[float], oversampling: float, message: str) -> None:
    """|F|² needs twice the object along every axis."""
    with pytest.raises(ValueError, match=message):
        QGrid.orthogonal([0, 0, 2.7], extent, oversampling, (16, 16, 16))
