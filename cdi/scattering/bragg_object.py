"""The Bragg object ``s(r) exp(iG·u(r))`` on the voxels dual to a q-grid, as a volume.

Valid while q·u is small against 1 for the q of the grid: the atoms' route carries the exact Q·u.
``object_amplitude`` turns it into a pattern.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.crystal import Crystal
from cdi.grid import QGrid
from cdi.pattern import Reflection
from cdi.shapes.shape import Shape

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BraggObject:
    """A batch of crystals as one reflection each sees them.

    Parameters
    ----------
    support : (batch, x, y, z)
        Fraction of each voxel inside the crystal that scatters, in [0, 1].
    phase : (batch, x, y, z)
        ``+G·u`` plus the ramp of an off-centre grid, in radians.
    displacement : (batch, x, y, z, 3)
        u in Å, laboratory frame, of the medium; not cut at the support.
    """

    support: Tensor
    phase: Tensor
    displacement: Tensor

    @property
    def density(self) -> Tensor:
        """Complex object ``s exp(iφ)``."""
        return torch.polar(self.support, self.phase)


def voxel_points(grid: QGrid, shape: tuple[int, int, int], *, supersampling: int = 1) -> Array:
    """Centres ``(x, y, z, 3)`` in Å of a central box of ``shape`` voxels of the dual lattice."""
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij"), -1)
    return np.asarray(index @ (grid.voxel / supersampling))


def bragg_object(
    crystals: Sequence[Crystal],
    grids: Sequence[QGrid],
    reflections: Sequence[Reflection],
    *,
    supersampling: int = 1,
    device: torch.device | str = "cpu",
) -> BraggObject:
    """Objects on the central half of the dual voxels (all that an oversampling ≥ 2 leaves), in float64.

    ``supersampling`` refines every voxel by that factor per axis. The boundary crosses a voxel
    linearly over its mean width.

    Raises
    ------
    ValueError
        If a crystal fills more than half of its grid along an axis (oversampling below 2).
    """
    objects = [
        bragg_object_of_views(crystal, [(reflection, grid)], supersampling=supersampling, device=device)
        for crystal, grid, reflection in zip(crystals, grids, reflections, strict=True)
    ]
    return BraggObject(
        torch.cat([obj.support for obj in objects]),
        torch.cat([obj.phase for obj in objects]),
        torch.cat([obj.displacement for obj in objects]),
    )


def bragg_object_of_views(
    crystal: Crystal,
    views: Sequence[tuple[Reflection, QGrid]],
    *,
    supersampling: int = 1,
    device: torch.device | str = "cpu",
) -> BraggObject:
    """One crystal as each (reflection, grid) sees it: a batch of views on one displacement field.

    See ``bragg_object``.

    Raises
    ------
    ValueError
        If the grids do not share their voxels, or the crystal fills more than half of them along an axis.
    """
    grid = views[0][1]
    for _, other in views:
        if other.shape != grid.shape or not np.array_equal(other.step, grid.step):
            raise ValueError(
                f"views must share shape and step of their grids, got {grid.shape}, {grid.step.tolist()} "
                f"and {other.shape}, {other.step.tolist()}"
            )
    check_oversampling(crystal.shape, grid)
    x, y, z = (supersampling * n // 2 for n in grid.shape)
    points = torch.as_tensor(voxel_points(grid, (x, y, z), supersampling=supersampling), device=device)
    width = voxel_width(grid, supersampling)
    inside, displacement = shape_fraction(crystal.shape, points, width), crystal.displacement(points)
    supports, phases = [], []
    for reflection, view in views:
        G = crystal.reflection_vector(reflection)
        offset = torch.as_tensor(view.centre - G, device=device)
        supports.append(inside * scattering_fraction(crystal, points, G, width))
        phases.append(displacement @ torch.as_tensor(G, device=device) + points @ offset)
    return BraggObject(torch.stack(supports), torch.stack(phases), displacement.expand(len(views), *displacement.shape))


def voxel_numbers(grid: QGrid) -> Array:
    """Axes ``(3, 3)`` whose row i gives the voxel number ``axis · r`` along axis i: the inverse of ``grid.voxel``."""
    return grid.step * (np.asarray(grid.shape)[:, None] / (2 * np.pi))


def voxel_width(grid: QGrid, supersampling: int) -> float:
    """Mean width in Å of a voxel refined by ``supersampling`` per axis."""
    return float(abs(np.linalg.det(grid.voxel)) ** (1 / 3) / supersampling)


def shape_fraction(shape: Shape, points: Tensor, width: float) -> Tensor:
    """Fraction ``(...)`` of the voxels around ``points`` (..., 3), of a ``width`` in Å, inside ``shape``."""
    return (0.5 - shape.signed_distance(points) / width).clamp(0, 1)


def scattering_fraction(crystal: Crystal, points: Tensor, G: Array, width: float) -> Tensor:
    """Fraction ``(...)`` of the sites in voxels of ``width`` Å around ``points`` whose atom scatters near ``G``."""
    fraction = torch.ones_like(points[..., 0])
    for defect in crystal.defects:
        for part in (defect.occupancy(points, width), defect.in_reflection(points, G, width)):
            fraction = fraction if part is None else fraction * part
    return fraction


def check_oversampling(shape: Shape, grid: QGrid) -> tuple[Array, Array]:
    """Least and greatest voxel number ``(3,)`` that ``shape`` reaches along each axis, 0 at the origin.

    The rotated shape must be oversampled twice and lie within the central half, up to half a voxel.

    Raises
    ------
    ValueError
        If it does not.
    """
    size = np.asarray(grid.shape)
    low, high = shape.reach(voxel_numbers(grid))
    ratio = size / (high - low)
    if ratio.min() < 2:
        raise ValueError(
            f"oversampling must be at least 2 along every axis after rotation, got {ratio.round(2).tolist()}"
        )
    beyond = np.maximum(-low, high) - size / 4
    if beyond.max() > 0.5:
        raise ValueError(
            f"the crystal must lie within the central half of the grid on both sides of its centroid; "
            f"it reaches {beyond.max():.1f} voxels beyond: oversample a lopsided shape more"
        )
    return low, high
