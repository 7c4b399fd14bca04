"""Amplitude of the Bragg object in electrons: support and phase where the crystal is, then three matrix products.

Near a reflection ``F(G + q) = F_cell(|G + q|) / V_cell ∫ s(r) exp(iG·u(r)) exp(iq·r) dr``. The integral is a
sum over voxels of the dual lattice, refined so that sharp facets alias less. Only the box that the
crystal fills enters the transform, only the grid's own q leave it, and the displacement is evaluated
within the support alone. Differentiable with respect to the tensors of shape and defects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from cdi.crystal import Crystal
from cdi.fourier import axis_matrix, partial_transform
from cdi.grid import QGrid
from cdi.pattern import Reflection
from cdi.scattering.bragg_object import (
    Array,
    check_oversampling,
    scattering_fraction,
    shape_fraction,
    voxel_numbers,
    voxel_width,
)
from cdi.scattering.model import ScatteringModel
from cdi.scattering.structure_factor import chebyshev_nodes, structure_factor_nodes

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
    def bounds(self) -> list[tuple[int, int]]:
        """First voxel number, 0 at the origin, and the one after the last that shape and soft boundary reach."""
        # A sharp corner is softened beyond half a voxel.
        margin = self.width * self.model.supersampling * np.sqrt((voxel_numbers(self.grid) ** 2).sum(1))
        low, high = (self.model.supersampling * bound for bound in self.reach)
        first, last = np.ceil(low - margin), np.floor(high + margin)
        return [(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)]

    @cached_property
    def index(self) -> tuple[Tensor, Tensor, Tensor]:
        """Voxel numbers along each axis of the box."""
        x, y, z = (torch.arange(*bound, dtype=torch.float64, device=self.device) for bound in self.bounds)
        return x, y, z

    @cached_property
    def fields(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of the voxels inside: place in the flat box ``(n,)``, points ``(n, 3)``, fraction ``(n,)``, u ``(n, 3)``."""
        x, y, z = self.index
        slab = max(1, POINTS_AT_ONCE.get(self.device.type, 2**20) // (len(y) * len(z)))
        parts = [self._slab_fields(start, x[start : start + slab]) for start in range(0, len(x), slab)]
        if len(parts) == 1:
            return parts[0]
        place, points, fraction, displacement = (torch.cat(column) for column in zip(*parts, strict=True))
        return place, points, fraction, displacement

    def _slab_fields(self, start: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        _, y, z = self.index
        a, b, c = torch.as_tensor(self.voxel, device=self.device)[:, :, None]
        dtype = REAL[self.model.precision]
        plane = ((y * b)[:, :, None] + (z * c)[:, None]).to(dtype)
        # One plane of memory a component: sums over the three run along it.
        components = ((x * a).to(dtype)[:, :, None, None] + plane[:, None]).flatten(1)
        fraction = shape_fraction(self.crystal.shape, components.T, self.width)
        inside = _places(fraction.detach() > 0)
        kept = components.index_select(1, inside).T
        place = inside + start * len(y) * len(z)
        return place, kept, fraction.index_select(0, inside), self.crystal.displacement(kept)

    def amplitude(self, reflection: Reflection, grid: QGrid) -> Tensor:
        """Amplitude of the grid's shape, in electrons, of a grid with these voxels."""
        place, points, fraction, displacement = self.fields
        G = self.crystal.reflection_vector(reflection)
        phase = displacement @ torch.as_tensor(G, device=self.device).to(displacement)
        density = torch.polar(fraction * scattering_fraction(self.crystal, points, G, self.width), phase)
        shape = tuple(len(axis) for axis in self.index)
        box = density.new_zeros(int(np.prod(shape))).scatter(0, place, density).reshape(shape)
        transformed = partial_transform(box, self._axes(grid.centre - G, grid))
        transformed *= self._electrons(reflection, grid)
        return transformed

    def _electrons(self, reflection: Reflection, grid: QGrid) -> Tensor:
        """``F_cell(|Q|) / V_cell`` times the volume of a voxel, of the grid's shape."""
        lattice = self.crystal.lattice
        values = structure_factor_nodes(lattice, reflection, grid, self.model)
        values *= self.width**3 / lattice.cell_volume
        dtype = REAL[self.model.precision]
        # Real matrices spread real and imaginary part in half the time of complex ones.
        parts = torch.as_tensor(np.stack([values.real, values.imag]), device=self.device).to(dtype)
        x, y, z = (_spread(n, k, dtype, self.device) for n, k in zip(grid.shape, values.shape, strict=True))
        real, imaginary = partial_transform(parts, (x, y, z))
        return torch.complex(real, imaginary)

    def _axes(self, offset: Array, grid: QGrid) -> tuple[Tensor, Tensor, Tensor]:
        """Matrices of the transform; the ramp of a grid centred ``offset`` (3,) Å⁻¹ beside G shifts its modes."""
        x, y, z = (
            self._axis(n, float(shift), bound, points)
            for n, shift, bound, points in zip(grid.shape, self.voxel @ offset, self.bounds, self.index, strict=True)
        )
        return x, y, z

    def _axis(self, n: int, shift: float, bound: tuple[int, int], points: Tensor) -> Tensor:
        length = self.model.supersampling * n
        columns = _modes(n, length, self.device)[:, bound[0] + length : bound[1] + length]
        ramp = torch.exp(complex(0, shift) * points)
        return (columns * ramp).to(COMPLEX[self.model.precision])


@lru_cache(maxsize=32)
def _modes(n: int, length: int, device: torch.device) -> Tensor:
    """``exp(2πi m p/length)`` ``(n, 2 length)`` of modes −(n // 2) … and points −length …, complex128."""
    turns = (torch.arange(n, dtype=torch.float64, device=device) - n // 2) / length
    return axis_matrix(turns, torch.arange(-length, length, dtype=torch.float64, device=device))


@lru_cache(maxsize=64)
def _spread(n: int, nodes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Matrix ``(n, nodes)`` from a smooth factor on its nodes to the voxels of an axis."""
    return torch.as_tensor(chebyshev_nodes(n, nodes)[1], device=device).to(dtype)


def _places(inside: Tensor) -> Tensor:
    """Positions ``(n,)`` at which ``inside`` (m,) is True: on a processor numpy finds them in a tenth of the time."""
    if inside.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(inside.numpy()))
    return inside.nonzero()[:, 0]
