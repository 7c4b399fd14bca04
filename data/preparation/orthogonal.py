"""From the sheared grid of a rocking curve to one along the laboratory's axes, by interpolation. Free of torch.

The density of photons in q is interpolated, and the counts of a voxel are that density times its volume. What is lost:
counts are no whole numbers any more, and neighbours no longer independent; phasing and the network take the sheared
grid as it is, so this is for programs that cannot.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, distance_transform_edt, spline_filter

from cdi.grid import MAX_VOXELS, QGrid
from cdi.pattern import Exposure

SPLINE_ORDER = 3
TOUCHED = 1e-3
"""Share of unmeasured voxels in an interpolated one beyond which it counts as unmeasured."""


def orthogonal(exposure: Exposure, step: float | None = None) -> Exposure:
    """``exposure`` on the axes x, y, z of the laboratory, around the same centre voxel.

    Parameters
    ----------
    exposure : with its grid.
    step : of the new grid in Å⁻¹ along every axis; None: the least extent of a voxel of the old one.

    Raises
    ------
    ValueError
        If the grid is unknown, the step is not positive, or the volume would be too large.
    """
    grid = exposure.grid
    if grid is None:
        raise ValueError("orthogonal axes need the geometry: give --spec, --scan or --geometry")
    size = step if step is not None else float(np.linalg.norm(grid.step, axis=1).min())
    if not (np.isfinite(size) and size > 0):
        raise ValueError(f"step must be positive in Å⁻¹, got {step}")
    shape = _covering(grid, size)
    turn = size * np.linalg.inv(grid.step)
    offset = np.asarray(grid.shape) // 2 - (np.asarray(shape) // 2) @ turn
    measured = np.ones(grid.shape, bool) if exposure.mask is None else exposure.mask
    # Near a gap a spline would ring from a step down to zero: the nearest counts stand in.
    nearest = distance_transform_edt(~measured, return_distances=False, return_indices=True)
    splines = spline_filter(exposure.counts[tuple(nearest)].astype(np.float64), SPLINE_ORDER)
    counts = affine_transform(splines, turn.T, offset, shape, order=SPLINE_ORDER, prefilter=False)
    gap = affine_transform((~measured).astype(np.float32), turn.T, offset, shape, order=1, cval=1.0)
    known: NDArray[np.bool_] = gap <= TOUCHED
    found = np.where(known, np.maximum(counts * abs(float(np.linalg.det(turn))), 0), 0)
    return Exposure(
        found.astype(np.float32), QGrid(grid.centre, np.eye(3) * size, shape), None if known.all() else known
    )


def _covering(grid: QGrid, size: float) -> tuple[int, int, int]:
    """Even sides of the box around index ``N // 2`` that holds every voxel of ``grid``."""
    ends = [(-(n // 2), n - 1 - n // 2) for n in grid.shape]
    reach = np.abs(np.array(list(product(*ends))) @ grid.step).max(0) / size
    half = np.maximum(np.ceil(reach - 1e-9), 4)
    if np.prod(2 * half) > MAX_VOXELS:
        raise ValueError(
            f"orthogonal axes must give at most {MAX_VOXELS} voxels, got {' × '.join(f'{2 * n:.0f}' for n in half)}; "
            "crop first (shape=[n,n,n]) or give a coarser step"
        )
    return 2 * int(half[0]), 2 * int(half[1]), 2 * int(half[2])
