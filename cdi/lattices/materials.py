"""Materials: structure, lattice constants, elastic constants and Debye temperature, with their sources.

Lattice constants at room temperature: Kittel, Introduction to Solid State Physics, 8th ed.
(2005), ch. 1, table 3 (cubic elements, Mg, Zn), and Wyckoff, Crystal Structures, vol. 1 (1963), for the other
hexagonal metals and compounds. Elastic constants in GPa at room temperature: Hirth & Lothe, Theory of
Dislocations, 2nd ed. (1982), appendix 1; for Pd, Ir, Cr, KCl and the hexagonal metals but Mg and Zn:
Simmons & Wang, Single Crystal Elastic Constants and Calculated Aggregate Properties (1971). Debye
temperatures in K at low temperature: Kittel, ch. 5, table 1, which lists elements. The Poisson ratio of
the isotropic medium is the Voigt average of the elastic constants.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from cdi.lattices.elasticity import cubic_stiffness, hexagonal_stiffness
from cdi.lattices.energies import STACKING_FAULT_ENERGIES, SURFACE_ENERGIES, Facet
from cdi.lattices.structures import STRUCTURES


@dataclass(frozen=True)
class Material:
    """A material in its stable structure.

    ``structure`` names an entry of ``STRUCTURES``, ``elements`` are its species in that
    structure's order, ``a`` and ``c`` are edges in Å (``c`` None where cubic), ``constants`` are
    C₁₁, C₁₂, C₄₄ (cubic) or C₁₁, C₁₂, C₁₃, C₃₃, C₄₄ (hexagonal) in GPa.
    ``surface_energies`` are J/m² of each facet family (Miller indices), empty where none is known;
    ``debye_temperature_K`` and ``stacking_fault_energy_mJ_per_m2`` (intrinsic, fcc) are None there.
    """

    name: str
    structure: str
    a: float
    constants: tuple[float, ...]
    debye_temperature_K: float | None = None
    c: float | None = None
    elements: tuple[str, ...] = ()
    stacking_fault_energy_mJ_per_m2: float | None = None
    surface_energies: Mapping[Facet, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not self.elements:
            object.__setattr__(self, "elements", (self.name,))

    @property
    def stiffness(self) -> NDArray[np.float64]:
        """Voigt matrix ``(6, 6)`` in GPa, crystal axes."""
        build = cubic_stiffness if STRUCTURES[self.structure].system == "cubic" else hexagonal_stiffness
        return build(*self.constants)


MATERIALS = {
    entry.name: replace(
        entry,
        surface_energies=SURFACE_ENERGIES.get(entry.name, {}),
        stacking_fault_energy_mJ_per_m2=STACKING_FAULT_ENERGIES.get(entry.name),
    )
    for entry in (
        Material("Al", "fcc", 4.05, (108.2, 61.3, 28.5), 428),
        Material("Ni", "fcc", 3.52, (246.5, 147.3, 124.7), 450),
        Material("Cu", "fcc", 3.61, (168.4, 121.4, 75.4), 343),
        Material("Pd", "fcc", 3.89, (227.1, 176.0, 71.7), 274),
        Material("Ag", "fcc", 4.09, (124.0, 93.4, 46.1), 225),
        Material("Ir", "fcc", 3.84, (580.0, 242.0, 256.0), 420),
        Material("Pt", "fcc", 3.92, (347.0, 251.0, 76.5), 240),
        Material("Au", "fcc", 4.08, (186.0, 157.0, 42.0), 165),
        Material("Pb", "fcc", 4.95, (46.6, 39.2, 14.4), 105),
        Material("V", "bcc", 3.03, (228.0, 119.0, 42.6), 380),
        Material("Cr", "bcc", 2.88, (350.0, 67.8, 100.8), 630),
        Material("Fe", "bcc", 2.87, (242.0, 146.5, 112.0), 470),
        Material("Nb", "bcc", 3.30, (246.0, 134.0, 28.7), 275),
        Material("Mo", "bcc", 3.15, (460.0, 176.0, 110.0), 450),
        Material("Ta", "bcc", 3.30, (267.0, 161.0, 82.5), 240),
        Material("W", "bcc", 3.16, (521.0, 201.0, 160.0), 400),
        Material("Be", "hcp", 2.287, (292.3, 26.7, 14.0, 336.4, 162.5), 1440, c=3.583),
        Material("Mg", "hcp", 3.21, (59.7, 26.2, 21.7, 61.7, 16.4), 400, c=5.21),
        Material("Ti", "hcp", 2.950, (162.4, 92.0, 69.0, 180.7, 46.7), 420, c=4.686),
        Material("Co", "hcp", 2.507, (307.1, 165.0, 102.7, 358.1, 75.5), 445, c=4.069),
        Material("Zn", "hcp", 2.66, (161.0, 34.2, 50.1, 61.0, 38.3), 327, c=4.95),
        Material("Zr", "hcp", 3.232, (143.4, 72.8, 65.3, 164.8, 32.0), 291, c=5.147),
        Material("Cd", "hcp", 2.979, (114.5, 39.5, 39.9, 50.85, 19.85), 209, c=5.618),
        Material("C", "diamond", 3.567, (1076.0, 125.0, 576.0), 2230),
        Material("Si", "diamond", 5.43, (165.7, 63.9, 79.6), 645),
        Material("Ge", "diamond", 5.66, (128.9, 48.3, 67.1), 374),
        Material("LiF", "rock-salt", 4.017, (111.2, 42.0, 62.8), elements=("Li", "F")),
        Material("NaCl", "rock-salt", 5.64, (48.7, 12.4, 12.6), elements=("Na", "Cl")),
        Material("KCl", "rock-salt", 6.293, (40.7, 7.1, 6.3), elements=("K", "Cl")),
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
