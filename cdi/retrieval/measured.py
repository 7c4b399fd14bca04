"""Exposures as phase retrieval takes them, and what makes them unfit for it: said before any work."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.fourier import SPATIAL, origin_to_corner
from cdi.pattern import Exposure
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.free_voxels import free_voxels
from cdi.retrieval.support import autocorrelation, autocorrelation_extent, first_support

OVERLAP_LEVEL = 0.04
"""Of an autocorrelation that counts as overlapping itself: gaps in the pattern alone leave less."""
NOISE_DEVIATIONS, MOST_NOISE = 5.0, 0.3
"""Standard deviations of the noise that an autocorrelation must exceed, and the most that is asked of it."""


@dataclass(frozen=True)
class Measured:
    """Patterns of one shape, origin at index 0.

    ``counts`` (patterns, x, y, z) float64 photons, 0 where unmeasured; ``measured`` and ``free`` bool: the voxels
    with a count, and those of them held out. Runs are judged by ``counts`` and know ``seen`` of them.
    """

    counts: Tensor
    measured: Tensor
    free: Tensor

    @property
    def fitted(self) -> Tensor:
        """Voxels with a count that are not held out."""
        return self.measured & ~self.free

    @property
    def seen(self) -> Tensor:
        """``counts`` with the mean of its fitted neighbours in place of each held-out voxel."""
        fitted = self.fitted.to(self.counts)
        around = _neighbours(self.counts * fitted) / _neighbours(fitted).clamp(min=1)
        return torch.where(self.free, around, self.counts)

    @property
    def scale(self) -> Tensor:
        """Mean count of a fitted voxel ``(patterns, 1, 1, 1)``: what the iterations take as the unit of intensity."""
        return (self.counts * self.fitted).sum(SPATIAL, keepdim=True) / self.fitted.sum(SPATIAL, keepdim=True)


def measured_patterns(exposures: Sequence[Exposure], fraction: float, generator: torch.Generator) -> Measured:
    """``exposures``, with a random ``fraction`` of their voxels held out.

    Raises
    ------
    ValueError
        For no exposure, unequal shapes, or a mask that leaves nothing to hold out.
    """
    if not exposures:
        raise ValueError("exposures must hold at least one pattern, got none")
    shape = exposures[0].counts.shape
    for exposure in exposures:
        if exposure.counts.shape != shape:
            raise ValueError(f"exposures must have one shape, got {shape} and {exposure.counts.shape}")
    masks = [np.ones(shape, bool) if e.mask is None else np.asarray(e.mask, bool) for e in exposures]
    counts = [np.where(mask, e.counts, 0).astype(np.float64) for e, mask in zip(exposures, masks, strict=True)]
    photons = origin_to_corner(torch.as_tensor(np.stack(counts)))
    measured = origin_to_corner(torch.as_tensor(np.stack(masks)))
    return Measured(photons, measured, free_voxels(photons, measured, fraction, generator))


def check_shared_voxels(exposures: Sequence[Exposure]) -> None:
    """Raise ``ValueError`` unless the grids of ``exposures`` (where known) share their real-space voxels to 0.1 %."""
    grids = [exposure.grid for exposure in exposures if exposure.grid is not None]
    for grid in grids[1:]:
        difference = np.abs(grid.voxel - grids[0].voxel).max() / np.abs(grids[0].voxel).max()
        if difference > 1e-3:
            raise ValueError(
                f"exposures with a shared support must share their real-space voxels, got {100 * difference:.2g} % "
                "between two; resample them on one grid"
            )


def support_to_start(patterns: Measured, config: RetrievalConfig) -> Tensor:
    """First support ``(patterns, x, y, z)``, bool, from the autocorrelations.

    Raises
    ------
    ValueError
        If an autocorrelation fills the array along an axis: then it overlaps itself, and no phases follow.
    """
    seen = patterns.seen
    level = autocorrelation(seen)
    settings = config.shrink_wrap
    noise = _noise_level(seen)
    extent = autocorrelation_extent(level, noise.clamp(min=OVERLAP_LEVEL))
    shape = torch.tensor(level.shape[-3:])
    if bool((extent >= shape).any()):
        worst = extent[(extent >= shape).any(-1)][0].tolist()
        raise ValueError(
            "support must fill at most half of the array along every axis (oversampling 2), got an autocorrelation "
            f"over {worst} of {shape.tolist()} voxels; measure in finer steps or bin less"
        )
    return first_support(level, noise.clamp(min=settings.autocorrelation), settings.first_scale)


def _neighbours(volume: Tensor) -> Tensor:
    """Sum over 3 × 3 × 3 voxels around each of ``volume`` (patterns, x, y, z), periodic."""
    for axis in SPATIAL:
        volume = volume + volume.roll(1, axis) + volume.roll(-1, axis)
    return volume


def _noise_level(counts: Tensor) -> Tensor:
    """What photon noise leaves in an autocorrelation ``(patterns, 1, 1, 1)``: 1/√photons, some times over."""
    return (NOISE_DEVIATIONS / counts.sum((-3, -2, -1), keepdim=True).sqrt()).clamp(max=MOST_NOISE)


def checked_support(support: NDArray[np.bool_] | Tensor, shape: tuple[int, int, int]) -> Tensor:
    """A given ``support`` (x, y, z) with its origin at ``N // 2``, as bool with its origin at index 0.

    Raises
    ------
    ValueError
        If it has another shape, is empty, or fills more than half of the array along an axis.
    """
    inside = torch.as_tensor(support) > 0
    if tuple(inside.shape) != tuple(shape):
        raise ValueError(f"support must have the shape of the patterns {tuple(shape)}, got {tuple(inside.shape)}")
    if not bool(inside.any()):
        raise ValueError("support must hold at least one voxel, got none")
    place = inside.nonzero()
    extent = (place.amax(0) - place.amin(0) + 1).tolist()
    if any(2 * length > n for length, n in zip(extent, shape, strict=True)):
        raise ValueError(
            f"support must fill at most half of the array along every axis, got {extent} of {list(shape)} voxels"
        )
    return origin_to_corner(inside)
