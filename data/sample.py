"""One crystal's exposure with the truth that made it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdi.pattern import Exposure, Reflection


@dataclass(frozen=True)
class TrueLine:
    """A dislocation line in the laboratory frame, origin at the crystal's centre.

    Parameters
    ----------
    points_A : (n, 3) float64
        Polyline within the crystal, in Å.
    burgers_A : (3,) float64
        Burgers vector in Å, laboratory frame (RH/FS for the line's sense).
    burgers_lattice : (3,) float64
        The same in units of the conventional cell, e.g. (0.5, -0.5, 0).
    g_dot_b : float
        G·b/2π; 0 means that this reflection does not see the line's winding.
    """

    points_A: NDArray[np.float64]
    burgers_A: NDArray[np.float64]
    burgers_lattice: NDArray[np.float64]
    g_dot_b: float

    @property
    def visible(self) -> bool:
        """True where the phase winds around the line."""
        return abs(self.g_dot_b) > 1e-6


@dataclass(frozen=True)
class Truth:
    """What is in the crystal.

    Parameters
    ----------
    defect : str
        ``none``, ``edge``, ``screw`` or ``mixed``.
    lines : tuple of TrueLine
    displacement : (3, x, y, z) float32
        Displacement u in Å, zero outside the support.
    support : (x, y, z) float32
        Fraction of each voxel inside the crystal.
    phase : (x, y, z) float32
        G·u plus the ramp of an off-centre peak, in radians, zero outside the support.
    element : str
    """

    defect: str
    lines: tuple[TrueLine, ...]
    displacement: NDArray[np.float32]
    support: NDArray[np.float32]
    phase: NDArray[np.float32]
    element: str

    @property
    def determined(self) -> bool:
        """False where every line of a dislocated crystal has g·b = 0: intensity cannot tell."""
        return self.defect == "none" or any(line.visible for line in self.lines)


@dataclass(frozen=True)
class Sample:
    """``index`` identifies the crystal: every split is by it. ``exposure.grid`` is never None."""

    index: int
    reflection: Reflection
    exposure: Exposure
    truth: Truth
