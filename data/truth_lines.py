"""The truth that a model crystal carries: its dislocation lines as polylines."""

import numpy as np

from cdi.crystal import Crystal
from cdi.defects.defect import DislocationLine
from cdi.pattern import Reflection
from data.sample import TrueLine


def true_lines(crystal: Crystal, reflection: Reflection) -> tuple[TrueLine, ...]:
    """The dislocation lines of all defects within the crystal's shape.

    Raises
    ------
    ValueError
        If a dislocation misses the crystal.
    """
    return tuple(_true_line(line, crystal, reflection) for line in crystal.lines())


def _true_line(line: DislocationLine, crystal: Crystal, reflection: Reflection) -> TrueLine:
    burgers = crystal.burgers_fractions(line).round(6)
    return TrueLine(line.points, line.burgers, burgers, round(float(burgers @ np.asarray(reflection)), 6))
