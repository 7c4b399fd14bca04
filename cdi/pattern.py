"""What a detector sees of a crystal: the ideal pattern and the counted exposure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdi.grid import QGrid

Reflection = tuple[int, int, int]


@dataclass(frozen=True)
class DiffractionPattern:
    """Noise-free intensity ``|F|²`` (electrons²) on ``grid``, with its complex amplitude."""

    amplitude: NDArray[np.complex128]
    grid: QGrid
    reflection: Reflection

    def __post_init__(self) -> None:
        if self.amplitude.shape != self.grid.shape:
            raise ValueError(f"amplitude must have the grid's shape {self.grid.shape}, got {self.amplitude.shape}")

    @property
    def intensity(self) -> NDArray[np.float64]:
        """``|F|²`` of the grid's shape."""
        return np.asarray(np.abs(self.amplitude) ** 2, np.float64)


@dataclass(frozen=True)
class Exposure:
    """Photon counts ``(x, y, z)`` around one Bragg peak and how they were sampled.

    Parameters
    ----------
    counts : (x, y, z) float32
        Detected photons, ≥ 0.
    grid : QGrid or None
        Scattering vectors of the voxels; None where the geometry is unknown (results then
        come in voxels).
    mask : (x, y, z) bool or None
        True where a voxel was measured; None means everywhere.

    Raises
    ------
    ValueError
        If the counts are not three-dimensional, hold NaN, infinity or negatives, are all zero,
        or shapes disagree.
    """

    counts: NDArray[np.float32]
    grid: QGrid | None = None
    mask: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        counts: NDArray[Any] = np.asarray(self.counts)
        if counts.ndim != 3 or min(counts.shape) < 8:
            raise ValueError(f"counts must be a 3D array with at least 8 voxels a side, got shape {counts.shape}")
        if not np.issubdtype(counts.dtype, np.number) or np.iscomplexobj(counts):
            raise ValueError(f"counts must be real numbers, got {counts.dtype}")
        if self.grid is not None and self.grid.shape != counts.shape:
            raise ValueError(f"counts must have the grid's shape {self.grid.shape}, got {counts.shape}")
        if self.mask is not None and self.mask.shape != counts.shape:
            raise ValueError(f"mask must have the shape of counts {counts.shape}, got {self.mask.shape}")
        measured = counts if self.mask is None else counts[self.mask]
        if not np.isfinite(measured).all():
            raise ValueError(
                f"counts must be finite, got {int((~np.isfinite(measured)).sum())} voxels with NaN or infinity"
            )
        if measured.size and measured.min() < 0:
            raise ValueError(f"counts must not be negative, got a minimum of {measured.min()}")
        if not measured.any():
            raise ValueError("counts must not be all zero: the exposure holds no photon")
        object.__setattr__(self, "counts", counts.astype(np.float32, copy=False))
