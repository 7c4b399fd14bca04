"""Binning and cropping of volumes, and the grids that go with them.

Index ``N // 2`` stays the voxel that ``QGrid.centre`` names, before and after; what moves is the
scattering vector there.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.grid import QGrid
from cdi.requirements import require

Shape = tuple[int, int, int]


def binned(volume: Tensor, factors: Shape) -> Tensor:
    """Blocks of ``factors`` voxels of the last three axes as one: counts add, a bool mask ands.

    Raises
    ------
    ValueError
        If the factors are not positive divisors of the volume's shape.
    """
    x, y, z = _divisors(tuple(volume.shape[-3:]), factors)
    frames, rows, columns = volume.shape[-3:]
    blocks = volume.reshape(*volume.shape[:-3], frames // x, x, rows // y, y, columns // z, z)
    if volume.dtype == torch.bool:
        return blocks.all(-1).all(-2).all(-3)
    return blocks.sum((-5, -3, -1))


def binned_grid(grid: QGrid, factors: Shape) -> QGrid:
    """Grid of a binned volume: longer steps, its voxel N // 2 in the middle of that block.

    Raises
    ------
    ValueError
        As ``binned``.
    """
    factor = np.asarray(_divisors(grid.shape, factors))
    old, new = np.asarray(grid.shape), np.asarray(grid.shape) // factor
    middle = (new // 2) * factor + (factor - 1) / 2
    return QGrid(grid.centre + (middle - old // 2) @ grid.step, grid.step * factor[:, None], _shape(new))


def cropped(volume: Tensor, shape: Shape, offset: Shape = (0, 0, 0)) -> Tensor:
    """The window of ``shape`` in the last three axes whose voxel N // 2 lies ``offset`` voxels from the volume's.

    Raises
    ------
    ValueError
        If the window does not lie within the volume.
    """
    x, y, z = _window(tuple(volume.shape[-3:]), shape, offset)
    return volume[..., x, y, z]


def cropped_grid(grid: QGrid, shape: Shape, offset: Shape = (0, 0, 0)) -> QGrid:
    """Grid of a cropped volume.

    Raises
    ------
    ValueError
        As ``cropped``.
    """
    _window(grid.shape, shape, offset)
    return QGrid(grid.centre + np.asarray(offset) @ grid.step, grid.step, shape)


def _window(old: Sequence[int], new: Shape, offset: Shape) -> list[slice]:
    starts = [n // 2 + o - m // 2 for n, m, o in zip(old, new, offset, strict=True)]
    inside = all(m >= 1 and s >= 0 and s + m <= n for n, m, s in zip(old, new, starts, strict=True))
    require(inside, "crop (shape, offset)", f"lie within the volume {tuple(old)}", (new, offset))
    return [slice(s, s + m) for s, m in zip(starts, new, strict=True)]


def _divisors(shape: Sequence[int], factors: Shape) -> Shape:
    fits = len(factors) == 3 and all(f >= 1 and n % f == 0 for n, f in zip(shape, factors, strict=True))
    require(fits, "binning", f"be positive divisors of the shape {tuple(shape)}", factors)
    return factors


def _shape(values: NDArray[np.int64]) -> Shape:
    return int(values[0]), int(values[1]), int(values[2])
