"""A dislocation line as geometry: a polyline with its Burgers vector. Free of torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DislocationLine:
    """A dislocation as a polyline with its Burgers vector, laboratory frame.

    Parameters
    ----------
    points : (n, 3)
        Corners in Å, in the sense ξ of the line; a closed loop repeats its first point.
    burgers : (3,)
        Burgers vector in Å (RH/FS: ∮ du = b on a right-handed circuit about ξ).
    """

    points: Array
    burgers: Array

    def __post_init__(self) -> None:
        points, burgers = np.asarray(self.points, np.float64), np.asarray(self.burgers, np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or len(points) < 2 or not np.isfinite(points).all():
            raise ValueError(f"points must be finite with shape (n ≥ 2, 3), got shape {points.shape}")
        if burgers.shape != (3,) or not np.isfinite(burgers).all() or not burgers.any():
            raise ValueError(f"burgers must be 3 finite numbers in Å, not all 0, got {burgers.tolist()}")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "burgers", burgers)

    @property
    def length(self) -> float:
        """Length in Å."""
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())

    @property
    def tangents(self) -> Array:
        """Line sense ξ ``(m, 3)`` of each segment that has a length."""
        steps = np.diff(self.points, axis=0)
        lengths = np.linalg.norm(steps, axis=1)
        return np.asarray(steps[lengths > 0] / lengths[lengths > 0, None])

    @property
    def is_closed(self) -> bool:
        """Whether it ends where it starts."""
        return bool(np.allclose(self.points[0], self.points[-1]))

    @property
    def character_deg(self) -> float:
        """Angle between line and Burgers vector in degrees, averaged over the length: 0 screw, 90 edge."""
        steps = np.diff(self.points, axis=0)
        lengths = np.linalg.norm(steps, axis=1)
        cosine = np.abs(steps @ self.burgers) / (np.linalg.norm(self.burgers) * np.maximum(lengths, 1e-12))
        return float(np.average(np.degrees(np.arccos(np.clip(cosine, 0, 1))), weights=lengths))
