"""How clearly a pattern's fringes stand out, and the coherence that this asks for. Free of torch.

Fringes of period 2π/L come from the ends of a crystal of extent L. Where two opposite faces scatter alike the minima
between fringes are dark, and partial coherence fills them up: the visibility (I_max − I_min)/(I_max + I_min) is |γ(L)|,
the degree of coherence across the crystal (Vartanyants & Robinson, J. Phys. Condens. Matter 13, 10593, 2001). Strain,
faces that are not parallel and the pixel's size fill them as well, so that the clearest fringes bound the coherence
from below: for a brick the length comes out 0 to 20 % short.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdi.pattern import Exposure
from cdi.retrieval.framing import cropped, peak

Array = NDArray[np.float64]

WINDOW = 64
"""Voxels a side around the peak that are looked at: fringes further out are faint."""
FINER = 4
"""Samples to a voxel between which minima are sought: an oversampled pattern is known there."""
LEAST_COUNTS = 100.0
"""Of a fringe's maximum: noise of counting then stays below a tenth."""
CLEAREST = 0.75
"""The quantile of the visibilities, weighted by counts, that stands for the clearest fringes."""
LEAST_FRINGES = 20


@dataclass(frozen=True)
class FringeVisibility:
    """Of the clearest fringes along each axis (3,), NaN where too few are bright; and how many were looked at."""

    visibility: tuple[float, float, float]
    fringes: tuple[int, int, int]


def fringe_visibility(exposure: Exposure) -> FringeVisibility:
    """Visibility of the clearest fringes of ``exposure`` along frames, rows and columns."""
    counts = exposure.counts if exposure.mask is None else np.where(exposure.mask, exposure.counts, np.float32(0))
    shape = tuple(min(n, WINDOW) for n in counts.shape)
    near = cropped(Exposure(counts), peak(exposure), (shape[0], shape[1], shape[2])).counts.astype(np.float64)
    found = [_along(np.moveaxis(near, axis, -1).reshape(-1, near.shape[axis])) for axis in range(3)]
    first, second, third = (value for value, _ in found)
    return FringeVisibility((first, second, third), (found[0][1], found[1][1], found[2][1]))


def coherence_length(visibility: float, extent: float) -> float:
    """Length ξ of a Gaussian degree of coherence exp(−Δ²/2ξ²) that is ``visibility`` at Δ = ``extent``; NaN without."""
    if not 0 < visibility < 1:
        return float("inf") if visibility >= 1 else float("nan")
    return float(extent / np.sqrt(-2 * np.log(visibility)))


def _along(lines: Array) -> tuple[float, int]:
    """Clearest visibility in ``lines`` (n, samples), and how many minima between fringes it is told by."""
    bright = lines[lines.max(1) >= LEAST_COUNTS]
    if not len(bright):
        return float("nan"), 0
    fine = _finer(bright)
    minima = (fine[:, 1:-1] < fine[:, :-2]) & (fine[:, 1:-1] <= fine[:, 2:])
    row, column = np.nonzero(minima)
    # Between the maxima on either side, the lower of which is the fringe's height: a falling slope has none.
    left, right = _peaks_beside(fine)
    height = np.minimum(left[row, column + 1], right[row, column + 1])
    depth = np.maximum(fine[row, column + 1], 0)
    used = height >= LEAST_COUNTS
    if used.sum() < LEAST_FRINGES:
        return float("nan"), int(used.sum())
    visibility = (height[used] - depth[used]) / (height[used] + depth[used])
    order = np.argsort(visibility)
    share = np.cumsum(np.sqrt(height[used])[order])
    return float(visibility[order][np.searchsorted(share, CLEAREST * share[-1])]), int(used.sum())


def _finer(lines: Array) -> Array:
    """``lines`` at ``FINER`` samples to a voxel, by zeros beyond their spectrum."""
    from scipy.fft import irfft, rfft

    number = lines.shape[1]
    return np.asarray(irfft(rfft(lines), FINER * number) * FINER)


def _peaks_beside(fine: Array) -> tuple[Array, Array]:
    """Height of the nearest maximum to the left and to the right of every sample."""
    inner = (fine[:, 1:-1] > fine[:, :-2]) & (fine[:, 1:-1] >= fine[:, 2:])
    peaks = np.pad(inner, ((0, 0), (1, 1)))
    index = np.arange(fine.shape[1])
    before = np.maximum.accumulate(np.where(peaks, index, -1), axis=1)
    after = np.minimum.accumulate(np.where(peaks, index, fine.shape[1])[:, ::-1], axis=1)[:, ::-1]
    rows = np.arange(len(fine))[:, None]
    padded = np.pad(fine, ((0, 0), (1, 1)))
    return padded[rows, before + 1], padded[rows, after + 1]
