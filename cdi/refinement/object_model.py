"""The free object: a complex density on every voxel of a support, and its pattern.

F(m) = Σ density(n) exp(+2πi m·n/N) over the support's own box, by three matrix products (``cdi.fourier``).
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cdi.fourier import axis_matrix, partial_transform


@dataclass(frozen=True, eq=False)
class Box:
    """The voxels of a support within a pattern's array, and the transform from them to the pattern.

    Parameters
    ----------
    shape : voxels of the pattern.
    bounds : first voxel of the array along each axis that is in the box, and the one after the last.
    inside : bool, of the box's own shape.

    Raises
    ------
    ValueError
        By ``around``: for a support that is empty, of another shape, or more than half of the array along an axis.
    """

    shape: tuple[int, int, int]
    bounds: tuple[tuple[int, int], ...]
    inside: Tensor
    axes: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def around(cls, support: Tensor, shape: tuple[int, int, int]) -> "Box":
        """The box of a bool ``support`` (x, y, z), origin at ``N // 2``."""
        if tuple(support.shape) != tuple(shape):
            raise ValueError(f"support must have the shape of the patterns {tuple(shape)}, got {tuple(support.shape)}")
        if not bool(support.any()):
            raise ValueError("support must hold at least one voxel, got none")
        place = support.nonzero()
        low, high = place.amin(0).tolist(), (place.amax(0) + 1).tolist()
        extent = [b - a for a, b in zip(low, high, strict=True)]
        if any(2 * length > n for length, n in zip(extent, shape, strict=True)):
            raise ValueError(
                f"support must fill at most half of the array along every axis, got {extent} of {list(shape)} voxels"
            )
        x, y, z = (_axis(n, a, b, support.device) for n, a, b in zip(shape, low, high, strict=True))
        bounds = tuple(zip(low, high, strict=True))
        return cls(shape, bounds, support[tuple(slice(a, b) for a, b in bounds)], (x, y, z))

    def amplitude(self, density: Tensor) -> Tensor:
        """``(..., *shape)`` of a complex128 ``density`` (..., box)."""
        return partial_transform(density, self.axes)

    def intensity(self, density: Tensor) -> Tensor:
        """|F|² of a ``density``."""
        real, imaginary = torch.view_as_real(self.amplitude(density)).unbind(-1)
        return real.square() + imaginary.square()

    @cached_property
    def _place(self) -> Tensor:
        """Of the voxels inside, counted through the box: to look for them holds a GPU up."""
        return self.inside.flatten().nonzero()[:, 0]

    def spread(self, values: Tensor) -> Tensor:
        """``values`` (reflections, voxels inside) on the box, zeros elsewhere."""
        flat = values.new_zeros(len(values), self.inside.numel())
        return flat.index_copy(1, self._place, values).reshape(len(values), *self.inside.shape)

    def cut(self, volume: Tensor) -> Tensor:
        """The box of a ``volume`` (..., *shape)."""
        x, y, z = (slice(a, b) for a, b in self.bounds)
        return volume[..., x, y, z]

    def embedded(self, volume: Tensor) -> Tensor:
        """``volume`` (..., box) within zeros of the array."""
        whole = volume.new_zeros((*volume.shape[:-3], *self.shape))
        self.cut(whole).copy_(volume)
        return whole

    def points(self) -> Tensor:
        """Voxel numbers ``(*box, 3)`` counted from the origin, float64."""
        x, y, z = (
            torch.arange(a, b, dtype=torch.float64, device=self.inside.device) - n // 2
            for (a, b), n in zip(self.bounds, self.shape, strict=True)
        )
        return torch.stack(torch.meshgrid(x, y, z, indexing="ij"), -1)


class FreeObject:
    """A complex number on every voxel of the support, started at ``density`` (reflections, box)."""

    def __init__(self, box: Box, density: Tensor) -> None:
        self.box = box
        values = density[:, box.inside].to(torch.complex128)
        self.scale = values.abs().mean().clamp_min(1e-300)
        self.parts = torch.view_as_real(values / self.scale).clone().requires_grad_()

    def parameters(self) -> list[Tensor]:
        """Real and imaginary parts."""
        return [self.parts]

    def density(self) -> Tensor:
        """Complex ``(reflections, box)``."""
        return self.box.spread(self.scale * torch.view_as_complex(self.parts))


def _axis(n: int, low: int, high: int, device: torch.device) -> Tensor:
    numbers = torch.arange(n, dtype=torch.float64, device=device) - n // 2
    return axis_matrix(numbers / n, numbers[low:high])
