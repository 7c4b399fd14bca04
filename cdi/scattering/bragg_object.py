"""The Bragg object ``s(r) exp(iG·u(r))`` on the voxels dual to a q-grid, and its amplitude.

Valid while q·u is small against 1 for the q of the grid: the atoms' route
(``cdi.scattering``) carries the exact Q·u. Batched over the leading dimension; runs on the
device it is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cdi.crystal import Crystal
from cdi.fourier import amplitude_from_object, centre_crop, centre_pad
from cdi.grid import QGrid
from cdi.pattern import Reflection


@dataclass(frozen=True)
class BraggObject:
    """A batch of crystals as one reflection each sees them.

    Parameters
    ----------
    support : (batch, x, y, z)
        Fraction of each voxel inside the crystal, in [0, 1].
    phase : (batch, x, y, z)
        ``+G·u`` plus the ramp of an off-centre grid, in radians.
    """

    support: Tensor
    phase: Tensor

    @property
    def density(self) -> Tensor:
        """Complex object ``s exp(iφ)``."""
        return torch.polar(self.support, self.phase)


def voxel_points(grid: QGrid, shape: tuple[int, int, int], *, supersampling: int = 1) -> np.ndarray:
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
    """Objects on the central half of the dual voxels (all that an oversampling ≥ 2 leaves).

    ``supersampling`` refines every voxel by that factor per axis. The boundary crosses a voxel
    linearly over its mean width.

    Raises
    ------
    ValueError
        If a crystal fills more than half of its grid along an axis (oversampling below 2).
    """
    supports, phases = [], []
    for crystal, grid, reflection in zip(crystals, grids, reflections, strict=True):
        _check_oversampling(crystal, grid)
        half = tuple(supersampling * n // 2 for n in grid.shape)
        points = torch.as_tensor(
            voxel_points(grid, (half[0], half[1], half[2]), supersampling=supersampling), device=device
        )
        width = float(abs(np.linalg.det(grid.voxel))) ** (1 / 3) / supersampling
        supports.append(_support(crystal, points, width, crystal.reflection_vector(reflection)))
        G = crystal.reflection_vector(reflection)
        offset = torch.as_tensor(grid.centre - G, device=device)
        phases.append(crystal.displacement(points) @ torch.as_tensor(G, device=device) + points @ offset)
    return BraggObject(torch.stack(supports), torch.stack(phases))


def bragg_amplitude(crystals: Sequence[Crystal], grids: Sequence[QGrid], reflections: Sequence[Reflection], *,
                    supersampling: int = 2, device: torch.device | str = "cpu") -> Tensor:  # fmt: skip
    """Amplitude ``(batch, x, y, z)`` complex64 of the Bragg objects on their grids.

    Relative units: the sum over voxels of s exp(iφ) exp(iq·r). With ``supersampling`` > 1 the
    transform runs on finer voxels and keeps the central q, so that sharp facets alias less.
    """
    shape = grids[0].shape
    obj = bragg_object(crystals, grids, reflections, supersampling=supersampling, device=device)
    fine = (supersampling * shape[0], supersampling * shape[1], supersampling * shape[2])
    padded = centre_pad(obj.density.to(torch.complex64), fine)
    return centre_crop(amplitude_from_object(padded), shape) / supersampling**3


def _support(crystal: Crystal, points: Tensor, width: float, G: np.ndarray) -> Tensor:
    """Fraction of each voxel that holds atoms which scatter near ``G``."""
    support = (0.5 - crystal.shape.signed_distance(points) / width).clamp(0, 1)
    for defect in crystal.defects:
        for fraction in (defect.occupancy(points), defect.in_reflection(points, G)):
            support = support if fraction is None else support * fraction
    return support


def _check_oversampling(crystal: Crystal, grid: QGrid) -> None:
    """The rotated shape must be oversampled twice and lie within the central half, up to half a voxel."""
    low, high = crystal.shape.reach(np.asarray(np.linalg.inv(grid.voxel).T, np.float64))
    shape = np.asarray(grid.shape)
    ratio = shape / (high - low)
    if ratio.min() < 2:
        raise ValueError(
            f"oversampling must be at least 2 along every axis after rotation, got {ratio.round(2).tolist()}"
        )
    beyond = np.maximum(-low, high) - shape / 4
    if beyond.max() > 0.5:
        raise ValueError(
            f"the crystal must lie within the central half of the grid on both sides of its centroid; "
            f"it reaches {beyond.max():.1f} voxels beyond: oversample a lopsided shape more"
        )
