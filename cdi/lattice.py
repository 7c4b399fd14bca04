"""Cubic lattices, their reflections and their slip systems, as data.

Directions and planes are Miller indices of the conventional cell; Burgers vectors are in units
of the lattice constant. Slip systems: Hirth & Lothe, Theory of Dislocations, 2nd ed. (1982),
ch. 9 (fcc) and ch. 11 (bcc).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.materials import material

Array = NDArray[np.float64]

STRUCTURES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "fcc": ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)),
    "bcc": ((0, 0, 0), (0.5, 0.5, 0.5)),
}
"""Fractional sites of the conventional cell."""


@dataclass(frozen=True)
class SlipFamily:
    """A family ``⟨burgers⟩{normal}``: one representative of each."""

    burgers: tuple[float, float, float]
    normal: tuple[int, int, int]


SLIP_FAMILIES: dict[str, tuple[SlipFamily, ...]] = {
    "fcc": (SlipFamily((0.5, 0.5, 0.0), (1, 1, 1)),),
    "bcc": (SlipFamily((0.5, 0.5, 0.5), (1, 1, 0)), SlipFamily((0.5, 0.5, 0.5), (1, 1, 2))),
}


@dataclass(frozen=True)
class SlipSystem:
    """One Burgers vector (units of a) in one slip plane: ``burgers · normal = 0``."""

    burgers: tuple[float, ...]
    normal: tuple[float, ...]


@dataclass(frozen=True)
class Lattice:
    """A cubic lattice of one element.

    Parameters
    ----------
    structure : str
        A key of ``STRUCTURES``.
    constant : float
        Edge of the conventional cell in Å.
    element : str
    poisson_ratio : float
        Of the isotropic medium.

    Raises
    ------
    ValueError
        For an unknown structure or a constant or Poisson ratio out of range.
    """

    structure: str
    constant: float
    element: str
    poisson_ratio: float

    def __post_init__(self) -> None:
        if self.structure not in STRUCTURES:
            raise ValueError(f"structure must be one of {', '.join(STRUCTURES)}, got {self.structure!r}")
        if not 1 <= self.constant <= 20:
            raise ValueError(f"constant must lie in [1, 20] Å, got {self.constant}")
        if not -1 < self.poisson_ratio < 0.5:
            raise ValueError(f"poisson_ratio must lie in (-1, 0.5), got {self.poisson_ratio}")

    @classmethod
    def of_element(cls, element: str) -> "Lattice":
        """The element's lattice from the table of materials."""
        entry = material(element)
        return cls(entry.structure, entry.lattice_constant, element, entry.poisson_ratio)

    def allows(self, reflection: tuple[int, int, int]) -> bool:
        """Whether the structure factor of ``reflection`` is non-zero (selection rule)."""
        sites = np.asarray(STRUCTURES[self.structure])
        factor = np.exp(2j * np.pi * sites @ np.asarray(reflection, np.float64)).sum()
        return any(reflection) and bool(abs(factor) > 1e-9)

    def reflection_vector(self, reflection: tuple[int, int, int]) -> Array:
        """G ``(3,)`` in Å⁻¹ (2π included), along the crystal axes.

        Raises
        ------
        ValueError
            If the reflection is (0, 0, 0) or extinct in this structure.
        """
        if not self.allows(reflection):
            rule = {"fcc": "h, k, l all even or all odd", "bcc": "h + k + l even"}[self.structure]
            raise ValueError(f"reflection must be allowed in {self.structure} ({rule}) and not 0 0 0, got {reflection}")
        return 2 * np.pi / self.constant * np.asarray(reflection, np.float64)

    def slip_systems(self) -> list[SlipSystem]:
        """Every slip system, both senses of each Burgers vector, in a fixed order."""
        return [
            SlipSystem(burgers, normal)
            for family in SLIP_FAMILIES[self.structure]
            for normal in _half(_equivalents(family.normal))
            for burgers in _equivalents(family.burgers)
            if abs(np.dot(burgers, normal)) < 1e-9
        ]

    def sites(self, low: ArrayLike, high: ArrayLike) -> Array:
        """Lattice sites ``(n, 3)`` in Å, crystal axes, within the box from ``low`` to ``high``."""
        first = np.floor(np.asarray(low) / self.constant).astype(int) - 1
        last = np.ceil(np.asarray(high) / self.constant).astype(int) + 1
        cells = np.stack(
            np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(first, last, strict=True)), indexing="ij"), -1
        )
        basis = np.asarray(STRUCTURES[self.structure])
        points = (cells.reshape(-1, 1, 3) + basis).reshape(-1, 3) * self.constant
        inside = ((points >= np.asarray(low)) & (points <= np.asarray(high))).all(1)
        return np.asarray(points[inside])


def _equivalents(vector: tuple[float, ...]) -> list[tuple[float, ...]]:
    """All images of ``vector`` under the cubic point group m-3m, sorted."""
    return sorted({tuple(s * v + 0.0 for s, v in zip(signs, order, strict=True)) for order, signs in _signed(vector)})


def _signed(vector: tuple[float, ...]) -> Iterator[tuple[tuple[float, ...], tuple[int, ...]]]:
    return product(permutations(vector), product((1, -1), repeat=3))


def _half(vectors: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """One of each pair ±v: the one whose first non-zero component is positive."""
    return [v for v in vectors if next(x for x in v if x) > 0]
