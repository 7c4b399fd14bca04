"""Edge, screw or mixed: what the course of traced lines says of it beside the network, where the crystal is known.

A dislocation glides in a slip plane that holds its Burgers vector. Slip system and character together say along which
direction of the crystal its line runs, and how it winds in each reflection (Hirth & Lothe, Theory of Dislocations,
2nd ed., 1982, ch. 9-12): in fcc a screw seen in 111 is inclined to G by 35°, an edge by 62°. A network sees the
character in the strain; the course of the line says the same by geometry, from one reflection already. Lines that do
not glide, as a Lomer lock in fcc, an edge along ⟨110⟩, are taken for such that do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.defects.classes import CHARACTERS, CLASSES, PURE_WITHIN_DEG
from cdi.lattices.slip import SLIP_FAMILIES
from models.known_crystal import KnownCrystal
from models.prediction import PredictedLine

Array = NDArray[np.float64]

COURSE_DEG = 5.0
"""Standard error of a traced line's direction."""
WINDING = 0.3
"""Standard error of g·b along a vortex, in turns: a right object's winds by whole ones."""
UNLIKE = 0.05
"""Weight that is left to slip systems that wind otherwise: the object of a reflection may be wrong."""
LEAST = 0.05
"""Added to every share, for the same reason."""
WEIGHT = 0.8
"""Power of the shares beside the network's probabilities. On held-out crystals any from 0.5 to 1 does as well."""
EVERY_DEG = 2.0
"""Between the angles of one character that are tried."""
TOLD = tuple(CLASSES.index(name) for name in CHARACTERS if name != "none")


def with_characters(classes: Array, lines: Sequence[PredictedLine], crystal: KnownCrystal, G: ArrayLike) -> Array:
    """``classes`` (6,), with what it gives to edge, screw and mixed shared anew by the course of ``lines``.

    All others keep their probability. So do these where no line has a course, no slip system is known for the
    structure, or ``G`` (reflections, 3) in Å⁻¹ is zero, the exposures having no geometry. Where the reflections leave
    the crystal free to turn about G, only the inclination of a line to G counts.
    """
    measured = np.asarray(G, np.float64)
    straight = [line for line in lines if np.linalg.norm(_chord(line)) > 0]
    if not straight or crystal.lattice.structure not in SLIP_FAMILIES or not measured[0].any():
        return classes
    glides = _Glides.of(crystal)
    orientation = crystal.oriented(measured)
    shares = [_characters(line, glides, orientation, measured[0]) for line in straight]
    weights = [line.length * max(line.confidence, LEAST) for line in straight]
    told = classes[[*TOLD]] * (np.average(shares, axis=0, weights=weights) + LEAST) ** WEIGHT
    shared = classes.copy()
    shared[[*TOLD]] = told * (classes[[*TOLD]].sum() / max(told.sum(), np.finfo(np.float64).tiny))
    return shared


@dataclass(frozen=True, eq=False)
class _Glides:
    """Every straight line that glides in a crystal, as ``n`` of them.

    Parameters
    ----------
    character : (n,) edge, screw or mixed, as 0, 1, 2
    share : (n,) of all lines of its character
    course : (n, 3) unit vectors along crystal axes
    windings : (n, reflections) g·b
    inclination_deg : (n,) to the first reflection
    """

    character: NDArray[np.int64]
    share: Array
    course: Array
    windings: Array
    inclination_deg: Array

    @classmethod
    def of(cls, crystal: KnownCrystal) -> "_Glides":
        """All slip systems of ``crystal`` alike; half of the pure lines lie along the valleys at 0° and 90°."""
        lattice, systems = crystal.lattice, crystal.lattice.slip_systems()
        burgers = np.array([system.burgers for system in systems])
        along = _unit(lattice.direction(burgers))
        across = np.cross(_unit(lattice.plane_normal([system.normal for system in systems])), along)
        angles, character, share = _angles_deg()
        turn = np.radians(angles)[:, None, None]
        course = np.cos(turn) * along + np.sin(turn) * across
        first = _unit(lattice.reflection_vector(crystal.reflections[0]))
        windings = burgers @ np.asarray(crystal.reflections, np.float64).T
        number = len(systems)
        return cls(
            np.repeat(character, number),
            np.repeat(share / number, number),
            course.reshape(-1, 3),
            np.tile(windings, (len(angles), 1)),
            _between_deg(course.reshape(-1, 3) @ first),
        )


def _angles_deg() -> tuple[Array, NDArray[np.int64], Array]:
    """Angles from b to ξ within the slip plane, the character of each, and its share of that character."""
    pure = np.arange(-PURE_WITHIN_DEG, PURE_WITHIN_DEG + EVERY_DEG / 2, EVERY_DEG)
    mixed = np.arange(PURE_WITHIN_DEG, 90 - PURE_WITHIN_DEG + EVERY_DEG / 2, EVERY_DEG)
    parts = [(0, pure + 90), (0, np.array([90.0])), (1, pure), (1, np.array([0.0])), (2, mixed), (2, -mixed)]
    angles = np.concatenate([part for _, part in parts])
    character = np.concatenate([np.full(len(part), kind) for kind, part in parts])
    share = np.concatenate([np.full(len(part), 0.5 / len(part)) for _, part in parts])
    return angles, character, share


def _characters(line: PredictedLine, glides: _Glides, orientation: Array | None, G: Array) -> Array:
    """Probabilities ``(3,)`` of edge, screw and mixed, these being alike likely beforehand."""
    chord = _unit(_chord(line))
    if orientation is not None:
        misses = _between_deg(glides.course @ orientation.T @ chord)
    else:
        misses = _between_deg(chord @ _unit(G)) - glides.inclination_deg
    wound = np.asarray(line.windings)
    # The twin has −b on the same course.
    unwound = np.stack([np.linalg.norm(wound - sign * glides.windings, axis=1) for sign in (1, -1)])
    fit = _normal(misses, COURSE_DEG) * (_normal(unwound, WINDING).sum(0) + UNLIKE)
    likely = np.bincount(glides.character, glides.share * fit, minlength=len(TOLD)).astype(np.float64)
    return np.asarray(likely / max(likely.sum(), np.finfo(np.float64).tiny))


def _chord(line: PredictedLine) -> Array:
    return np.asarray(line.points_A[-1] - line.points_A[0], np.float64)


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _between_deg(cosine: Array) -> Array:
    """Angle in [0, 90] degrees between directions without a sense."""
    return np.asarray(np.degrees(np.arccos(np.clip(np.abs(cosine), 0, 1))))


def _normal(distance: Array, error: float) -> Array:
    return np.asarray(np.exp(-0.5 * (distance / error) ** 2))
