"""Conserved flux on the faces of cells, followed from cell to cell to paths."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Array = NDArray[np.float64]
Index = NDArray[np.int64]

REACH = 4
"""Faces over which the direction of a path is taken, where it has to be told from another."""
NONE = -1


@dataclass(frozen=True, eq=False)
class Path:
    """Faces ``(n,)`` in the sense of the flux; a closed path does not repeat its first."""

    faces: Index
    closed: bool


def flux_paths(left: Index, entered: Index, positions: Array) -> list[Path]:
    """The paths of unit fluxes that leave the cells ``left`` (n, 3) through faces into the cells ``entered`` (n, 3).

    Where several enter one cell, each goes on through the face that keeps it straightest, by the
    ``positions`` (n, 3) of up to ``REACH`` faces before and behind; the sum of the cosines is made as
    large as can be. A path ends in a cell that nothing else leaves.
    """
    if len(left) == 0:
        return []
    _, cells = np.unique(np.concatenate([entered, left]), axis=0, return_inverse=True)
    entering, leaving = np.split(cells.ravel(), 2)
    plain, ambiguous = _continuations(entering, leaving)
    before, behind = _inverse(plain), plain
    through = entered - left
    following = plain.copy()
    for incoming, outgoing in ambiguous:
        arriving = np.array([through[face] + positions[face] - positions[_far(face, before)] for face in incoming])
        departing = np.array([through[face] + positions[_far(face, behind)] - positions[face] for face in outgoing])
        rows, columns = linear_sum_assignment(-_unit(arriving) @ _unit(departing).T)
        following[incoming[rows]] = outgoing[columns]
    return _walked(following)


def _continuations(entering: Index, leaving: Index) -> tuple[Index, list[tuple[Index, Index]]]:
    """The next face ``(n,)`` where a cell leaves no choice, and the faces in and out of the other cells."""
    number = max(entering.max(), leaving.max()) + 1
    into, out_of = (np.bincount(cells, minlength=number) for cells in (entering, leaving))
    exit_of = np.full(number, NONE)
    exit_of[leaving] = np.arange(len(leaving))
    following = np.where((into == 1) & (out_of == 1), exit_of, NONE)[entering]
    choices = np.flatnonzero((into > 0) & (out_of > 0) & (into + out_of > 2))
    by_entered, by_left = np.split(np.argsort(entering), into.cumsum()), np.split(np.argsort(leaving), out_of.cumsum())
    return following, [(by_entered[cell], by_left[cell]) for cell in choices]


def _inverse(following: Index) -> Index:
    preceding = np.full(len(following), NONE)
    linked = np.flatnonzero(following != NONE)
    preceding[following[linked]] = linked
    return preceding


def _far(face: int, table: Index) -> int:
    """The face up to ``REACH`` links of ``table`` away."""
    for _ in range(REACH):
        if table[face] == NONE:
            break
        face = table[face]
    return face


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def _walked(following: Index) -> list[Path]:
    """Open paths from their first faces on, then what is left: closed ones."""
    starts = np.flatnonzero(_inverse(following) == NONE)
    seen = np.zeros(len(following), bool)
    paths = []
    for start in (*starts, *range(len(following))):
        if seen[start]:
            continue
        faces, face = [], start
        while face != NONE and not seen[face]:
            seen[face] = True
            faces.append(face)
            face = following[face]
        paths.append(Path(np.array(faces), closed=bool(face == start)))
    return paths
