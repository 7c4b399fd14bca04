"""A set of atoms: positions in float64 and a species index into a short list of elements."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdi.lattices.materials import check_element


@dataclass(frozen=True)
class Atoms:
    """Positions and species of n atoms.

    Parameters
    ----------
    positions : (n, 3) float64
        Cartesian positions in Å.
    species : (n,) int
        Index of each atom's element in ``elements``.
    elements : tuple of str
        Chemical symbols.

    Raises
    ------
    ValueError
        If there are no atoms, a position is not finite, an element is unknown, or shapes disagree.
    """

    positions: NDArray[np.float64]
    species: NDArray[np.int64]
    elements: tuple[str, ...]

    def __post_init__(self) -> None:
        positions = np.asarray(self.positions, np.float64)
        species = np.asarray(self.species, np.int64)
        if positions.ndim != 2 or positions.shape[1] != 3:
            raise ValueError(f"positions must have shape (n, 3), got {positions.shape}")
        if len(positions) == 0:
            raise ValueError("positions must hold at least one atom, got none")
        bad = ~np.isfinite(positions).all(1)
        if bad.any():
            raise ValueError(
                f"positions must be finite, got {int(bad.sum())} atoms with NaN or infinity"
                f" (first: index {int(bad.argmax())})"
            )
        if species.shape != (len(positions),):
            raise ValueError(f"species must have shape ({len(positions)},), got {species.shape}")
        if species.min() < 0 or species.max() >= len(self.elements):
            raise ValueError(f"species must index elements {self.elements}, got {species.min()}..{species.max()}")
        for element in self.elements:
            check_element(element)
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "species", species)
        object.__setattr__(self, "elements", tuple(self.elements))

    @classmethod
    def of_element(cls, element: str, positions: NDArray[np.float64]) -> "Atoms":
        """Atoms ``(n, 3)`` Å of a single element."""
        return cls(positions, np.zeros(len(positions), np.int64), (element,))

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def centre(self) -> NDArray[np.float64]:
        """Mean position ``(3,)`` in Å."""
        mean: NDArray[np.float64] = self.positions.mean(0)
        return mean

    @property
    def extent(self) -> NDArray[np.float64]:
        """Size of the bounding box ``(3,)`` in Å."""
        size: NDArray[np.float64] = np.ptp(self.positions, axis=0)
        return size

    def centred(self) -> "Atoms":
        """The same atoms with their mean position at the origin."""
        return Atoms(self.positions - self.centre, self.species, self.elements)
