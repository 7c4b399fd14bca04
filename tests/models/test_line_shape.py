"""What the class reads of the predicted lines: their angle to G, in space and not on the voxels."""

import numpy as np
import pytest
import torch

from cdi.grid import QGrid
from models.line_shape import line_shape
from models.preprocess import geometry


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.3, -0.5, 0.8)])
def test_a_line_shows_its_angle_to_g(direction: tuple[float, float, float]) -> None:
    """cos² of the angle between a thin straight line and G, on sheared and stretched voxels."""
    step = np.array([[0.02, 0.004, 0.0], [0.0, 0.03, -0.003], [0.002, 0.0, 0.015]])
    grid = QGrid(np.array([1.5, 2.0, 0.4]), step, (64, 64, 64))
    index = np.stack(np.meshgrid(*[np.arange(32) - 16] * 3, indexing="ij"), -1)
    points = index @ grid.voxel
    along = np.asarray(direction) / np.linalg.norm(direction)
    distance = np.linalg.norm(points - (points @ along)[..., None] * along, axis=-1)
    width = np.linalg.norm(grid.voxel, axis=1).max()
    inside = (np.abs(points @ along) < 10 * width) & (distance < width)
    shape = line_shape(torch.as_tensor(inside[None], dtype=torch.float32), torch.from_numpy(geometry(grid))[None])
    expected = (along @ grid.centre / np.linalg.norm(grid.centre)) ** 2
    assert float(shape[0, 0]) == pytest.approx(expected, abs=0.05)


def test_an_unknown_geometry_shows_no_angle() -> None:
    """Zeros and not NaN where the geometry is unknown or no line is predicted."""
    for density in (torch.rand(1, 8, 8, 8), torch.zeros(1, 8, 8, 8)):
        shape = line_shape(density, torch.zeros(1, 10))
        assert torch.isfinite(shape).all()
        assert shape[0, :2].tolist() == [0, 0]
