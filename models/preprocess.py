"""From measured or simulated exposures to the network's input.

An exposure of any size is binned until the crystal is oversampled 2.2 to 4.4 times (as in
training), cropped around its peak, and centred; the reflections of one crystal alike. Binning in q adds photons and
shrinks the field of view in real space; cropping lowers the resolution. Free of torch but for ``pattern_set`` and
``features``.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cdi.grid import QGrid
from cdi.pattern import Exposure

if TYPE_CHECKING:
    from torch import Tensor

    from models.pattern_set import PatternSet

Array = NDArray[np.float64]

LEAST_OVERSAMPLING = 2.2
SAME_STEP = 1e-6
"""Relative difference up to which q steps count as equal."""
INPUT_CHANNELS = 4
GEOMETRY_FEATURES = 10
AUTOCORRELATION_LEVEL = 0.03
"""Where |autocorrelation| is taken to end, relative to its maximum: above the floor of hot pixels and noise."""
HIDDEN_TAIL = 1.2
"""Twice the crystal over the width at that level: the tails of the autocorrelation stay below it
(exactly 1.16 for a ball, 1 along the edges of a cube, 1.45 between the tips of an octahedron)."""


def fit_to_grid(
    exposure: Exposure, shape: tuple[int, int, int], factors: tuple[int, int, int] | None = None
) -> Exposure:
    """The exposure as the network was trained on it: binned, cropped or padded to ``shape``, centred.

    Unmeasured voxels (mask), and what lies beyond the edge, count as zero photons and are masked. The grid follows,
    where there is one. ``factors`` bins; by default as far as the crystal's extent lets.
    """
    measured = np.ones(exposure.counts.shape, bool) if exposure.mask is None else exposure.mask
    counts, grid = np.where(measured, exposure.counts, np.float32(0)), exposure.grid
    chosen = binning_factors(counts, shape) if factors is None else factors
    # Cropping first keeps the peak away from the edge of a bin and the whole stack out of memory.
    window = (shape[0] * chosen[0], shape[1] * chosen[1], shape[2] * chosen[2])
    # An axis that fits is left whole: a peak of several lobes has its brightest voxel far from its centre.
    too_long = np.asarray(counts.shape) > window
    middle = np.where(too_long, _peak(counts), np.asarray(counts.shape) // 2)
    counts, measured, grid = _crop(counts, measured, grid, middle, window)
    counts, measured, grid = _bin(counts, measured, grid, chosen)
    counts, measured, grid = _crop(counts, measured, grid, _centre_of_mass(counts), shape)
    return Exposure(counts, grid, None if measured.all() else measured)


def fit_set(exposures: Sequence[Exposure], shape: tuple[int, int, int]) -> tuple[Exposure, ...]:
    """The reflections of one crystal, fitted alike: binned by what suits all of them, each centred on its own peak.

    Raises
    ------
    ValueError
        If there is none, several come without a grid, or their q steps differ (real-space voxels are shared).
    """
    if not exposures:
        raise ValueError("a crystal must have at least one exposure, got none")
    if len(exposures) > 1:
        grids = [exposure.grid for exposure in exposures]
        if any(grid is None for grid in grids):
            raise ValueError("several reflections of one crystal must each come with their q-grid, got one without")
        steps = [grid.step for grid in grids if grid is not None]
        apart = max(float(np.abs(step - steps[0]).max()) for step in steps)
        if apart > SAME_STEP * float(np.abs(steps[0]).max()):
            raise ValueError(
                f"reflections of one crystal must share their q steps, got steps that differ by {apart:.3g} Å⁻¹; "
                "bring them to a common frame first"
            )
    factors = np.min([binning_factors(_photons(exposure), shape) for exposure in exposures], axis=0)
    chosen = (int(factors[0]), int(factors[1]), int(factors[2]))
    return tuple(fit_to_grid(exposure, shape, chosen) for exposure in exposures)


def pattern_set(sets: Sequence[Sequence[Exposure]]) -> "PatternSet":
    """The batch of sets of fitted exposures; sets with fewer reflections than the longest are filled up."""
    import torch

    from models.pattern_set import PatternSet

    longest, shape = max(map(len, sets)), sets[0][0].counts.shape
    counts = np.zeros((len(sets), longest, *shape), np.float32)
    measured = np.ones(counts.shape, bool)
    present = np.zeros(counts.shape[:2], bool)
    G, voxel = np.zeros((len(sets), longest, 3)), np.zeros((len(sets), 3, 3))
    for i, exposures in enumerate(sets):
        for r, exposure in enumerate(exposures):
            counts[i, r], present[i, r] = exposure.counts, True
            if exposure.mask is not None:
                measured[i, r] = exposure.mask
            if exposure.grid is not None:
                G[i, r], voxel[i] = exposure.grid.centre, exposure.grid.voxel
    return PatternSet(*(torch.from_numpy(array) for array in (counts, measured, present, G, voxel)))


def _photons(exposure: Exposure) -> NDArray[np.float32]:
    return exposure.counts if exposure.mask is None else np.where(exposure.mask, exposure.counts, np.float32(0))


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


Measured = tuple[NDArray[np.float32], NDArray[np.bool_], QGrid | None]


def _crop(
    counts: NDArray[np.float32],
    measured: NDArray[np.bool_],
    grid: QGrid | None,
    centre: Array,
    shape: tuple[int, int, int],
) -> Measured:
    """``shape`` voxels with the one nearest to ``centre`` at index ``N // 2``; zeros beyond the edge."""
    middle = np.rint(centre).astype(int)
    out, known = np.zeros(shape, counts.dtype), np.zeros(shape, bool)
    source, target = [], []
    for m, n, length in zip(middle, shape, counts.shape, strict=True):
        start = m - n // 2
        low, high = max(start, 0), min(start + n, length)
        source.append(slice(low, high))
        target.append(slice(low - start, high - start))
    out[tuple(target)] = counts[tuple(source)]
    known[tuple(target)] = measured[tuple(source)]
    if grid is not None:
        shift = middle - np.asarray(grid.shape) // 2
        grid = replace(grid, centre=grid.centre + shift @ grid.step, shape=shape)
    return out, known, grid


def _bin(
    counts: NDArray[np.float32], measured: NDArray[np.bool_], grid: QGrid | None, factors: tuple[int, int, int]
) -> Measured:
    """A bin counts as measured where all of its voxels are."""
    if factors == (1, 1, 1):
        return counts, measured, grid
    sides = [n // f for n, f in zip(counts.shape, factors, strict=True)]
    split = (sides[0], factors[0], sides[1], factors[1], sides[2], factors[2])
    if grid is not None:
        factor = np.asarray(factors)
        # Middle of the central bin, seen from the voxel N // 2 of the unbinned grid.
        offset = (np.asarray(sides) // 2) * factor + (factor - 1) / 2 - np.asarray(grid.shape) // 2
        grid = QGrid(grid.centre + offset @ grid.step, grid.step * factor[:, None], (sides[0], sides[1], sides[2]))
    whole: NDArray[np.bool_] = np.asarray(measured.reshape(split).all(axis=(1, 3, 5)))
    return counts.reshape(split).sum(axis=(1, 3, 5), dtype=np.float32), whole, grid


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
