"""Amplitude of the Bragg object in electrons: support and phase where the crystal is, then three matrix products.

Near a reflection ``F(G + q) = F_cell(|G + q|) / V_cell ∫ s(r) exp(iG·u(r)) exp(iq·r) dr``. The integral is a
sum over voxels of the dual lattice, refined so that sharp facets alias less. Only the box that the
crystal fills enters the transform, only the grid's own q leave it, and the displacement is evaluated
within the support alone. Differentiable with respect to the tensors of shape and defects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cdi.crystal import Crystal
from cdi.fourier import axis_matrix, partial_transform
from cdi.grid import QGrid
from cdi.pattern import Reflection
from cdi.scattering.bragg_object import Array, check_oversampling, scattering_fraction, shape_fraction, voxel_width
from cdi.scattering.model import ScatteringModel
from cdi.scattering.structure_factor import structure_factor_nodes

View = tuple[Reflection, QGrid]

REAL = {"double": torch.float64, "single": torch.float32}
COMPLEX = {"double": torch.complex128, "single": torch.complex64}
POINTS_AT_ONCE = {"cpu": 2**16, "cuda": 2**24}
"""Points whose fields are evaluated together: what a processor's cache, or a GPU's memory, holds."""


def object_amplitudes(
    crystal: Crystal,
    views: Sequence[View],
    *,
    model: ScatteringModel | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, ...]:
    """Amplitude of ``crystal`` for each (reflection, grid), of the grid's shape, in electrons.

    Views whose grids share their voxels share one displacement field. Complex of the model's precision.

    Raises
    ------
    ValueError
        If the crystal is oversampled less than twice along an axis of a grid.
    """
    chosen = model or ScatteringModel()
    boxes: list[_Box] = []
    for _, grid in views:
        if not any(box.serves(grid) for box in boxes):
            reach = check_oversampling(crystal.shape, grid)
            boxes.append(_Box(crystal, grid, chosen, torch.device(device), reach))
    return tuple(
        next(box for box in boxes if box.serves(grid)).amplitude(reflection, grid) for reflection, grid in views
    )


def bragg_amplitude(
    crystals: Sequence[Crystal],
    grids: Sequence[QGrid],
    reflections: Sequence[Reflection],
    *,
    model: ScatteringModel | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Amplitude ``(batch, x, y, z)`` in electrons of a batch of crystals, one reflection each, on grids of one shape.

    See ``object_amplitudes`` for several reflections of one crystal.
    """
    return torch.stack(
        [
            object_amplitudes(crystal, [(reflection, grid)], model=model, device=device)[0]
            for crystal, grid, reflection in zip(crystals, grids, reflections, strict=True)
        ]
    )


@dataclass(frozen=True, eq=False)
class _Box:
    """The refined voxels that a crystal fills, and the fields on those within its support.

    ``reach`` is the shape's, in voxels of ``grid``.
    """

    crystal: Crystal
    grid: QGrid
    model: ScatteringModel
    device: torch.device
    reach: tuple[Array, Array]

    def serves(self, grid: QGrid) -> bool:
        """Whether ``grid`` has the same voxels."""
        return self.grid.shape == grid.shape and np.array_equal(self.grid.step, grid.step)

    @cached_property
    def voxel(self) -> Array:
        """Refined voxel vectors ``(3, 3)`` in Å."""
        return self.grid.voxel / self.model.supersampling

    @cached_property
    def width(self) -> float:
        """Mean width in Å of a refined voxel: that of the soft boundary."""
        return voxel_width(self.grid, self.model.supersampling)

    @cached_property
    def index(self) -> tuple[Tensor, Tensor, Tensor]:
        """Voxel numbers along each axis that the shape and half a voxel of soft boundary reach, 0 at the origin."""
        # A sharp corner is softened beyond half a voxel.
        margin = self.width * np.linalg.norm(np.linalg.inv(self.voxel), axis=0)
        low, high = (self.model.supersampling * bound for bound in self.reach)
        x, y, z = (
            torch.arange(int(a), int(b) + 1, dtype=torch.float64, device=self.device)
            for a, b in zip(np.ceil(low - margin), np.floor(high + margin), strict=True)
        )
        return x, y, z

    @cached_property
    def fields(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of the voxels inside: place in the flat box ``(n,)``, points ``(n, 3)``, fraction ``(n,)``, u ``(n, 3)``."""
        x, y, z = self.index
        slab = max(1, POINTS_AT_ONCE.get(self.device.type, 2**20) // (len(y) * len(z)))
        parts = [self._slab_fields(start, x[start : start + slab]) for start in range(0, len(x), slab)]
        place, points, fraction, displacement = (torch.cat(column) for column in zip(*parts, strict=True))
        return place, points, fraction, displacement

    def _slab_fields(self, start: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        _, y, z = self.index
        a, b, c = torch.as_tensor(self.voxel, device=self.device)
        dtype = REAL[self.model.precision]
        plane = (y[:, None, None] * b + z[:, None] * c).reshape(-1, 3).to(dtype)
        points = ((x[:, None] * a).to(dtype)[:, None] + plane).reshape(-1, 3)
        fraction = shape_fraction(self.crystal.shape, points, self.width)
        inside = fraction.detach().nonzero()[:, 0]
        kept = points[inside]
        place = inside + start * len(y) * len(z)
        return place, kept, fraction[inside], self.crystal.displacement(kept)

    def amplitude(self, reflection: Reflection, grid: QGrid) -> Tensor:
        """Amplitude of the grid's shape, in electrons, of a grid with these voxels."""
        place, points, fraction, displacement = self.fields
        G = self.crystal.reflection_vector(reflection)
        phase = displacement @ torch.as_tensor(G, device=self.device).to(displacement)
        density = torch.polar(fraction * scattering_fraction(self.crystal, points, G, self.width), phase)
        shape = tuple(len(axis) for axis in self.index)
        box = density.new_zeros(int(np.prod(shape))).index_put((place,), density).reshape(shape)
        transformed = partial_transform(box, self._axes(grid.centre - G, grid))
        return transformed * self._electrons(reflection, grid)

    def _electrons(self, reflection: Reflection, grid: QGrid) -> Tensor:
        """``F_cell(|Q|) / V_cell`` times the volume of a voxel, of the grid's shape."""
        lattice = self.crystal.lattice
        values, matrices = structure_factor_nodes(lattice, reflection, grid, self.model)
        scale = abs(float(np.linalg.det(self.voxel))) / lattice.cell_volume
        x, y, z = (torch.as_tensor(m, device=self.device).to(COMPLEX[self.model.precision]) for m in matrices)
        return partial_transform(torch.as_tensor(values * scale, device=self.device).to(x), (x, y, z))

    def _axes(self, offset: Array, grid: QGrid) -> tuple[Tensor, Tensor, Tensor]:
        """Matrices of the transform; the ramp of a grid centred ``offset`` (3,) Å⁻¹ beside G shifts its modes."""
        ramp = self.voxel @ offset / (2 * np.pi)
        x, y, z = (
            axis_matrix(
                (torch.arange(n, dtype=torch.float64, device=self.device) - n // 2) / (self.model.supersampling * n)
                + shift,
                points,
            ).to(COMPLEX[self.model.precision])
            for n, shift, points in zip(grid.shape, ramp, self.index, strict=True)
        )
        return x, y, z
