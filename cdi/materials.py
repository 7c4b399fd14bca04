"""Elements with a cubic lattice, as a table with its sources.

Lattice constants at room temperature: Kittel, Introduction to Solid State Physics, 8th ed.
(2005), ch. 1, table 3. Poisson ratios are those of the isotropic polycrystal: Hirth & Lothe,
Theory of Dislocations, 2nd ed. (1982), appendix 1 (Voigt average).
"""

from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Material:
    """An element in its stable cubic structure.

    ``structure`` names an entry of ``cdi.lattice.STRUCTURES``, ``lattice_constant`` is in Å,
    ``poisson_ratio`` is dimensionless.
    """

    element: str
    structure: str
    lattice_constant: float
    poisson_ratio: float


MATERIALS = {
    entry.element: entry
    for entry in (
        Material("Al", "fcc", 4.05, 0.347),
        Material("Ni", "fcc", 3.52, 0.276),
        Material("Cu", "fcc", 3.61, 0.324),
        Material("Ag", "fcc", 4.09, 0.354),
        Material("Pt", "fcc", 3.92, 0.394),
        Material("Au", "fcc", 4.08, 0.412),
        Material("Pb", "fcc", 4.95, 0.387),
        Material("V", "bcc", 3.03, 0.352),
        Material("Fe", "bcc", 2.87, 0.291),
        Material("Nb", "bcc", 3.30, 0.392),
        Material("Mo", "bcc", 3.15, 0.305),
        Material("Ta", "bcc", 3.30, 0.339),
        Material("W", "bcc", 3.16, 0.278),
    )
}


def material(element: str) -> Material:
    """The table's entry of ``element``.

    Raises
    ------
    ValueError
        If the table has no such element; the message lists the choices.
    """
    if element not in MATERIALS:
        raise ValueError(f"element must be one of {', '.join(MATERIALS)}, got {element!r}")
    return MATERIALS[element]


def check_element(symbol: str) -> None:
    """Raise ``ValueError`` with the nearest symbol unless ``symbol`` is a chemical element."""
    from ase.data import chemical_symbols

    if symbol not in chemical_symbols[1:]:
        near = get_close_matches(symbol.capitalize(), chemical_symbols[1:], n=1, cutoff=0.3)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"element must be a chemical symbol, got {symbol!r}{hint}")
