"""From the ideal intensity to counted photons."""

import numpy as np
from numpy.typing import NDArray


def photon_counts(
    intensity: NDArray[np.float64], *, peak_counts: float, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Poisson counts of ``intensity`` scaled so that its brightest voxel expects ``peak_counts``.

    Raises
    ------
    ValueError
        If the intensity is empty of photons or ``peak_counts`` is not positive.
    """
    peak = float(intensity.max())
    if not (np.isfinite(peak) and peak > 0):
        raise ValueError(f"intensity must have a positive finite maximum, got {peak}")
    if not (np.isfinite(peak_counts) and peak_counts > 0):
        raise ValueError(f"peak_counts must be positive, got {peak_counts}")
    return generator.poisson(intensity * (peak_counts / peak)).astype(np.float32)
