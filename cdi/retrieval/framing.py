"""An exposure of any size as phase retrieval wants it: peak in the middle, binned and cropped to good sizes.

Binning in q adds photons and shrinks the field of view in real space, which a finely measured pattern has to spare;
cropping coarsens the voxels of the object. Unmeasured voxels stay unmeasured, and so is what lies beyond the edge.
Free of torch.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.ndimage import uniform_filter

from cdi.grid import QGrid
from cdi.pattern import Exposure

Shape = tuple[int, int, int]

LEAST_OVERSAMPLING = 3.0
"""Binning stops before the object is oversampled less: shrink-wrap and partial coherence need room."""
AUTOCORRELATION_LEVEL = 0.03
"""Where |autocorrelation| is taken to end, relative to its maximum: above the floor of hot pixels and noise."""
HIDDEN_TAIL = 1.2
"""The object over its apparent extent: the ends of the autocorrelation stay below that level."""
LARGEST = 128
"""Longest side that is kept by default: finer detail is seldom measured, and time grows with the volume."""


def framed(exposure: Exposure, shape: Shape | None = None, binning: Shape | None = None) -> Exposure:
    """``exposure`` binned by ``binning`` and cropped to ``shape`` around its centre of mass.

    Raises
    ------
    ValueError
        If a side of ``shape`` is below 8, a ``binning`` below 1 or beyond the pattern.
    """
    factors = binning if binning is not None else _default_binning(exposure)
    if min(factors) < 1 or any(8 * f > n for f, n in zip(factors, exposure.counts.shape, strict=True)):
        raise ValueError(
            f"binning must be at least 1 and leave 8 voxels a side of {exposure.counts.shape}, got {factors}"
        )
    if shape is not None and min(shape) < 8:
        raise ValueError(f"shape must have at least 8 voxels a side, got {shape}")
    sides = _triple(n // f for n, f in zip(exposure.counts.shape, factors, strict=True))
    target = shape if shape is not None else _triple(_good_length(n) for n in sides)
    # Around the peak first: the centre of mass of a whole frame is drawn aside by its background.
    window = _triple(min(n * f, m) for n, f, m in zip(target, factors, exposure.counts.shape, strict=True))
    near = cropped(exposure, peak(exposure), window)
    coarse = binned(near, factors)
    return cropped(coarse, centre_of_mass(coarse), target)


def _triple(values: Iterable[int]) -> Shape:
    first, second, third = values
    return first, second, third


def _good_length(n: int) -> int:
    """Largest even length up to ``n`` and ``LARGEST`` with small prime factors."""
    return next(m for m in range(min(n, LARGEST) // 2 * 2, 0, -2) if next_fast_len(m) == m)


def _photons(exposure: Exposure) -> NDArray[np.float64]:
    counts = exposure.counts if exposure.mask is None else np.where(exposure.mask, exposure.counts, 0)
    return np.asarray(counts, np.float64)


def peak(exposure: Exposure) -> NDArray[np.int64]:
    """Index of the brightest voxel after a 3-voxel box sum, which a single hot pixel does not win."""
    smooth = uniform_filter(_photons(exposure), 3, mode="constant")
    return np.array(np.unravel_index(int(smooth.argmax()), smooth.shape))


def centre_of_mass(exposure: Exposure) -> NDArray[np.int64]:
    """Index of the voxel nearest to the centre of mass of the photons."""
    counts = _photons(exposure)
    profiles = (counts.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3))
    return np.array([round(float(profile @ np.arange(len(profile)) / profile.sum())) for profile in profiles])


def _default_binning(exposure: Exposure) -> Shape:
    """Largest whole binning per axis that leaves the object oversampled ``LEAST_OVERSAMPLING`` times."""
    level = np.abs(np.fft.fftn(_photons(exposure)))
    above = level > AUTOCORRELATION_LEVEL * level.max()
    factors = []
    for axis, n in enumerate(level.shape):
        line = above.any(axis=tuple(a for a in range(3) if a != axis))
        # The autocorrelation is even and twice as wide as the object: its half width is the object's extent.
        extent = HIDDEN_TAIL * max(1, int(np.argmin(np.append(line[: n // 2 + 1], False))))
        factors.append(max(1, int(n / extent / LEAST_OVERSAMPLING)))
    return factors[0], factors[1], factors[2]


def cropped(exposure: Exposure, centre: NDArray[np.int64], shape: Shape) -> Exposure:
    """``shape`` voxels with ``centre`` at index ``N // 2``; unmeasured beyond the edge."""
    counts = np.zeros(shape, exposure.counts.dtype)
    measured = np.zeros(shape, bool)
    source, target = [], []
    for middle, n, length in zip(centre.tolist(), shape, exposure.counts.shape, strict=True):
        start = middle - n // 2
        low, high = max(start, 0), min(start + n, length)
        source.append(slice(low, high))
        target.append(slice(low - start, high - start))
    counts[tuple(target)] = exposure.counts[tuple(source)]
    measured[tuple(target)] = True if exposure.mask is None else exposure.mask[tuple(source)]
    grid = exposure.grid
    if grid is not None:
        offset = centre - np.asarray(grid.shape) // 2
        grid = replace(grid, centre=grid.centre + offset @ grid.step, shape=shape)
    return Exposure(counts, grid, None if measured.all() else measured)


def binned(exposure: Exposure, factors: Shape) -> Exposure:
    """Sums over blocks of ``factors``; a block with an unmeasured voxel counts as unmeasured."""
    if factors == (1, 1, 1):
        return exposure
    sides = _triple(n // f for n, f in zip(exposure.counts.shape, factors, strict=True))
    used = tuple(slice(0, n * f) for n, f in zip(sides, factors, strict=True))
    split = (sides[0], factors[0], sides[1], factors[1], sides[2], factors[2])
    counts = _photons(exposure)[used].reshape(split).sum(axis=(1, 3, 5))
    mask = None if exposure.mask is None else np.all(exposure.mask[used].reshape(split), axis=(1, 3, 5))
    grid = exposure.grid
    if grid is not None:
        factor = np.asarray(factors)
        # Middle of the central bin, seen from the voxel N // 2 of the unbinned grid.
        offset = (np.asarray(sides) // 2) * factor + (factor - 1) / 2 - np.asarray(grid.shape) // 2
        grid = QGrid(grid.centre + offset @ grid.step, grid.step * factor[:, None], sides)
    return Exposure(counts.astype(np.float32), grid, mask)
