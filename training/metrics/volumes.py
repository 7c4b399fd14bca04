"""The object of a crystal on a grid, and the dislocation lines in it, alike for truth and prediction. Free of torch.

Volumes are ``(x, y, z)`` or ``(reflections, x, y, z)`` with the origin at index ``N // 2``; ``voxel`` (3, 3) in Å maps
an index to a position, r = n @ voxel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdi.identifiability import SEEN

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CrystalObject:
    """Support and phases of one crystal in a set of reflections.

    Parameters
    ----------
    support : (x, y, z)
        In [0, 1].
    phase : (reflections, x, y, z)
        G·u in radians, each up to a constant.

    Raises
    ------
    ValueError
        If the shapes disagree, there is no reflection, or a number is not finite.
    """

    support: Array
    phase: Array

    def __post_init__(self) -> None:
        support, phase = np.asarray(self.support, np.float64), np.asarray(self.phase, np.float64)
        if support.ndim != 3:
            raise ValueError(f"support must have shape (x, y, z), got {support.shape}")
        if phase.ndim != 4 or phase.shape[1:] != support.shape or not len(phase):
            raise ValueError(f"phase must have shape (reflections, *{support.shape}), got {phase.shape}")
        if not (np.isfinite(support).all() and np.isfinite(phase).all()):
            raise ValueError("support and phase must be finite, got NaN or infinity")
        object.__setattr__(self, "support", support)
        object.__setattr__(self, "phase", phase)

    @property
    def density(self) -> NDArray[np.complex128]:
        """Complex objects ``(reflections, x, y, z)``, s exp(iφ)."""
        return np.asarray(self.support * np.exp(1j * self.phase))

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Voxels that are more than half within the crystal."""
        return self.support > 0.5

    def twin(self) -> "CrystalObject":
        """The twin in all reflections at once: s(−r), −φ(−r)."""
        return CrystalObject(inverted(self.support), -inverted(self.phase))


@dataclass(frozen=True, eq=False)
class Line:
    """A dislocation line as found or as it is.

    Parameters
    ----------
    points : (n, 3)
        Polyline in Å from the origin of the grid.
    windings : (reflections,)
        g·b in the sense of ``points``.
    burgers : (3,) or None
        In fractions of the cell's edges, in the sense of ``points``; None where it is not told.
    confidence : float
        Probability that it is there; NaN where none is given.

    Raises
    ------
    ValueError
        If a shape is wrong or the line has no length.
    """

    points: Array
    windings: Array
    burgers: Array | None = None
    confidence: float = float("nan")

    def __post_init__(self) -> None:
        points, windings = np.asarray(self.points, np.float64), np.asarray(self.windings, np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or len(points) < 2 or not np.ptp(points, axis=0).any():
            raise ValueError(f"points must be (n, 3) along a line of some length, got {points.tolist()}")
        if windings.ndim != 1:
            raise ValueError(f"windings must have shape (reflections,), got {windings.shape}")
        if self.burgers is not None:
            burgers = np.asarray(self.burgers, np.float64)
            if burgers.shape != (3,):
                raise ValueError(f"burgers must have shape (3,), got {burgers.shape}")
            object.__setattr__(self, "burgers", burgers)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "windings", windings)

    @property
    def visible(self) -> bool:
        """Whether it winds in at least one reflection."""
        return bool((np.abs(self.windings) > SEEN).any())


@dataclass(frozen=True, eq=False)
class KnownLine(Line):
    """A line of the truth; ``determined``: the reflections see it and leave one Burgers vector."""

    determined: bool = False


def inverted(volume: Array) -> Array:
    """``volume(−n)`` over the last three axes, index ``N // 2`` fixed, periodic at the edge."""
    even = [axis for axis in (-3, -2, -1) if volume.shape[axis] % 2 == 0]
    return np.asarray(np.roll(np.flip(volume, (-3, -2, -1)), [1] * len(even), even))


def grid_points(shape: tuple[int, ...]) -> Array:
    """Index vectors ``(x, y, z, 3)`` of a grid from its origin."""
    return np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij"), -1).astype(np.float64)


def wrapped(phase: Array) -> Array:
    """``phase`` modulo 2π in [−π, π]."""
    return np.asarray(phase - 2 * np.pi * np.round(phase / (2 * np.pi)))
