"""From a measured or simulated exposure to the network's input.

An exposure of any size is binned until the crystal is oversampled 2.2 to 4.4 times (as in
training), cropped around its peak, and centred. Binning in q adds photons and shrinks the
field of view in real space; cropping lowers the resolution. Free of torch but for ``features``.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cdi.grid import QGrid
from cdi.pattern import Exposure

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]

LEAST_OVERSAMPLING = 2.2
GEOMETRY_FEATURES = 10
AUTOCORRELATION_LEVEL = 0.03
"""Where |autocorrelation| is taken to end, relative to its maximum: above the floor of hot pixels and noise."""
HIDDEN_TAIL = 1.2
"""Twice the crystal over the width at that level: the tails of the autocorrelation stay below it
(exactly 1.16 for a ball, 1 along the edges of a cube, 1.45 between the tips of an octahedron)."""


def fit_to_grid(exposure: Exposure, shape: tuple[int, int, int]) -> Exposure:
    """The exposure as the network was trained on it: binned, cropped or padded to ``shape``, centred.

    Unmeasured voxels (mask) count as zero photons. The grid follows, where there is one.
    """
    counts = exposure.counts if exposure.mask is None else np.where(exposure.mask, exposure.counts, 0)
    grid = exposure.grid
    factors = binning_factors(counts, shape)
    # Cropping first keeps the peak away from the edge of a bin and the whole stack out of memory.
    window = (shape[0] * factors[0], shape[1] * factors[1], shape[2] * factors[2])
    # An axis that fits is left whole: a peak of several lobes has its brightest voxel far from its centre.
    too_long = np.asarray(counts.shape) > window
    counts, grid = _crop(counts, grid, np.where(too_long, _peak(counts), np.asarray(counts.shape) // 2), window)
    counts, grid = _bin(counts, grid, factors)
    counts, grid = _crop(counts, grid, _centre_of_mass(counts), shape)
    return Exposure(counts, grid)


def geometry(grid: QGrid | None) -> NDArray[np.float32]:
    """How the voxels lie in space ``(10,)``: what tells the character of a line apart.

    The direction of G in units of the real-space voxels (3, unit length), the Gram matrix of the
    voxel vectors over its trace (6), and 1; all zeros where the geometry is unknown. A screw
    with g·b ≠ 0 lies at a fixed angle to G, an edge at another: from the pattern alone,
    without G, neither is told from the other.
    """
    if grid is None:
        return np.zeros(GEOMETRY_FEATURES, np.float32)
    voxel = grid.voxel
    direction = grid.centre @ np.linalg.inv(voxel)
    gram = voxel @ voxel.T
    upper = (gram / np.trace(gram))[np.triu_indices(3)]
    return np.concatenate([direction / np.linalg.norm(direction), upper, [1.0]]).astype(np.float32)


def binning_factors(counts: NDArray[np.float32], shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Integer binning per axis that leaves the crystal oversampled ``LEAST_OVERSAMPLING`` times or more."""
    if counts.shape == shape:
        return (1, 1, 1)
    ratio = oversampling_estimate(counts)
    first, second, third = (max(1, int(r / LEAST_OVERSAMPLING)) for r in ratio)
    return first, second, third


def oversampling_estimate(counts: NDArray[np.float32]) -> Array:
    """Voxels over crystal extent ``(3,)``, from the extent of the autocorrelation (twice the crystal)."""
    autocorrelation = np.abs(np.fft.fftshift(np.fft.fftn(counts)))
    above = autocorrelation > AUTOCORRELATION_LEVEL * autocorrelation.max()
    profile = [above.any(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    widths = [_central_run(line) for line in profile]
    return np.array([2 * n / (HIDDEN_TAIL * width) for n, width in zip(counts.shape, widths, strict=True)])


def _central_run(line: NDArray[np.bool_]) -> int:
    """Length of the run of True around the middle: isolated noise further out does not count."""
    middle = len(line) // 2
    right = int(np.argmin(np.append(line[middle:], False)))
    left = int(np.argmin(np.append(line[middle::-1], False)))
    return max(1, right + left - 1)


def _peak(counts: NDArray[np.float32]) -> Array:
    """Index of the brightest voxel after a 3-voxel box sum, which a single hot pixel does not win."""
    from scipy.ndimage import uniform_filter

    return np.asarray(
        np.unravel_index(int(uniform_filter(counts, 3, mode="constant").argmax()), counts.shape), np.float64
    )


def _centre_of_mass(counts: NDArray[np.float32]) -> Array:
    total = float(counts.sum(dtype=np.float64))
    return np.array(
        [
            (counts.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64) * np.arange(n)).sum() / total
            for axis, n in enumerate(counts.shape)
        ]
    )


def _crop(
    counts: NDArray[np.float32], grid: QGrid | None, centre: Array, shape: tuple[int, int, int]
) -> tuple[NDArray[np.float32], QGrid | None]:
    """``shape`` voxels with the one nearest to ``centre`` at index ``N // 2``; zeros beyond the edge."""
    middle = np.rint(centre).astype(int)
    out = np.zeros(shape, counts.dtype)
    source, target = [], []
    for m, n, length in zip(middle, shape, counts.shape, strict=True):
        start = m - n // 2
        low, high = max(start, 0), min(start + n, length)
        source.append(slice(low, high))
        target.append(slice(low - start, high - start))
    out[tuple(target)] = counts[tuple(source)]
    if grid is not None:
        shift = middle - np.asarray(grid.shape) // 2
        grid = replace(grid, centre=grid.centre + shift @ grid.step, shape=shape)
    return out, grid


def _bin(
    counts: NDArray[np.float32], grid: QGrid | None, factors: tuple[int, int, int]
) -> tuple[NDArray[np.float32], QGrid | None]:
    if factors == (1, 1, 1):
        return counts, grid
    sides = [n // f for n, f in zip(counts.shape, factors, strict=True)]
    blocks = counts.reshape(sides[0], factors[0], sides[1], factors[1], sides[2], factors[2])
    if grid is not None:
        factor = np.asarray(factors)
        # Middle of the central bin, seen from the voxel N // 2 of the unbinned grid.
        offset = (np.asarray(sides) // 2) * factor + (factor - 1) / 2 - np.asarray(grid.shape) // 2
        grid = QGrid(grid.centre + offset @ grid.step, grid.step * factor[:, None], (sides[0], sides[1], sides[2]))
    return blocks.sum(axis=(1, 3, 5), dtype=np.float32), grid


def features(counts: "Tensor") -> "Tensor":
    """Input ``(batch, 4, x, y, z)`` from centred ``counts`` ``(batch, x, y, z)``.

    Channels: √I and log(1 + I), each relative to its maximum, and real and imaginary part of the
    autocorrelation (relative to its maximum), which lives on the real-space voxels of the answer.
    """
    import torch

    from cdi.fourier import object_from_amplitude

    peak = counts.amax((-3, -2, -1), keepdim=True).clamp_min(1)
    root = (counts / peak).sqrt()
    logarithm = torch.log1p(counts) / torch.log1p(peak)
    autocorrelation = object_from_amplitude(counts.to(torch.complex64))
    total = counts.mean((-3, -2, -1), keepdim=True).clamp_min(1e-12)
    autocorrelation = autocorrelation / total
    return torch.stack([root, logarithm, autocorrelation.real, autocorrelation.imag], -4)
