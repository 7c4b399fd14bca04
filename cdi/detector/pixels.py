"""Pixels that do not count, count too much, or stop counting: the same ones in every frame.

Masks are bool, True where a voxel was measured, as in ``Exposure``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cdi.requirements import require, require_positive, require_within


@dataclass(frozen=True)
class Gaps:
    """Gaps between the modules of a detector, as the window sees them.

    Parameters
    ----------
    module : (rows, columns) of pixels in one module.
    gap : (rows, columns) of missing pixels between two modules.
    first : (row, column) of the detector at which the window starts; the detector repeats without end.

    Raises
    ------
    ValueError
        For an empty module, or a negative gap or first pixel.
    """

    module: tuple[int, int]
    gap: tuple[int, int]
    first: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        require(min(self.module) >= 1, "module", "hold at least one pixel each way", self.module)
        require(min(self.gap) >= 0, "gap", "not be negative", self.gap)
        require(min(self.first) >= 0, "first", "not be negative", self.first)


@dataclass(frozen=True)
class Beamstop:
    """A disc that shadows the brightest part of every frame.

    ``radius_pixels`` is positive; ``offset`` (rows, columns) counts from the window's pixel N // 2.
    """

    radius_pixels: float
    offset: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        require_positive(self, "radius_pixels")


@dataclass(frozen=True)
class HotPixels:
    """Pixels that count on their own: a ``fraction`` of all, ``counts`` on average in each frame.

    ``masked`` tells whether the mask knows them.
    """

    fraction: float
    counts: float
    masked: bool = True

    def __post_init__(self) -> None:
        require_within(self, 0, 1, "fraction")
        require_positive(self, "counts")


@dataclass(frozen=True)
class DeadPixels:
    """Pixels that count nothing: a ``fraction`` of all; ``masked`` tells whether the mask knows them."""

    fraction: float
    masked: bool = True

    def __post_init__(self) -> None:
        require_within(self, 0, 1, "fraction")


@dataclass(frozen=True)
class Saturation:
    """The most ``counts`` that a voxel can hold; ``masked`` tells whether voxels that reached it are masked.

    A frame summed from n readouts saturates at n times the counter's depth.
    """

    counts: float
    masked: bool = True

    def __post_init__(self) -> None:
        require_positive(self, "counts")


def between_gaps(shape: tuple[int, int], gaps: Gaps, device: torch.device | str = "cpu") -> Tensor:
    """Mask ``(1, rows, columns)`` of a window of ``shape`` (rows, columns): False in the gaps."""
    rows, columns = (
        (torch.arange(first, first + n, device=device) % (module + gap)) < module
        for n, module, gap, first in zip(shape, gaps.module, gaps.gap, gaps.first, strict=True)
    )
    return (rows[:, None] & columns)[None]


def beside_beamstop(shape: tuple[int, int], beamstop: Beamstop, device: torch.device | str = "cpu") -> Tensor:
    """Mask ``(1, rows, columns)`` of a window of ``shape`` (rows, columns): False in the disc's shadow."""
    rows, columns = (
        torch.arange(n, dtype=torch.float64, device=device) - n // 2 - offset
        for n, offset in zip(shape, beamstop.offset, strict=True)
    )
    return (rows[:, None] ** 2 + columns**2 > beamstop.radius_pixels**2)[None]


def random_pixels(like: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """Pixels ``(..., 1, rows, columns)`` of each pattern in ``like``, chosen with probability ``fraction`` each."""
    shape = (*like.shape[:-3], 1, *like.shape[-2:])
    return torch.rand(shape, dtype=torch.float64, device=like.device, generator=generator) < fraction


def hot_pixels(counts: Tensor, hot: Tensor, level: float, generator: torch.Generator) -> Tensor:
    """``counts`` with ``level`` more, Poisson in each frame, in the pixels ``hot`` (..., 1, rows, columns)."""
    return counts + torch.poisson((level * hot).to(counts.dtype).expand_as(counts), generator=generator)


def dead_pixels(counts: Tensor, dead: Tensor) -> Tensor:
    """``counts`` with none in the pixels ``dead`` (..., 1, rows, columns)."""
    return counts * ~dead


def saturation(counts: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """``counts`` cut at ``level``, and the mask of voxels that stayed below it."""
    return counts.clamp(max=level), counts < level
