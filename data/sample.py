"""One crystal's exposure with the truth that made it. Free of torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdi.defects.classes import CLASSES
from cdi.defects.line import DislocationLine
from cdi.identifiability import SEEN
from cdi.pattern import Exposure, Reflection


@dataclass(frozen=True, eq=False)
class TrueLine(DislocationLine):
    """A dislocation line of a crystal centred on the origin, with what its reflection tells of it.

    Parameters
    ----------
    points : (n, 3) float64
        Polyline within the crystal, in Å, laboratory frame.
    burgers : (3,) float64
        Burgers vector in Å, laboratory frame (RH/FS for the line's sense).
    burgers_lattice : (3,) float64
        The same in fractions of the cell's edges, crystal axes, e.g. (0.5, -0.5, 0).
    g_dot_b : float
        G·b/2π; 0 means that this reflection does not see the line's winding.
    residual : float
        Largest |G·(b × ξ)|/2π along the line: what is left of an invisible edge.
    candidates : int
        Burgers vectors of the lattice that wind alike in this reflection, b among them.
    """

    burgers_lattice: NDArray[np.float64]
    g_dot_b: float
    residual: float
    candidates: int

    @property
    def visible(self) -> bool:
        """True where the phase winds around the line."""
        return abs(self.g_dot_b) > SEEN

    @property
    def determined(self) -> bool:
        """True where this reflection sees the line and leaves a single Burgers vector."""
        return self.visible and self.candidates == 1


@dataclass(frozen=True)
class Truth:
    """What is in the crystal.

    Parameters
    ----------
    defect : str
        An entry of ``cdi.defects.classes.CLASSES``.
    kinds : tuple of str
        Every kind of defect that is there (``Defect.kind``), dislocations or not, each once.
    lines : tuple of TrueLine
    fault_step : float
        Largest phase step across a planar fault in turns, |g·R| modulo 1; 0: none that shows.
    displacement : (3, x, y, z) float32
        Displacement u in Å, zero outside the support.
    support : (x, y, z) float32
        Fraction of each voxel inside the crystal.
    phase : (x, y, z) float32
        G·u plus the ramp of an off-centre peak, in radians, zero outside the support.
    formula : str
        Chemical formula, e.g. ``Au``, ``NaCl``.
    structure : str
        Name of the crystal structure, e.g. ``fcc``: with ``cell`` it gives the candidates for b.
    cell : (3, 3) float64
        Rows are the edges of the conventional cell in Å, crystal axes.
    orientation : (3, 3) float64
        Rotation from crystal axes to the laboratory.

    Raises
    ------
    ValueError
        If ``defect`` is no class.
    """

    defect: str
    kinds: tuple[str, ...]
    lines: tuple[TrueLine, ...]
    fault_step: float
    displacement: NDArray[np.float32]
    support: NDArray[np.float32]
    phase: NDArray[np.float32]
    formula: str
    structure: str
    cell: NDArray[np.float64]
    orientation: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.defect not in CLASSES:
            raise ValueError(f"defect must be one of {', '.join(CLASSES)}, got {self.defect!r}")

    @property
    def determined(self) -> bool:
        """False where no line of a defective crystal winds and no fault shows: intensity cannot tell its class."""
        return self.defect == "none" or self.fault_step > SEEN or any(line.visible for line in self.lines)


@dataclass(frozen=True)
class Sample:
    """``index`` identifies the crystal: every split is by it. ``exposure.grid`` is never None."""

    index: int
    reflection: Reflection
    exposure: Exposure
    truth: Truth
