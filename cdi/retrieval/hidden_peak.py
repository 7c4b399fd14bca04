"""Does a mask hide the Bragg peak of a pattern? Its autocorrelation says nothing of the object then. Free of torch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cdi.pattern import Exposure

MOST_UNMEASURED = 8
"""Unmeasured neighbours of the brightest voxel, of 26, up to which its peak counts as seen: a face hides nine."""


def hidden_peak(exposure: Exposure) -> str | None:
    """What of the peak is not measured, in words; None where it is seen.

    Too many neighbours of the brightest voxel, or all around the centroid of what is seen: of a peak that is hidden
    whole, the fringes around it are left.
    """
    if exposure.mask is None:
        return None
    mask = np.asarray(exposure.mask, bool)
    seen = np.where(mask, exposure.counts, 0).astype(np.float64)
    brightest = tuple(int(place) for place in np.unravel_index(int(seen.argmax()), seen.shape))
    around = mask[_neighbourhood(brightest)]
    hidden = int((~around).sum())
    if hidden > MOST_UNMEASURED:
        return f"{hidden} unmeasured voxels of {around.size} around the brightest at {brightest}"
    centroid = _centroid(seen**2)
    if not mask[_neighbourhood(centroid)].any():
        return f"no measured voxel around the centroid at {centroid}"
    return None


def check_peaks(exposures: Sequence[Exposure]) -> None:
    """Raise ``ValueError`` where a mask hides a Bragg peak, by ``hidden_peak``."""
    for exposure in exposures:
        hidden = hidden_peak(exposure)
        if hidden is not None:
            raise ValueError(
                f"mask must leave the Bragg peak measured, got {hidden}; without it only a given support tells the "
                "object's size"
            )


def _neighbourhood(place: tuple[int, ...]) -> tuple[slice, ...]:
    """The voxels next to ``place``, and itself."""
    return tuple(slice(max(0, p - 1), p + 2) for p in place)


def _centroid(weight: NDArray[np.float64]) -> tuple[int, ...]:
    """The voxel of the mean place of ``weight`` (x, y, z)."""
    total = max(float(weight.sum()), np.finfo(np.float64).tiny)
    place = []
    for axis, n in enumerate(weight.shape):
        profile = weight.sum(tuple(other for other in range(weight.ndim) if other != axis))
        place.append(round(float(profile @ np.arange(n)) / total))
    return tuple(place)
