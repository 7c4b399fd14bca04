"""What reflections tell of a crystal's dislocations, and what intensity hides of them. Free of torch.

One reflection G sees of a line with Burgers vector b and sense ξ

- the winding G·b/2π: the phase turns by 2π times that around the line. Zero: the line is invisible.
- the strain of its edge part, u ∝ b_e and u ∝ b × ξ (Hirth & Lothe, Theory of Dislocations, 2nd ed.,
  1982, eqs. 3-45 and 3-46), which remains where G·b = 0. It vanishes as well where G·b_e = 0 and
  G·(b × ξ) = 0, in an isotropic medium (Williams & Carter, Transmission Electron Microscopy, 2nd ed.,
  2009, ch. 26): always for a screw, for an edge where G is along ξ.
- the step G·R of a stacking fault with shift R, modulo 1 (ibid., ch. 25: α = 2π g·R).

A set of reflections fixes b up to what is perpendicular to all of them. Whatever the set, intensity
leaves the global phase, translation and the twin open: cdi.ambiguity, and ``twin`` here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.defects.line import DislocationLine
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SLIP_FAMILIES, Vector, equivalents
from cdi.pattern import Reflection

if TYPE_CHECKING:
    from cdi.crystal import Crystal

Array = NDArray[np.float64]

SEEN = 1e-6
"""Turns of the phase from which a winding, a strain or a step counts as seen."""

_CUBIC_PARTIALS: tuple[Vector, ...] = (
    (1 / 6, 1 / 6, -1 / 3), (1 / 3, 1 / 3, 1 / 3), (1 / 6, 1 / 6, 0), (1 / 3, 0, 0), (1 / 3, 1 / 3, 0),
)  # fmt: skip
PARTIALS: dict[str, tuple[Vector, ...]] = {
    "fcc": _CUBIC_PARTIALS,
    "diamond": _CUBIC_PARTIALS,
    "hcp": ((1 / 3, -1 / 3, 0), (0, 0, 1 / 2), (1 / 3, -1 / 3, 1 / 2)),
}
"""Representatives of the partials of each structure, in fractions of the cell (Hirth & Lothe, ch. 10, 11).

Cubic: Shockley 1/6⟨112⟩, Frank 1/3⟨111⟩, stair-rods 1/6⟨110⟩, 1/3⟨100⟩, 1/3⟨110⟩. Hexagonal: Shockley
1/3⟨1-100⟩, Frank 1/2⟨0001⟩ and their sum 1/6⟨2-203⟩.
"""


@dataclass(frozen=True, eq=False)
class LineIdentifiability:
    """What a set of n reflections tells of one line.

    Parameters
    ----------
    windings : (n,)
        G·b/2π for each reflection.
    residuals : (n,)
        Largest |G·(b × ξ)|/2π over the segments of the line.
    strained : (n,) bool
        Whether the strain of the edge part reaches the phase: of an invisible line, all that is left.
    candidates : (m, 3)
        Burgers vectors, in fractions of the cell, that wind alike in every reflection for this sense of
        the line, b itself first. The same with (−b, −ξ), and their twins, are not listed again.
    """

    windings: Array
    residuals: Array
    strained: NDArray[np.bool_]
    candidates: Array

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Whether the phase winds ``(n,)``."""
        return np.abs(self.windings) > SEEN

    @property
    def determined(self) -> bool:
        """Whether the line is visible and no other Burgers vector winds alike."""
        return bool(self.visible.any()) and len(self.candidates) == 1


@dataclass(frozen=True, eq=False)
class Identifiability:
    """What a set of reflections tells of a crystal's lines.

    Parameters
    ----------
    lines : tuple of LineIdentifiability
        In the order of ``crystal.lines()``.
    rank : int
        Dimensions that the reflections span: with 3 any Burgers vector is fixed.
    """

    lines: tuple[LineIdentifiability, ...]
    rank: int

    @property
    def visible_lines(self) -> tuple[int, ...]:
        """Positions of the lines that at least one reflection sees."""
        return tuple(i for i, line in enumerate(self.lines) if line.visible.any())

    @property
    def determined(self) -> bool:
        """Whether every line is seen and its Burgers vector fixed, up to the joint twin."""
        return all(line.determined for line in self.lines)


def identifiability(crystal: "Crystal", reflections: Sequence[Reflection]) -> Identifiability:
    """What ``reflections`` tell of the lines of ``crystal``.

    Raises
    ------
    ValueError
        If there is no reflection, one is extinct, or a dislocation misses the crystal.
    """
    lines = tuple(
        line_identifiability(line, crystal.lattice, crystal.orientation, reflections) for line in crystal.lines()
    )
    rank = int(np.linalg.matrix_rank(_reflection_vectors(crystal.lattice, crystal.orientation, reflections)))
    return Identifiability(lines, rank)


def line_identifiability(
    line: DislocationLine, lattice: Lattice, orientation: ArrayLike, reflections: Sequence[Reflection]
) -> LineIdentifiability:
    """What ``reflections`` tell of ``line`` in a lattice turned by ``orientation`` (3, 3) to the laboratory.

    Raises
    ------
    ValueError
        If there is no reflection, or one is extinct in the lattice.
    """
    G = _reflection_vectors(lattice, orientation, reflections)
    burgers = lattice.fractions(np.asarray(orientation, np.float64).T @ line.burgers)
    along = line.tangents
    edge = line.burgers - (along @ line.burgers)[:, None] * along
    across = G @ np.cross(line.burgers, along).T / (2 * np.pi)
    strain = np.hypot(across, G @ edge.T / (2 * np.pi))
    return LineIdentifiability(
        windings=G @ line.burgers / (2 * np.pi),
        residuals=np.abs(across).max(1, initial=0.0),
        strained=strain.max(1, initial=0.0) > SEEN,
        candidates=equivalent_burgers(burgers, lattice, reflections),
    )


def equivalent_burgers(burgers: ArrayLike, lattice: Lattice, reflections: Sequence[Reflection]) -> Array:
    """Burgers vectors ``(m, 3)`` of the lattice that wind as ``burgers`` (3,) in every reflection.

    All in fractions of the cell; ``burgers`` itself comes first. Candidates are the perfect vectors of
    the structure's slip families if ``burgers`` is a lattice vector, else its partials, each in both
    senses, and whatever is symmetric to ``burgers``.
    """
    own = np.asarray(burgers, np.float64)
    others = candidate_burgers(own, lattice)
    miller = np.asarray(reflections, np.float64)
    alike = (np.abs((others - own) @ miller.T) < SEEN).all(1) & (np.abs(others - own).max(1) > SEEN)
    return np.concatenate([own[None], others[alike]])


def candidate_burgers(burgers: ArrayLike, lattice: Lattice) -> Array:
    """Burgers vectors ``(m, 3)`` that a line like ``burgers`` (3,) could have, in fractions of the cell."""
    a, b, c = (float(x) + 0.0 for x in np.round(np.asarray(burgers, np.float64), 9))
    perfect = lattice.is_lattice_vector((a, b, c))
    return _candidates((a, b, c), lattice.structure, tuple(lattice.cell.ravel()), perfect)


@lru_cache(maxsize=256)
def _candidates(burgers: Vector, structure: str, flat: tuple[float, ...], perfect: bool) -> Array:
    families = tuple(family.burgers for family in SLIP_FAMILIES.get(structure, ()))
    cell = np.reshape(flat, (3, 3))
    images = [image for v in (*(families if perfect else PARTIALS.get(structure, ())), burgers)
              for image in equivalents(v, cell)]  # fmt: skip
    return np.unique(np.round(images, 9) + 0.0, axis=0)


def fault_contrast(shift: ArrayLike, reflections: Sequence[Reflection]) -> Array:
    """Phase step ``(n,)`` across a stacking fault, g·R modulo 1 in (−½, ½] turns; 0: it is invisible.

    ``shift`` R (3,) is in fractions of the cell. In fcc, R = 1/6⟨112⟩ steps by ±1/3 or 0.
    """
    turns = np.asarray(reflections, np.float64) @ np.asarray(shift, np.float64)
    step = turns - np.ceil(turns - 0.5)
    return np.where(np.abs(step + 0.5) < SEEN, 0.5, step) + 0.0


def twin(lines: Sequence[DislocationLine]) -> tuple[DislocationLine, ...]:
    """The lines of the twin (s(r), u(r)) → (s(−r), −u(−r)), which has the same intensity in every reflection.

    A line through r₀ with (b, ξ) becomes one through −r₀ with (−b, ξ). Inverting the corners would turn ξ
    round, so they are run through in reverse.
    """
    return tuple(DislocationLine(-line.points[::-1], -line.burgers) for line in lines)


def _reflection_vectors(lattice: Lattice, orientation: ArrayLike, reflections: Sequence[Reflection]) -> Array:
    if len(reflections) == 0:
        raise ValueError("reflections must hold at least one, got none")
    vectors = np.array([lattice.reflection_vector(reflection) for reflection in reflections])
    return np.asarray(vectors @ np.asarray(orientation, np.float64).T)
