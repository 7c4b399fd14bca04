"""Structure factor of a cell: selection rules with form factors, published values, and its interpolation."""

import numpy as np
import pytest

from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import Reflection
from cdi.scattering.form_factor import anomalous, form_factor
from cdi.scattering.model import ScatteringModel
from cdi.scattering.structure_factor import chebyshev_nodes, structure_factor, structure_factor_nodes

MODEL = ScatteringModel(energy_keV=9.0, B_A2={"Na": 1.6, "Cl": 1.3, "Si": 0.5, "Cu": 0.55, "Fe": 0.35})


@pytest.mark.parametrize(
    ("material", "reflection", "weight"),
    [("Cu", (1, 1, 1), 4), ("Cu", (1, 1, 0), 0), ("Fe", (1, 1, 0), 2), ("Fe", (1, 1, 1), 0),
     ("Si", (2, 2, 0), 8), ("Si", (1, 1, 1), 4 * (1 - 1j)), ("Si", (2, 0, 0), 0)],
)  # fmt: skip
def test_one_species_scatters_by_its_geometric_factor(material: str, reflection: Reflection, weight: complex) -> None:
    """fcc 4f, bcc 2f, diamond 8f, 4(1 − i)f or nothing."""
    lattice = Lattice.of_material(material)
    q = np.array(np.linalg.norm(lattice.plane_normal(reflection)))
    f = form_factor(material, q, energy_keV=9.0) * np.exp(-MODEL.b_factor(material) * (q / 4 / np.pi) ** 2)
    assert structure_factor(lattice, reflection, model=MODEL) == pytest.approx(complex(weight * f), abs=1e-9)


def test_rock_salt_adds_or_subtracts_its_ions() -> None:
    """4(f_Na ± f_Cl) for even and odd indices, each with its own thermal motion."""
    lattice = Lattice.of_material("NaCl")
    for reflection, sign in (((2, 0, 0), 1), ((1, 1, 1), -1)):
        q = np.array(np.linalg.norm(lattice.plane_normal(reflection)))  # type: ignore[arg-type]
        na, cl = (
            form_factor(e, q, energy_keV=9.0) * np.exp(-MODEL.b_factor(e) * (q / 4 / np.pi) ** 2) for e in ("Na", "Cl")
        )
        found = structure_factor(lattice, reflection, model=MODEL)  # type: ignore[arg-type]
        assert found == pytest.approx(complex(4 * (na + sign * cl)))


def test_forward_scattering_of_a_cell_counts_its_electrons() -> None:
    """F(000) = Σ Z + f′ + i f″: 112 electrons in silicon's cell, 112 in rock salt's."""
    for material in ("Si", "NaCl"):
        lattice = Lattice.of_material(material)
        correction = sum(anomalous(element, 9.0) for element in lattice.elements)
        found = structure_factor(lattice, (0, 0, 0)) - correction
        assert found == pytest.approx(112, abs=0.1)


@pytest.mark.parametrize(
    ("reflection", "published", "weight"), [((1, 1, 1), 10.603, 4 * 2**0.5), ((2, 2, 0), 8.388, 8.0)]
)
def test_silicon_scatters_as_measured(reflection: Reflection, published: float, weight: float) -> None:
    """f = 10.603 (111) and 8.388 (220) electrons an atom at room temperature, to 2 %, B = 0.46 Å².

    Saka & Kato, Acta Cryst. A42, 469 (1986), Pendellösung. Atoms of the tables are spherical: the
    bonds of the crystal put 1.8 % more into 111.
    """
    silicon, B = Lattice.of_material("Si"), 0.46
    q = np.linalg.norm(silicon.plane_normal(reflection))
    dispersion = anomalous("Si", 9.0).real * np.exp(-B * (q / 4 / np.pi) ** 2)
    total = structure_factor(silicon, reflection, model=ScatteringModel(energy_keV=9.0, B_A2={"Si": B}))
    assert abs(total) / weight - dispersion == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize(("precision", "error"), [("double", 1e-9), ("single", 1e-4)])
@pytest.mark.parametrize("reach", [0.3, 1.5])
def test_few_nodes_carry_it_over_a_peak(precision: str, error: float, reach: float) -> None:
    """Interpolated along each axis it equals the sum over the cell on every voxel of a sheared, uneven grid."""
    lattice, shape = Lattice.of_material("NaCl"), (17, 24, 20)
    step = reach / 12 * (np.eye(3) + np.array([[0, 0.2, -0.1], [0.05, 0, 0.15], [-0.12, 0.07, 0]])) / 2
    grid = QGrid(lattice.reflection_vector((1, 1, 1)) + 0.02, step, shape)
    model = ScatteringModel(B_A2={"Na": 1.6, "Cl": 1.3}, precision=precision)  # type: ignore[arg-type]
    nodes = structure_factor_nodes(lattice, (1, 1, 1), grid, model)
    x, y, z = (chebyshev_nodes(n, k)[1] for n, k in zip(shape, nodes.shape, strict=True))
    spread = np.einsum("ai,bj,ck,ijk->abc", x, y, z, nodes)
    exact = structure_factor(lattice, (1, 1, 1), grid.modulus(), model=model)
    found = float(np.abs(spread - exact).max() / np.abs(exact).max())
    print(f"{precision}, ±{reach} Å⁻¹: {found:.1e}")
    assert found < error
