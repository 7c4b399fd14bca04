"""The angle between predicted lines and G, in Å, from a density on sheared voxels."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdi.grid import QGrid
from models.line_shape import line_shape
from models.preprocess import geometry

SHAPE = (16, 20, 18)
GRID = QGrid([1.0, -2.0, 3.0], 0.01 * (np.eye(3) + np.array([[0, 0.2, 0], [0.1, 0, -0.2], [0, 0.15, 0]])), SHAPE)


def tube(direction: NDArray[np.float64], offset: NDArray[np.float64]) -> torch.Tensor:
    """A thin line through ``offset`` (Å) along ``direction`` (Å), 12 voxels of a central box."""
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in SHAPE), indexing="ij"), -1)
    axis = direction @ np.linalg.inv(GRID.voxel)
    axis /= np.linalg.norm(axis)
    relative = index - offset @ np.linalg.inv(GRID.voxel)
    along = relative @ axis
    distance = np.linalg.norm(relative - along[..., None] * axis, axis=-1)
    return torch.as_tensor(np.exp(-(distance**2)) * (np.abs(along) < 6))


@pytest.mark.parametrize("angle", [0.0, 35.0, 90.0])
def test_the_first_feature_is_the_cosine_squared_of_the_angle_to_g(angle: float) -> None:
    """Within the width of the tube, wherever the line lies."""
    G = GRID.centre / np.linalg.norm(GRID.centre)
    side = np.cross(G, [0.3, 0.5, -0.8])
    side /= np.linalg.norm(side)
    direction = np.cos(np.radians(angle)) * G + np.sin(np.radians(angle)) * side
    where = torch.as_tensor(geometry(GRID), dtype=torch.float64)[None]
    central = line_shape(tube(direction, np.zeros(3))[None], where)[0]
    assert float(central[0]) == pytest.approx(np.cos(np.radians(angle)) ** 2, abs=0.06)
    moved = line_shape(tube(direction, 1.5 * GRID.voxel[0])[None], where)[0]
    torch.testing.assert_close(moved, central, atol=0.03, rtol=0.1)


def test_the_twin_has_the_same_features() -> None:
    """Inverted through the origin, a density keeps direction, spread and amount."""
    density = torch.as_tensor(np.random.default_rng(0).random((1, 5, 7, 9)))
    where = torch.as_tensor(geometry(GRID), dtype=torch.float64)[None]
    torch.testing.assert_close(line_shape(density.flip((1, 2, 3)), where), line_shape(density, where))


def test_without_geometry_or_lines_the_features_are_finite() -> None:
    """Unknown geometry leaves the amount alone; an empty density leaves nothing."""
    density = torch.rand(2, *SHAPE)
    density[1] = 0
    found = line_shape(density, torch.zeros(2, 10))
    assert found.isfinite().all()
    assert not found[:, :2].any()
    assert found[0, 2] > 0
    assert found[1, 2] < 1e-6
