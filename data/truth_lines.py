"""The truth that a model crystal carries: its dislocation lines as polylines."""

import numpy as np

from cdi.crystal import Crystal
from cdi.dislocation import Dislocation
from cdi.pattern import Reflection
from data.sample import TrueLine


def true_lines(crystal: Crystal, reflection: Reflection) -> tuple[TrueLine, ...]:
    """The chord of each dislocation within the crystal's shape.

    Raises
    ------
    ValueError
        If a line misses the crystal.
    """
    return tuple(_true_line(line, crystal, reflection) for line in crystal.dislocations)


def _true_line(line: Dislocation, crystal: Crystal, reflection: Reflection) -> TrueLine:
    chord = crystal.shape.chord(line.point, line.direction)
    if chord is None:
        raise ValueError(f"a dislocation must cross the crystal, the line through {line.point.tolist()} misses it")
    points = line.point + np.asarray(chord)[:, None] * line.direction
    burgers = (crystal.orientation.T @ line.burgers / crystal.lattice.constant).round(6)
    return TrueLine(points, line.burgers, burgers, round(float(burgers @ np.asarray(reflection)), 6))
