"""What the measured patterns cannot tell apart, and which further reflection would. Free of torch."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SLIP_FAMILIES
from cdi.pattern import Reflection
from models.burgers_name import burgers_name
from models.prediction import BurgersCandidate, PredictedLine, Prediction
from training.measured_crystal import MeasuredCrystal

SAME_CHANCE = 1e-6
LARGEST_INDEX = 4
SAME_WINDING = 1e-6


def alike(line: PredictedLine) -> tuple[BurgersCandidate, ...]:
    """The most probable Burgers vectors of ``line``: those that wind alike in every measured reflection."""
    if not line.candidates:
        return ()
    top = line.candidates[0].probability
    return tuple(c for c in line.candidates if np.isclose(c.probability, top, rtol=SAME_CHANCE))


def telling_reflection(
    lattice: Lattice, candidates: Sequence[BurgersCandidate], measured: Sequence[Reflection]
) -> Reflection | None:
    """The reflection of least |G| in which the most ``candidates`` wind differently; None where none does.

    Windings count up to their sign: (b, ξ) and (−b, −ξ) are one line.
    """
    span = range(-LARGEST_INDEX, LARGEST_INDEX + 1)
    vectors = np.array([candidate.fractions for candidate in candidates])
    best: tuple[int, float, Reflection] | None = None
    for hkl in product(span, span, span):
        if not any(hkl) or hkl in measured or not lattice.allows(hkl):
            continue
        windings = np.abs(vectors @ hkl)
        kinds = len(np.unique(np.round(windings / SAME_WINDING) * SAME_WINDING))
        length = float(np.linalg.norm(lattice.reflection_vector(hkl)))
        rank = (-kinds, round(length, 6), tuple(-n for n in hkl))
        if kinds > 1 and (best is None or rank < (-best[0], round(best[1], 6), tuple(-n for n in best[2]))):
            best = (kinds, length, hkl)
    return None if best is None else best[2]


def indistinguishable(prediction: Prediction, crystal: MeasuredCrystal) -> Iterator[str]:
    """What else would give the same patterns, a sentence each."""
    yield (
        "The whole answer inverted through the middle, each line at −r with −b (the twin): intensity is the same. "
        "Where the crystal stands is likewise unknown."
    )
    if crystal.known is None:
        yield "The Burgers vectors: the lattice and the reflections were not given (--element, --reflections)."
    else:
        yield from _burgers(prediction, crystal.known.lattice, crystal.known.reflections)
        yield from _hidden(crystal.known.lattice, crystal.known.reflections)
    if len(crystal.exposures) < 3:
        number = len(crystal.exposures)
        yield (
            f"The displacement: {number} reflection{'s' if number > 1 else ''} show{'' if number > 1 else 's'} only "
            "its part along the scattering vector; three that are not coplanar give all of it."
        )


def _burgers(prediction: Prediction, lattice: Lattice, measured: Sequence[Reflection]) -> Iterator[str]:
    for number, line in enumerate(prediction.lines, 1):
        same = alike(line)
        if len(same) < 2:
            continue
        names = ", ".join(burgers_name(c.fractions) for c in same[:6]) + (" …" if len(same) > 6 else "")
        further = telling_reflection(lattice, same, measured)
        hint = f"; a pattern of {_hkl(further)} would tell some of them apart" if further else ""
        yield f"The Burgers vector of line {number}: {names} wind alike here{hint}."


def _hidden(lattice: Lattice, measured: Sequence[Reflection]) -> Iterator[str]:
    """Burgers vectors that no measured reflection sees."""
    if lattice.structure not in SLIP_FAMILIES:
        return
    unseen: list[tuple[float, ...]] = []
    for system in lattice.slip_systems():
        b = tuple(float(x) for x in system.burgers)
        known = any(b == other or b == tuple(-x for x in other) for other in unseen)
        if not known and max(abs(float(np.dot(hkl, b))) for hkl in measured) < SAME_WINDING:
            unseen.append(b)
    if unseen:
        yield (
            f"Whether further dislocations are there whose b lies in the reflecting planes, such as "
            f"{', '.join(map(burgers_name, unseen[:3]))}: they do not show in {', '.join(map(_hkl, measured))}."
        )


def _hkl(reflection: Reflection) -> str:
    return f"({' '.join(map(str, reflection))})"
