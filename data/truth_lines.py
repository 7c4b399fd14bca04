"""The truth that a model crystal carries: its lines, kinds and faults, with what a reflection tells of them."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.defects.line import DislocationLine
from cdi.identifiability import fault_contrast, line_identifiability
from cdi.lattices.lattice import Lattice
from cdi.pattern import Reflection
from data.sample import TrueLine

if TYPE_CHECKING:
    from cdi.crystal import Crystal


def true_lines(crystal: "Crystal", reflection: Reflection) -> tuple[TrueLine, ...]:
    """The dislocation lines of all defects within the crystal's shape.

    Raises
    ------
    ValueError
        If a dislocation misses the crystal, or the reflection is extinct.
    """
    return tuple(true_line(line, crystal.lattice, crystal.orientation, reflection) for line in crystal.lines())


def true_line(
    line: DislocationLine, lattice: Lattice, orientation: NDArray[np.float64], reflection: Reflection
) -> TrueLine:
    """``line`` with what ``reflection`` tells of it.

    ``orientation`` (3, 3) turns crystal axes to the laboratory, where the line is.
    """
    told = line_identifiability(line, lattice, orientation, [reflection])
    return TrueLine(
        line.points,
        line.burgers,
        burgers_lattice=told.candidates[0].round(6) + 0.0,
        g_dot_b=round(float(told.windings[0]), 6) + 0.0,
        residual=float(told.residuals[0]),
        candidates=len(told.candidates),
    )


def kinds_present(crystal: "Crystal") -> tuple[str, ...]:
    """Kind of every defect of the crystal, each once, in the order of the crystal's defects."""
    return tuple(dict.fromkeys(defect.kind for defect in crystal.defects))


def fault_step(crystal: "Crystal", reflection: Reflection) -> float:
    """Largest phase step |g·R mod 1| in turns across a fault of the crystal; 0 where it shows none."""
    return max((_step(shift, crystal, reflection) for defect in crystal.defects for shift in defect.fault_shifts),
               default=0.0)  # fmt: skip


def _step(shift: ArrayLike, crystal: "Crystal", reflection: Reflection) -> float:
    fractions = crystal.lattice.fractions(crystal.orientation.T @ np.asarray(shift, np.float64))
    return abs(float(fault_contrast(fractions, [reflection])[0].round(6)))
