"""Materials: structure, lattice constants and elastic constants, as a table with its sources.

Lattice constants at room temperature: Kittel, Introduction to Solid State Physics, 8th ed.
(2005), ch. 1, table 3 (elements), and Wyckoff, Crystal Structures (1963), for compounds. Elastic
constants in GPa: Hirth & Lothe, Theory of Dislocations, 2nd ed. (1982), appendix 1. The Poisson
ratio of the isotropic medium is the Voigt average of those constants.
"""

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from cdi.lattices.elasticity import cubic_stiffness, hexagonal_stiffness
from cdi.lattices.structures import STRUCTURES


@dataclass(frozen=True)
class Material:
    """A material in its stable structure.

    ``structure`` names an entry of ``STRUCTURES``, ``elements`` are its species in that
    structure's order, ``a`` and ``c`` are edges in Å (``c`` None where cubic), ``constants`` are
    C₁₁, C₁₂, C₄₄ (cubic) or C₁₁, C₁₂, C₁₃, C₃₃, C₄₄ (hexagonal) in GPa.
    """

    name: str
    structure: str
    a: float
    constants: tuple[float, ...]
    c: float | None = None
    elements: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.elements:
            object.__setattr__(self, "elements", (self.name,))

    @property
    def stiffness(self) -> NDArray[np.float64]:
        """Voigt matrix ``(6, 6)`` in GPa, crystal axes."""
        build = cubic_stiffness if STRUCTURES[self.structure].system == "cubic" else hexagonal_stiffness
        return build(*self.constants)


MATERIALS = {
    entry.name: entry
    for entry in (
        Material("Al", "fcc", 4.05, (108.2, 61.3, 28.5)),
        Material("Ni", "fcc", 3.52, (246.5, 147.3, 124.7)),
        Material("Cu", "fcc", 3.61, (168.4, 121.4, 75.4)),
        Material("Ag", "fcc", 4.09, (124.0, 93.4, 46.1)),
        Material("Pt", "fcc", 3.92, (347.0, 251.0, 76.5)),
        Material("Au", "fcc", 4.08, (186.0, 157.0, 42.0)),
        Material("Pb", "fcc", 4.95, (46.6, 39.2, 14.4)),
        Material("V", "bcc", 3.03, (228.0, 119.0, 42.6)),
        Material("Fe", "bcc", 2.87, (242.0, 146.5, 112.0)),
        Material("Nb", "bcc", 3.30, (246.0, 134.0, 28.7)),
        Material("Mo", "bcc", 3.15, (460.0, 176.0, 110.0)),
        Material("Ta", "bcc", 3.30, (267.0, 161.0, 82.5)),
        Material("W", "bcc", 3.16, (521.0, 201.0, 160.0)),
        Material("Mg", "hcp", 3.21, (59.7, 26.2, 21.7, 61.7, 16.4), c=5.21),
        Material("Zn", "hcp", 2.66, (161.0, 34.2, 50.1, 61.0, 38.3), c=4.95),
        Material("Si", "diamond", 5.43, (165.7, 63.9, 79.6)),
        Material("Ge", "diamond", 5.66, (128.9, 48.3, 67.1)),
        Material("NaCl", "rock-salt", 5.64, (48.7, 12.4, 12.6), elements=("Na", "Cl")),
        Material("MgO", "rock-salt", 4.21, (286.0, 87.0, 148.0), elements=("Mg", "O")),
    )
}


def material(name: str) -> Material:
    """The table's entry of ``name``: an element or a compound.

    Raises
    ------
    ValueError
        If the table has no such material; the message lists the choices.
    """
    if name not in MATERIALS:
        raise ValueError(f"element must be one of {', '.join(MATERIALS)}, got {name!r}")
    return MATERIALS[name]


def check_element(symbol: str) -> None:
    """Raise ``ValueError`` with the nearest symbol unless ``symbol`` is a chemical element."""
    from ase.data import chemical_symbols

    if symbol not in chemical_symbols[1:]:
        near = get_close_matches(symbol.capitalize(), chemical_symbols[1:], n=1, cutoff=0.3)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"element must be a chemical symbol, got {symbol!r}{hint}")
