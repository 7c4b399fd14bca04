"""Edge, screw or mixed: what traced lines say of it beside the network, where their Burgers vectors are known.

A network sees the character of a dislocation in its strain. The angle between a traced line and the most probable of
the vectors that it may have says the same by geometry, and errs in other crystals.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cdi.defects.classes import CHARACTERS, CLASSES, PURE_WITHIN_DEG
from cdi.defects.line import DislocationLine
from models.prediction import PredictedLine

Array = NDArray[np.float64]

BLUR_DEG = 4.0
"""How far from the border between two characters an angle, as traced, tells them apart."""
LEAST = 0.05
"""Added to every share: what no line shows may be all the same, a Burgers vector being often wrong."""
WEIGHT = 0.3
"""Power of the shares beside the network's probabilities. On held-out crystals any from 0.2 to 0.6 does as well."""
ALIKE = 1e-9
"""Difference in probability up to which candidates are told apart by nothing."""
TOLD = tuple(CLASSES.index(name) for name in CHARACTERS if name != "none")


def with_characters(classes: Array, lines: Sequence[PredictedLine], orientation: Array, cell: Array) -> Array:
    """``classes`` (6,), with what it gives to edge, screw and mixed shared anew by what ``lines`` show.

    All others keep their probability. So do these where no line has a Burgers vector that it may have.

    Parameters
    ----------
    classes : probabilities in the order of ``CLASSES``
    lines : with their candidates, in the laboratory frame
    orientation : (3, 3)
        From crystal axes to the laboratory.
    cell : (3, 3)
        The lattice's, a row an edge, in Å along crystal axes.
    """
    known = [line for line in lines if line.candidates]
    if not known:
        return classes
    told = classes[[*TOLD]] * (_shown(known, cell @ orientation.T) + LEAST) ** WEIGHT
    shared = classes.copy()
    shared[[*TOLD]] = told * (classes[[*TOLD]].sum() / max(told.sum(), np.finfo(np.float64).tiny))
    return shared


def _shown(lines: Sequence[PredictedLine], cell: Array) -> Array:
    """Shares ``(3,)`` of edge, screw and mixed, by the length of lines that are there; pure ones that differ are mixed.

    ``cell`` lies along the laboratory's axes.
    """
    lengths, shares = zip(*(_characters(line, cell) for line in lines), strict=True)
    weights = [max(line.confidence, LEAST) * length for line, length in zip(lines, lengths, strict=True)]
    edge, screw, mixed = np.average(shares, axis=0, weights=weights)
    differ = min(edge, screw)
    return np.array([edge - differ, screw - differ, mixed + 2 * differ])


def _characters(line: PredictedLine, cell: Array) -> tuple[float, Array]:
    """Length, and probabilities ``(3,)`` of edge, screw and mixed, evenly over the most probable Burgers vectors."""
    best = max(candidate.probability for candidate in line.candidates)
    likeliest = [
        DislocationLine(line.points_A, candidate.fractions @ cell)
        for candidate in line.candidates
        if candidate.probability >= best - ALIKE
    ]
    angles = np.array([dislocation.character_deg for dislocation in likeliest])
    screw = 1 / (1 + np.exp((angles - PURE_WITHIN_DEG) / BLUR_DEG))
    edge = 1 / (1 + np.exp((90 - PURE_WITHIN_DEG - angles) / BLUR_DEG))
    return likeliest[0].length, np.array([edge.mean(), screw.mean(), (1 - edge - screw).mean()])
