"""Exposures cropped and binned for phase retrieval: peak in the middle, masks and grids along."""

import numpy as np
import pytest
from known_objects import amplitude, crystal, exposure, grid_of

from cdi.grid import QGrid
from cdi.pattern import Exposure
from cdi.retrieval.framing import framed


def off_centre() -> Exposure:
    """A peak at (9, 20, 14) of an uneven frame, with its grid."""
    counts = np.random.default_rng(0).poisson(0.2, (24, 30, 26)).astype(np.float32)
    x, y, z = np.ogrid[:24, :30, :26]
    counts += 1000 * np.exp(-((x - 9) ** 2 + (y - 20) ** 2 + (z - 14) ** 2) / 3).astype(np.float32)
    step = 0.01 * np.array([[1, 0.1, 0], [0, 1.2, -0.2], [0.1, 0, 0.9]])
    return Exposure(counts, QGrid([1.0, -2.0, 2.5], step, counts.shape))


def q_of_peak(exposure_: Exposure) -> np.ndarray:
    place = np.unravel_index(int(exposure_.counts.argmax()), exposure_.counts.shape)
    assert exposure_.grid is not None
    return np.array([axis[place] for axis in exposure_.grid.axes()])


def test_the_peak_comes_to_the_middle_and_keeps_its_scattering_vector() -> None:
    source = off_centre()
    found = framed(source, (16, 18, 15), (1, 1, 1))
    assert np.unravel_index(int(found.counts.argmax()), found.counts.shape) == (8, 9, 7)
    np.testing.assert_allclose(q_of_peak(found), q_of_peak(source))


def test_what_lies_beyond_the_frame_is_unmeasured() -> None:
    found = framed(off_centre(), (22, 22, 20), (1, 1, 1))
    assert found.mask is not None
    assert found.mask.sum(axis=(1, 2)).tolist() == [0] * 2 + [found.mask[2].sum()] * 20
    assert not found.counts[~found.mask].any()


def test_binning_sums_photons_and_hides_every_bin_with_an_unmeasured_voxel() -> None:
    source = off_centre()
    mask = np.ones(source.counts.shape, bool)
    mask[5, 11, 14] = False
    found = framed(Exposure(source.counts, source.grid, mask), (8, 10, 8), (2, 2, 3))
    assert found.mask is not None
    assert int((~found.mask).sum()) == 1
    plain = framed(source, (8, 10, 8), (2, 2, 3))
    assert plain.mask is None
    assert found.grid is not None
    np.testing.assert_allclose(found.grid.step, source.grid.step * np.array([[2], [2], [3]]))
    assert np.abs((q_of_peak(plain) - q_of_peak(source)) @ np.linalg.inv(source.grid.step)).max() <= 1.5


def test_a_finely_measured_pattern_is_binned_by_default_and_a_coarse_one_is_not() -> None:
    """To an oversampling between 3 and 6 where there is more."""
    fine, coarse = framed(exposure(amplitude(ratio=8.0))), framed(exposure(amplitude()))
    assert fine.counts.shape == (12, 16, 14)
    assert coarse.counts.shape == (24, 32, 30)


def test_the_grid_of_a_simulated_pattern_follows() -> None:
    grid = grid_of(crystal(), (1, 1, 1))
    found = framed(Exposure(exposure(amplitude()).counts, grid), (20, 24, 22))
    assert found.grid is not None
    assert np.abs((found.grid.centre - grid.centre) @ np.linalg.inv(grid.step)).max() < 1.5


@pytest.mark.parametrize(
    ("shape", "binning", "line"),
    [
        ((7, 20, 20), None, "shape must have at least 8 voxels a side, got"),
        (None, (0, 1, 1), "binning must be at least 1"),
        (None, (1, 1, 4), "binning must be at least 1 and leave 8 voxels a side of"),
    ],
)
def test_a_frame_that_cannot_be_is_one_line(
    shape: tuple[int, int, int] | None, binning: tuple[int, int, int] | None, line: str
) -> None:
    with pytest.raises(ValueError, match=line):
        framed(off_centre(), shape, binning)
