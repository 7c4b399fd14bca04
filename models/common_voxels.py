"""Reflections of one crystal, measured on grids of their own, on q steps in common: hence on one real-space voxel grid.

A pattern is known between its samples, since its autocorrelation ends at twice the crystal: splines read it there. The
density of photons in q is interpolated, not the count of a voxel, which depends on the voxel's size. Free of torch.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, distance_transform_edt, spline_filter

from cdi.grid import QGrid
from cdi.pattern import Exposure
from models.preprocess import SAME_STEP

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SPLINE_ORDER = 5
"""A cubic spline takes 6 % off the edge of the autocorrelation at an oversampling of 3, a quintic one 2 %."""
TOUCHED = 1e-3
"""Share of unmeasured voxels in an interpolated one beyond which it counts as unmeasured."""


def to_common_voxels(exposures: Sequence[Exposure]) -> tuple[Exposure, ...]:
    """The exposures with the q steps of the first one, each around its own centre voxel.

    An exposure on those steps is returned as it is. The photon number is kept, but for what lies in or beside gaps and
    beyond the edges. What is lost: counts of neighbouring voxels are no longer independent, nor whole numbers; where
    the crystal is oversampled barely twice, its farthest pairs of points lose up to half of their say; a voxel is
    unmeasured where any voxel that it is read from is.

    Parameters
    ----------
    exposures : sequence of Exposure
        In one frame: scattering vectors of the crystal as it lies, whatever circles turned it to its reflection.

    Raises
    ------
    ValueError
        If there is none, or several come without a grid.
    """
    if not exposures:
        raise ValueError("a crystal must have at least one exposure, got none")
    if len(exposures) == 1:
        return tuple(exposures)
    grids = [exposure.grid for exposure in exposures if exposure.grid is not None]
    if len(grids) < len(exposures):
        raise ValueError("several reflections of one crystal must each come with their q-grid, got one without")
    step = grids[0].step
    return tuple(
        exposure if _same(grid.step, step) else _on_step(exposure, grid, step)
        for exposure, grid in zip(exposures, grids, strict=True)
    )


def _same(step: Array, wanted: Array) -> bool:
    return bool(np.abs(step - wanted).max() <= SAME_STEP * np.abs(wanted).max())


def _on_step(exposure: Exposure, grid: QGrid, step: Array) -> Exposure:
    # Row i: the target's step along axis i in voxels of the source.
    turn = step @ np.linalg.inv(grid.step)
    shape = _covering(grid.shape, np.linalg.inv(turn))
    measured = np.ones(grid.shape, bool) if exposure.mask is None else exposure.mask
    # Near a gap a spline would ring from a step down to zero: the nearest counts stand in.
    nearest = distance_transform_edt(~measured, return_distances=False, return_indices=True)
    photons = spline_filter(exposure.counts[tuple(nearest)].astype(np.float64), SPLINE_ORDER)
    parts = np.maximum(1, np.rint(np.abs(turn).max(1))).astype(int)
    within = [(np.arange(n) + 0.5) / n - 0.5 for n in parts]
    counts, unmeasured = np.zeros(shape), np.zeros(shape, np.float32)
    # A voxel that spans several of the source's gathers them: it holds all of their photons.
    for inside in product(*within):
        offset = np.asarray(grid.shape) // 2 + (np.asarray(inside) - np.asarray(shape) // 2) @ turn
        counts += affine_transform(photons, turn.T, offset, shape, order=SPLINE_ORDER, prefilter=False)
        share = affine_transform((~measured).astype(np.float32), turn.T, offset, shape, order=1, cval=1.0)
        unmeasured = np.maximum(unmeasured, share)
    known = unmeasured <= TOUCHED
    volume = abs(float(np.linalg.det(turn))) / float(np.prod(parts))
    found = np.where(known, np.maximum(counts * volume, 0), 0).astype(np.float32)
    return Exposure(found, QGrid(grid.centre, step, shape), None if known.all() else known)


def _covering(shape: tuple[int, int, int], back: Array) -> tuple[int, int, int]:
    """Even sides of the least box around index ``N // 2`` that holds every voxel of ``shape``."""
    ends = [(-(n // 2), n - 1 - n // 2) for n in shape]
    reach = np.abs(np.array(list(product(*ends))) @ back).max(0)
    # 1e-9: an axis that is met exactly needs no voxel more.
    half = np.maximum(np.ceil(reach - 1e-9).astype(int), 4)
    return (2 * int(half[0]), 2 * int(half[1]), 2 * int(half[2]))
