"""Crystals and grids that no symmetry protects: rotated, sheared, uneven."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cdi.grid import QGrid

# Volumes here are small and cores are shared: threads would wait for each other.
torch.set_num_threads(1)


@pytest.fixture
def rotation() -> NDArray[np.float64]:
    """A rotation that maps no lattice direction onto an axis."""
    return np.asarray(Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix())


@pytest.fixture
def sheared_grid() -> QGrid:
    """Uneven, sheared and off any reflection."""
    step = 0.013 * (np.eye(3) + np.array([[0, 0.2, -0.1], [0.05, 0, 0.15], [-0.12, 0.07, 0]]))
    return QGrid([1.3, -2.1, 0.8], step, (9, 10, 7))
