"""One crystal's reflections on common q steps: the same pattern, the same photons, gaps where gaps were."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure
from cdi.scattering.object_amplitude import bragg_amplitude
from cdi.shapes.polyhedron import truncated_octahedron
from models.common_voxels import to_common_voxels
from models.preprocess import fit_set

TURN = Rotation.from_rotvec([0.2, -0.5, 0.3]).as_matrix()


@pytest.fixture(scope="module")
def crystal() -> Crystal:
    gold = Lattice.of_material("Au")
    line = dislocation_on(
        gold, gold.slip_systems()[3], character_deg=60, point=np.array([6.0, -9, 4]), orientation=TURN
    )
    return Crystal(gold, truncated_octahedron(110, TURN, ratio=1.3), TURN, (line,))


def pattern(crystal: Crystal, grid: QGrid, reflection: tuple[int, int, int]) -> np.ndarray:
    """|F|² times the volume of a voxel, as photons are: their sum does not depend on the grid."""
    intensity = np.abs(bragg_amplitude([crystal], [grid], [reflection])[0].numpy()) ** 2
    return intensity * abs(np.linalg.det(grid.step)) * 1e3


def grids(crystal: Crystal, finer: float = 1.15) -> tuple[QGrid, QGrid]:
    """Two reflections: one on an orthogonal grid, the other on a finer, turned and sheared one."""
    extent = crystal.shape.extent(np.eye(3))
    first = QGrid.orthogonal(crystal.reflection_vector((1, 1, 1)), extent, 3.4, (30, 32, 28))
    skew = np.eye(3) + np.array([[0, 0.1, 0], [0, 0, -0.05], [0.08, 0, 0]])
    step = first.step @ skew / finer @ Rotation.from_rotvec([0.1, 0.2, -0.1]).as_matrix()
    return first, QGrid(crystal.reflection_vector((2, 0, 0)), step, (41, 38, 40))


def test_interpolated_is_the_pattern_calculated_there(crystal: Crystal) -> None:
    """Two routes: |F|² of 200 on the steps of 111, and interpolated to them from a finer skew grid."""
    first, own = grids(crystal)
    exposures = [Exposure(pattern(crystal, first, (1, 1, 1)), first), Exposure(pattern(crystal, own, (2, 0, 0)), own)]
    same, moved = to_common_voxels(exposures)
    assert same is exposures[0]
    assert moved.grid is not None
    assert moved.mask is not None
    np.testing.assert_array_equal(moved.grid.step, first.step)
    np.testing.assert_array_equal(moved.grid.centre, own.centre)
    calculated = pattern(crystal, moved.grid, (2, 0, 0))
    error = np.abs(moved.counts - calculated)[moved.mask]
    assert error.sum() / calculated[moved.mask].sum() < 0.02
    assert error.max() < 0.02 * calculated.max()


@pytest.mark.parametrize("finer", [0.9, 1.15, 2.1])
def test_photons_are_kept_whatever_the_steps(crystal: Crystal, finer: float) -> None:
    first, own = grids(crystal, finer)
    exposures = [Exposure(pattern(crystal, first, (1, 1, 1)), first), Exposure(pattern(crystal, own, (2, 0, 0)), own)]
    moved = to_common_voxels(exposures)[1]
    assert moved.counts.sum() == pytest.approx(exposures[1].counts.sum(), rel=0.01)
    assert moved.counts.min() >= 0


def test_a_gap_stays_a_gap_and_its_neighbours_ring_little(crystal: Crystal) -> None:
    """No count is made up within the gap, whatever the counts there; beside it they are right to 5 % of the peak."""
    first, own = grids(crystal)
    counts = pattern(crystal, own, (2, 0, 0))
    measured = np.ones(own.shape, bool)
    measured[22:24] = False
    exposures = [
        Exposure(pattern(crystal, first, (1, 1, 1)), first),
        Exposure(np.where(measured, counts, np.nan), own, measured),
    ]
    moved = to_common_voxels(exposures)[1]
    assert moved.mask is not None
    assert moved.grid is not None
    assert (moved.counts[~moved.mask] == 0).all()
    q = np.stack(moved.grid.axes(), -1) - own.centre
    index = q @ np.linalg.inv(own.step) + np.asarray(own.shape) // 2
    inside = (index[..., 0] > 21.1) & (index[..., 0] < 23.9)
    assert not moved.mask[inside].any()
    beyond = ((index < 0) | (index > np.asarray(own.shape) - 1)).any(-1)
    far = ~beyond & ((index[..., 0] < 20.9) | (index[..., 0] > 24.1))
    assert moved.mask[far & (index > 0.01).all(-1) & (index < np.asarray(own.shape) - 1.01).all(-1)].all()
    calculated = pattern(crystal, moved.grid, (2, 0, 0))
    assert np.abs(moved.counts - calculated)[moved.mask].max() < 0.05 * calculated.max()


def test_the_common_frame_is_what_a_set_is_fitted_from(crystal: Crystal) -> None:
    """Exposures that ``fit_set`` refuses for their steps are one set afterwards, on the same real-space voxels."""
    first, own = grids(crystal)
    exposures = [Exposure(pattern(crystal, first, (1, 1, 1)), first), Exposure(pattern(crystal, own, (2, 0, 0)), own)]
    with pytest.raises(ValueError, match="bring them to a common frame first"):
        fit_set(exposures, (16, 16, 16))
    a, b = fit_set(to_common_voxels(exposures), (16, 16, 16))
    assert a.grid is not None
    assert b.grid is not None
    np.testing.assert_allclose(a.grid.voxel, b.grid.voxel)


def test_one_exposure_is_left_alone_and_none_is_refused() -> None:
    alone = Exposure(np.arange(1000.0).reshape(10, 10, 10))
    assert to_common_voxels([alone]) == (alone,)
    with pytest.raises(ValueError, match="a crystal must have at least one exposure, got none"):
        to_common_voxels([])
    with pytest.raises(ValueError, match="must each come with their q-grid, got one without"):
        to_common_voxels([alone, alone])
