"""Two dislocations closer than voxels tell apart: a traced line that winds as no single Burgers vector does.

A dislocation winds by g·b of a vector of its lattice, and these are few. A line that winds by 2 where no vector winds
by more than 1 is two of them, which one vortex, or two beside each other, had been taken for one.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.burgers import burgers_candidates
from models.known_crystal import KnownCrystal
from models.lines import TracedLine, sensed

Array = NDArray[np.float64]

FAR = 0.95
"""Turns, over all reflections, from the windings of every single vector: a whole one in some reflection."""
NEAR = 0.5
"""Turns from those of two vectors together, up to which a line is these."""
TIED = 1e-9


def pairs_apart(lines: Sequence[TracedLine], crystal: KnownCrystal) -> tuple[TracedLine, ...]:
    """``lines``, each pair among them as two lines of one course, of which each winds as a vector of its own does.

    Two vectors whose sum has less energy than they (Frank's rule, Hirth & Lothe, 2nd ed., 1982, sec. 9-1) are no pair:
    they are one line, a junction.
    """
    miller = np.asarray(crystal.reflections, np.float64)
    every, _ = burgers_candidates(crystal.lattice)
    perfect, _ = burgers_candidates(crystal.lattice, ("perfect",))
    first, second = (perfect[index] for index in np.triu_indices(len(perfect)))
    energy = np.einsum("ni,ij,nj->n", first, crystal.lattice.cell @ crystal.lattice.cell.T, second)
    apart = energy > -TIED * np.abs(energy).max()
    single = np.concatenate([every, (first + second)[~apart]]) @ miller.T
    # Of pairs that wind alike those that repel each other least come first.
    order = np.argsort(energy[apart], kind="stable")
    pairs = np.stack([first[apart], second[apart]])[:, order] @ miller.T
    return tuple(part for line in lines for part in _parts(line, single, pairs))


def _parts(line: TracedLine, single: Array, pairs: Array) -> list[TracedLine]:
    """``line``, or the two lines that wind together most nearly as it does.

    ``single`` (n, reflections) are the windings of one line, ``pairs`` (2, m, reflections) those of two.
    """
    if np.linalg.norm(single - line.windings, axis=1).min() < FAR:
        return [line]
    left = line.windings - pairs.sum(0)
    gaps = np.linalg.norm(left, axis=1)
    best = np.flatnonzero(gaps <= gaps.min() + TIED)[0]
    if gaps[best] > NEAR:
        return [line]
    return [sensed(replace(line, windings=wound + left[best] / 2)) for wound in pairs[:, best]]
