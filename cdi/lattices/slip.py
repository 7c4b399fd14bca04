"""Slip systems: Burgers vectors and glide planes of each structure, as data.

Burgers vectors are in fractions of the conventional cell's edges, planes in Miller indices of
that cell, so b·n = 0 is Σ b_i n_i in every lattice system. Perfect systems: Hirth & Lothe, Theory
of Dislocations, 2nd ed. (1982), ch. 9 (fcc), 10 (diamond), 11 (bcc, hcp), 12 (rock salt).
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class SlipFamily:
    """A family ``⟨burgers⟩{normal}``: one representative of each, b in the plane, and its name in the field."""

    name: str
    burgers: Vector
    normal: tuple[int, int, int]

    def __post_init__(self) -> None:
        if abs(np.dot(self.burgers, self.normal)) > 1e-9:
            raise ValueError(f"burgers must lie in the slip plane {self.normal}, got {self.burgers}")


SLIP_FAMILIES: dict[str, tuple[SlipFamily, ...]] = {
    "fcc": (SlipFamily("octahedral", (0.5, -0.5, 0), (1, 1, 1)),),
    "bcc": (
        SlipFamily("{110}", (0.5, -0.5, 0.5), (1, 1, 0)),
        SlipFamily("{112}", (0.5, 0.5, -0.5), (1, 1, 2)),
    ),
    "hcp": (
        SlipFamily("basal", (1, 0, 0), (0, 0, 1)),
        SlipFamily("prismatic", (1, 0, 0), (0, 1, 0)),
        SlipFamily("pyramidal a", (1, 0, 0), (0, 1, 1)),
        SlipFamily("pyramidal c+a", (1, 1, 1), (1, 1, -2)),
    ),
    "diamond": (SlipFamily("octahedral", (0.5, -0.5, 0), (1, 1, 1)),),
    "rock-salt": (
        SlipFamily("{110}", (0.5, -0.5, 0), (1, 1, 0)),
        SlipFamily("{100}", (0.5, -0.5, 0), (0, 0, 1)),
    ),
}
"""Perfect dislocations. Burgers vectors are lattice vectors."""

SHOCKLEY = SlipFamily("Shockley", (1 / 6, 1 / 6, -1 / 3), (1, 1, 1))
"""Partials 1/6⟨112⟩{111} that bound an intrinsic stacking fault in fcc."""


@dataclass(frozen=True)
class SlipSystem:
    """One Burgers vector (fractions of the cell) in one slip plane (Miller indices): b·n = 0."""

    burgers: Vector
    normal: Vector


def slip_systems(family: SlipFamily, cell: Array) -> list[SlipSystem]:
    """All systems of ``family``, both senses of each Burgers vector, in a fixed order."""
    return list(_slip_systems(family, tuple(np.asarray(cell, np.float64).ravel())))


@lru_cache(maxsize=256)
def _slip_systems(family: SlipFamily, flat: tuple[float, ...]) -> tuple[SlipSystem, ...]:
    operations = point_group(np.reshape(flat, (3, 3)))
    normals, burgers = _images(family.normal, operations, reciprocal=True), _images(family.burgers, operations)
    pairs = {(_upper(normal), vector) for normal, vector in zip(normals, burgers, strict=True)}
    return tuple(SlipSystem(burgers, normal) for normal, burgers in sorted(pairs))


def equivalents(vector: Vector | tuple[int, ...], cell: Array, *, reciprocal: bool = False) -> list[Vector]:
    """All images of ``vector`` under the point group of the lattice ``cell`` (rows), sorted: see ``images``."""
    return images(vector, point_group(cell), reciprocal=reciprocal)


def images(vector: Vector | tuple[int, ...], operations: Array, *, reciprocal: bool = False) -> list[Vector]:
    """All images of ``vector`` under ``operations`` (n, 3, 3), integer matrices as of ``point_group``, sorted.

    Directions are in fractions of the cell; with ``reciprocal`` Miller indices of planes.
    """
    return sorted(set(_images(vector, operations, reciprocal=reciprocal)))


def point_group(cell: Array) -> Array:
    """Integer matrices ``(n, 3, 3)`` W with (W cell)(W cell)ᵀ = cell cellᵀ: symmetries of the lattice.

    For cubic and hexagonal lattices it is also the point group of fcc, bcc, hcp, diamond and rock salt.
    """
    return _point_group(tuple(np.asarray(cell, np.float64).ravel()))


@lru_cache(maxsize=64)
def _point_group(flat: tuple[float, ...]) -> Array:
    cell = np.reshape(flat, (3, 3))
    metric = cell @ cell.T
    edges = np.array(list(product((-1, 0, 1), repeat=3)))
    lengths = np.einsum("ni,ij,nj->n", edges, metric, edges)
    # An edge goes to one of its own length: few of the 3⁹ matrices are left.
    images = (edges[np.abs(lengths - square) < 1e-6 * metric.max()] for square in np.diag(metric))
    candidates = np.array(list(product(*images)))
    metrics = candidates @ metric @ candidates.transpose(0, 2, 1)
    return np.asarray(candidates[np.abs(metrics - metric).max((1, 2)) < 1e-6 * metric.max()], np.float64)


def _images(vector: Vector | tuple[int, ...], operations: Array, *, reciprocal: bool = False) -> list[Vector]:
    """The image of ``vector`` under each of ``operations`` (n, 3, 3), in their order."""
    # Rows of an operation are images of the cell's edges: contravariant components turn with its transpose.
    turned = np.linalg.inv(operations) @ vector if reciprocal else np.asarray(vector) @ operations
    return [(a, b, c) for a, b, c in (np.round(turned, 12) + 0.0).tolist()]


def _upper(vector: Vector) -> Vector:
    """That one of ±``vector`` whose first non-zero component is positive."""
    a, b, c = vector
    return vector if next(x for x in vector if x) > 0 else (0.0 - a, 0.0 - b, 0.0 - c)
