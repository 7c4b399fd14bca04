"""Amplitudes of atoms: two routes to one number, and the symmetries of a sum of phases."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cdi.atoms import Atoms
from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.scattering.amplitude import amplitude
from cdi.scattering.form_factor import anomalous, form_factor
from cdi.shapes.polyhedron import truncated_octahedron

Array = NDArray[np.float64]
GOLD = Lattice.of_material("Au")


def relative(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> float:
    """‖a − b‖ / ‖b‖ (L2)."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def random_atoms(seed: int, count: int = 300) -> Atoms:
    rng = np.random.default_rng(seed)
    return Atoms(rng.normal(size=(count, 3)) * 25, rng.integers(0, 2, count), ("Ni", "Al"))


@pytest.mark.parametrize("shape", [(9, 10, 7), (16, 11, 12)])
def test_the_nufft_agrees_with_the_direct_sum(rotation: Array, shape: tuple[int, int, int]) -> None:
    """To 1e-6 relative (L2): a dislocated, rotated truncated octahedron on a sheared, uneven grid at a reflection."""
    lines = tuple(
        dislocation_on(
            GOLD, GOLD.slip_systems()[i], character_deg=c, point=np.array([4.0, -3, 2]), orientation=rotation
        )
        for i, c in ((5, 60.0), (14, 90.0))
    )
    crystal = Crystal(GOLD, truncated_octahedron(46, rotation, ratio=1.3), rotation, lines)
    shear = np.eye(3) + np.array([[0, 0.2, -0.1], [0.05, 0, 0.15], [-0.12, 0.07, 0]])
    step = np.diag([0.05, 0.06, 0.045]) @ shear
    grid = QGrid(crystal.reflection_vector((1, 1, 1)) + 0.3 * step[0], step, shape)
    atoms = crystal.atoms()
    assert len(atoms) > 1500
    direct = amplitude(atoms, grid, route="direct")
    assert relative(amplitude(atoms, grid, route="nufft"), direct) < 1e-6


def test_far_from_the_origin_both_routes_still_agree(sheared_grid: QGrid) -> None:
    """Q·r of 10⁵ rad stays in float64."""
    atoms = random_atoms(0)
    moved = Atoms(atoms.positions + np.array([1e4, -2e4, 3e4]), atoms.species, atoms.elements)
    assert relative(amplitude(moved, sheared_grid), amplitude(moved, sheared_grid, route="direct")) < 1e-6


def test_the_direct_sum_is_the_formula(sheared_grid: QGrid) -> None:
    """Σ_j f_j(|Q|) exp(+iQ·r_j), term by term, at one voxel."""
    atoms = random_atoms(1, 20)
    q = np.stack(sheared_grid.axes(), -1)[7, 2, 5]
    total = sum(
        form_factor(atoms.elements[s], np.array(np.linalg.norm(q)), energy_keV=9.0) * np.exp(1j * q @ r)
        for r, s in zip(atoms.positions, atoms.species, strict=True)
    )
    np.testing.assert_allclose(amplitude(atoms, sheared_grid, route="direct")[7, 2, 5], total)


@pytest.mark.parametrize("route", ["nufft", "direct"])
def test_amplitudes_of_disjoint_atoms_add_up(sheared_grid: QGrid, route: str) -> None:
    """What lets ranks share a crystal; one share holds a single species."""
    atoms = random_atoms(2)
    whole = amplitude(atoms, sheared_grid, route=route)
    parts = np.zeros_like(whole)
    for keep in (atoms.species == 0, (atoms.species == 1) & (atoms.positions[:, 0] > 0),
                 (atoms.species == 1) & (atoms.positions[:, 0] <= 0)):  # fmt: skip
        parts += amplitude(Atoms(atoms.positions[keep], atoms.species[keep], atoms.elements), sheared_grid, route=route)
    assert relative(parts, whole) < 1e-8


def test_translation_is_a_phase(sheared_grid: QGrid) -> None:
    """r → r + t multiplies F by exp(+iQ·t)."""
    atoms, t = random_atoms(3), np.array([3.0, -7.0, 11.0])
    moved = Atoms(atoms.positions + t, atoms.species, atoms.elements)
    phase = np.exp(1j * np.stack(sheared_grid.axes(), -1) @ t)
    assert relative(amplitude(moved, sheared_grid), phase * amplitude(atoms, sheared_grid)) < 1e-8


def test_rotating_atoms_and_grid_together_changes_nothing(sheared_grid: QGrid, rotation: Array) -> None:
    atoms = random_atoms(4)
    turned = Atoms(atoms.positions @ rotation.T, atoms.species, atoms.elements)
    grid = QGrid(rotation @ sheared_grid.centre, sheared_grid.step @ rotation.T, sheared_grid.shape)
    assert relative(amplitude(turned, grid), amplitude(atoms, sheared_grid)) < 1e-8


def test_friedel_pairs_without_dispersion(sheared_grid: QGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    """F(−Q) = F(Q)* for real form factors; with f″ and no centre of symmetry the moduli differ."""
    atoms = random_atoms(5, 12)
    opposite = QGrid(-sheared_grid.centre, -sheared_grid.step, sheared_grid.shape)
    with_dispersion = np.abs(amplitude(atoms, sheared_grid)), np.abs(amplitude(atoms, opposite))
    assert relative(*with_dispersion) > 1e-3
    monkeypatch.setattr("cdi.scattering.form_factor.anomalous", lambda element, energy_keV: 0.0)
    assert relative(amplitude(atoms, opposite), amplitude(atoms, sheared_grid).conj()) < 1e-8


@pytest.mark.parametrize(("element", "electrons"), [("Al", 13), ("Fe", 26), ("Au", 79)])
def test_the_form_factor_starts_at_the_number_of_electrons(element: str, electrons: int) -> None:
    """f(0) = Z + f′ + i f″, and it falls with |Q|."""
    f = form_factor(element, np.array([0.0, 2.0, 5.0]), energy_keV=9.0)
    correction = anomalous(element, 9.0)
    assert f[0] - correction == pytest.approx(electrons, abs=0.05)
    assert f[0].real > f[1].real > f[2].real
    assert correction.imag > 0


def test_forward_scattering_counts_electrons() -> None:
    """F(0) = Σ f_j(0)."""
    atoms = random_atoms(6)
    grid = QGrid(np.zeros(3), 0.01 * np.eye(3), (8, 8, 8))
    zero = np.zeros(1)
    expected = sum(
        (atoms.species == i).sum() * form_factor(element, zero, energy_keV=9.0)[0]
        for i, element in enumerate(atoms.elements)
    )
    assert amplitude(atoms, grid)[4, 4, 4] == pytest.approx(expected)


def test_dispersion_of_copper_at_its_own_k_alpha() -> None:
    """f′ = −1.965, f″ = 0.589 at 8.048 keV (International Tables C, 2004, table 4.2.6.8); tabulations differ by 0.1."""
    value = anomalous("Cu", 8.048)
    assert value.real == pytest.approx(-1.965, abs=0.1)
    assert value.imag == pytest.approx(0.589, abs=0.03)


def test_an_unknown_route_lists_the_choices(sheared_grid: QGrid) -> None:
    with pytest.raises(ValueError, match="route must be one of nufft, direct, got 'fft'"):
        amplitude(random_atoms(7), sheared_grid, route="fft")  # type: ignore[arg-type]


def test_momenta_beyond_the_tables_are_refused() -> None:
    with pytest.raises(ValueError, match=r"q must be at most 75\.4"):
        form_factor("Au", np.array([80.0]), energy_keV=9.0)


@pytest.mark.parametrize("energy", [0.1, 150.0, np.nan])
def test_energies_beyond_the_tables_are_refused(energy: float) -> None:
    with pytest.raises(ValueError, match="energy_keV must lie within the tables"):
        form_factor("Au", np.array([1.0]), energy_keV=energy)
