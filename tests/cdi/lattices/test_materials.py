"""Tables of materials against each other and against published numbers that did not make them."""

import numpy as np
import pytest
from ase.data import atomic_masses, atomic_numbers, reference_states
from scipy.constants import Boltzmann, atomic_mass, h

from cdi.lattices.elasticity import voigt_average, zener_ratio
from cdi.lattices.energies import STACKING_FAULT_ENERGIES, SURFACE_ENERGIES
from cdi.lattices.lattice import Lattice
from cdi.lattices.materials import MATERIALS, check_element, material

CUBIC = [name for name, entry in MATERIALS.items() if entry.c is None]
ELEMENTS = [name for name, entry in MATERIALS.items() if len(entry.elements) == 1]

# 2 C₄₄/(C₁₁ − C₁₂): Hirth & Lothe (1982), appendix 1; Pd and Ir: Simmons & Wang (1971).
ZENER = {
    "Al": 1.21, "Cu": 3.21, "Ag": 3.01, "Au": 2.90, "Ni": 2.51, "Pb": 3.90, "Pd": 2.81, "Ir": 1.51, "Cr": 0.71,
    "Fe": 2.36, "Mo": 0.775, "Nb": 0.51, "Ta": 1.56, "W": 1.00, "C": 1.21, "Si": 1.56, "Ge": 1.66, "NaCl": 0.69,
    "LiF": 1.82, "KCl": 0.37, "MgO": 1.49,
}  # fmt: skip
# Voigt averages, Hirth & Lothe (1982), appendix 1: μ in GPa, ν.
VOIGT = {
    "Al": (26.5, 0.347), "Cu": (54.6, 0.324), "Ag": (33.8, 0.354), "Au": (31.0, 0.412), "Ni": (94.7, 0.276),
    "Fe": (86.0, 0.291), "W": (160.0, 0.278), "Si": (68.1, 0.218), "Ge": (56.4, 0.200),
}  # fmt: skip
# Poisson ratios of polycrystals: Kaye & Laby, Tables of Physical and Chemical Constants, 16th ed. (1995), 2.2.2.
POLYCRYSTAL = {
    "Ti": 0.32,
    "Co": 0.31,
    "Mg": 0.29,
    "Zr": 0.34,
    "Zn": 0.25,
    "Cd": 0.30,
    "Cr": 0.21,
    "Ir": 0.26,
    "Pd": 0.39,
}
# Densities in g/cm³: CRC Handbook of Chemistry and Physics, 95th ed. (2014), section 4.
DENSITY = {
    "Al": 2.70, "Ni": 8.90, "Cu": 8.96, "Pd": 12.0, "Ag": 10.5, "Ir": 22.56, "Pt": 21.5, "Au": 19.3, "Pb": 11.3,
    "V": 6.0, "Cr": 7.15, "Fe": 7.87, "Nb": 8.57, "Mo": 10.2, "Ta": 16.4, "W": 19.3, "Be": 1.85, "Mg": 1.74,
    "Ti": 4.51, "Co": 8.86, "Zn": 7.14, "Zr": 6.52, "Cd": 8.69, "C": 3.51, "Si": 2.33, "Ge": 5.32,
    "LiF": 2.64, "NaCl": 2.17, "KCl": 1.99, "MgO": 3.6,
}  # fmt: skip


def density(lattice: Lattice) -> float:
    """kg/m³."""
    mass = sum(atomic_masses[atomic_numbers[symbol]] for symbol in lattice.elements) * atomic_mass
    return float(mass / (lattice.cell_volume * 1e-30))


@pytest.mark.parametrize("name", ZENER)
def test_zener_ratios_are_the_published_ones(name: str) -> None:
    assert zener_ratio(material(name).stiffness) == pytest.approx(ZENER[name], rel=0.015)


@pytest.mark.parametrize("name", VOIGT)
def test_voigt_averages_are_the_published_ones(name: str) -> None:
    shear, poisson = voigt_average(material(name).stiffness)
    assert shear == pytest.approx(VOIGT[name][0], rel=0.01)
    assert poisson == pytest.approx(VOIGT[name][1], abs=0.002)


@pytest.mark.parametrize("name", POLYCRYSTAL)
def test_voigt_averages_are_close_to_measured_polycrystals(name: str) -> None:
    """The Voigt average is an upper bound of the shear modulus: ν agrees to a few hundredths."""
    assert Lattice.of_material(name).poisson_ratio == pytest.approx(POLYCRYSTAL[name], abs=0.025)


@pytest.mark.parametrize("name", MATERIALS)
def test_lattice_constants_give_the_measured_density(name: str) -> None:
    """Within 2 % (constants to two decimals, cubed)."""
    assert density(Lattice.of_material(name)) / 1000 == pytest.approx(DENSITY[name], rel=0.02)


@pytest.mark.parametrize("name", ELEMENTS)
def test_structures_and_constants_agree_with_another_table(name: str) -> None:
    """ASE's reference states (Ashcroft & Mermin), to 1 %."""
    entry, other = material(name), reference_states[atomic_numbers[name]]
    assert other["symmetry"] == entry.structure
    assert entry.a == pytest.approx(other["a"], rel=0.01)
    if entry.c is not None:
        assert entry.c / entry.a == pytest.approx(other["c/a"], rel=0.005)


@pytest.mark.parametrize("name", ELEMENTS)
def test_debye_temperatures_agree_with_the_velocity_of_sound(name: str) -> None:
    """θ = h/k (3n/4πV)^⅓ v with 3/v³ = 2/v_t³ + 1/v_l³ of the Voigt medium (Anderson, J. Phys. Chem. Solids 24,
    909 (1963)): calorimetric values lie within 10 %. It ties lattice constants, elastic constants
    and Debye temperatures together, each from a table of its own.
    """
    lattice = Lattice.of_material(name)
    shear, poisson = voigt_average(lattice.stiffness)
    longitudinal = shear * 2 * (1 - poisson) / (1 - 2 * poisson)
    v_t, v_l = np.sqrt(np.array([shear, longitudinal]) * 1e9 / density(lattice))
    v = (3 / (2 / v_t**3 + 1 / v_l**3)) ** (1 / 3)
    per_volume = len(lattice.sites) / (lattice.cell_volume * 1e-30)
    theta = h / Boltzmann * (3 * per_volume / (4 * np.pi)) ** (1 / 3) * v
    assert material(name).debye_temperature_K == pytest.approx(theta, rel=0.10)


def test_compounds_have_no_debye_temperature_in_the_table() -> None:
    assert {name for name, entry in MATERIALS.items() if entry.debye_temperature_K is None} == {
        "LiF", "NaCl", "KCl", "MgO",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["C", "Si", "Ge"])
def test_semiconductors_agree_with_xrayutilities(name: str) -> None:
    """Lattice and elastic constants of a peer's table, to 1 %."""
    materials = pytest.importorskip("xrayutilities.materials")
    other, entry = getattr(materials, name), material(name)
    assert entry.a == pytest.approx(other.a, rel=0.002)
    np.testing.assert_allclose(entry.stiffness, np.asarray(other.cij) / 1e9, rtol=0.01, atol=1e-9)


def test_close_packed_facets_cost_least() -> None:
    """{111} in fcc and diamond."""
    for name, entry in MATERIALS.items():
        if entry.structure in ("fcc", "diamond") and name != "C":
            assert min(entry.surface_energies, key=entry.surface_energies.__getitem__) == (1, 1, 1), name


def test_broken_bonds_explain_the_anisotropy_of_the_noble_metals() -> None:
    """Between the limits of nearest-neighbour bonds, γ(100)/γ(111) = 2/√3, and of none, 1, but for 5d metals
    (Galanakis et al., Europhys. Lett. 58, 751 (2002)); bcc, where all facets differ little, stays within 30 %.
    """
    for name in ("Cu", "Ag", "Al"):
        energies = material(name).surface_energies
        assert 1 < energies[1, 0, 0] / energies[1, 1, 1] < 2 / 3**0.5
    for name, entry in MATERIALS.items():
        if entry.structure == "bcc":
            assert max(entry.surface_energies.values()) / min(entry.surface_energies.values()) < 1.3, name


def test_surface_energies_of_iron_and_copper_are_the_published_ones() -> None:
    """Vitos et al. (1998), table 1."""
    assert material("Fe").surface_energies == {(1, 1, 0): 2.430, (1, 0, 0): 2.222, (2, 1, 1): 2.589, (1, 1, 1): 2.733}
    assert material("Cu").surface_energies == {(1, 1, 1): 1.952, (1, 0, 0): 2.166, (1, 1, 0): 2.237}


def test_stacking_fault_energies_agree_with_weak_beam_microscopy() -> None:
    """Ag 16.3 ± 1.7, Cu 41 ± 9 mJ/m² (Cockayne, Jenkins & Ray, Phil. Mag. 24, 1383 (1971))."""
    assert material("Ag").stacking_fault_energy_mJ_per_m2 == pytest.approx(16.3, abs=1.7)
    assert material("Cu").stacking_fault_energy_mJ_per_m2 == pytest.approx(41, abs=9)
    assert material("W").stacking_fault_energy_mJ_per_m2 is None


def test_tables_of_energies_name_known_materials() -> None:
    """No row is lost by a misspelt name, and faults are of fcc metals only."""
    assert set(SURFACE_ENERGIES) <= set(MATERIALS)
    assert {MATERIALS[name].structure for name in STACKING_FAULT_ENERGIES} == {"fcc"}
    assert set(STACKING_FAULT_ENERGIES) == {name for name, entry in MATERIALS.items() if entry.structure == "fcc"}


def test_every_material_makes_a_lattice() -> None:
    for name, entry in MATERIALS.items():
        lattice = Lattice.of_material(name)
        assert lattice.formula == name
        np.testing.assert_array_equal(lattice.stiffness, entry.stiffness)
        for symbol in lattice.elements:
            check_element(symbol)


def test_an_unknown_element_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="element must be one of Al, Ni, Cu"):
        material("Xx")


def test_a_misspelt_element_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'Au'"):
        check_element("au")
