"""Cubic lattices: selection rules, slip systems, sites, materials."""

from itertools import product

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cdi.lattices.lattice import Lattice
from cdi.lattices.materials import MATERIALS, check_element, material

GOLD, TUNGSTEN = Lattice.of_material("Au"), Lattice.of_material("W")
INDICES = [hkl for hkl in product(range(-3, 4), repeat=3) if any(hkl)]


def test_fcc_reflects_only_unmixed_indices() -> None:
    """h, k, l all even or all odd."""
    for hkl in INDICES:
        assert GOLD.allows(hkl) == (len({index % 2 for index in hkl}) == 1), hkl


def test_bcc_reflects_only_even_sums() -> None:
    """h + k + l even."""
    for hkl in INDICES:
        assert TUNGSTEN.allows(hkl) == (sum(hkl) % 2 == 0), hkl


@pytest.mark.parametrize("lattice", [GOLD, TUNGSTEN])
def test_000_is_no_reflection(lattice: Lattice) -> None:
    assert not lattice.allows((0, 0, 0))
    with pytest.raises(ValueError, match="not 0 0 0"):
        lattice.reflection_vector((0, 0, 0))


def test_an_extinct_reflection_is_refused_with_the_rule() -> None:
    with pytest.raises(ValueError, match=r"reflection must be allowed in fcc \(h, k, l all even or all odd\)"):
        GOLD.reflection_vector((1, 1, 0))


def test_a_reflection_has_the_length_of_its_spacing() -> None:
    """|G| = 2π √(h² + k² + l²) / a."""
    assert np.linalg.norm(GOLD.reflection_vector((1, 1, 1))) == pytest.approx(2 * np.pi / (4.08 / np.sqrt(3)))


@pytest.mark.parametrize(
    ("lattice", "count", "planes", "length"),
    [(GOLD, 24, 4, 1 / np.sqrt(2)), (TUNGSTEN, 48, 18, np.sqrt(3) / 2)],
    ids=["fcc", "bcc"],
)
def test_slip_systems(lattice: Lattice, count: int, planes: int, length: float) -> None:
    """fcc: 12 systems on 4 planes; bcc: 12 on 6 {110} and 12 on 12 {112}; each in both senses, each once."""
    systems = lattice.slip_systems()
    assert len(systems) == len({(s.burgers, s.normal) for s in systems}) == count
    assert len({s.normal for s in systems}) == planes
    for system in systems:
        assert abs(np.dot(system.burgers, system.normal)) < 1e-12
        assert np.linalg.norm(system.burgers) == pytest.approx(length)
        opposite = tuple(-b + 0.0 for b in system.burgers)
        assert any(s.burgers == opposite and s.normal == system.normal for s in systems)


@pytest.mark.parametrize("lattice", [GOLD, TUNGSTEN], ids=["fcc", "bcc"])
def test_burgers_vectors_are_lattice_vectors(lattice: Lattice) -> None:
    """G·b/2π is an integer for every allowed reflection: the dislocations are perfect."""
    for system in lattice.slip_systems():
        for hkl in INDICES:
            if lattice.allows(hkl):
                winding = np.dot(hkl, system.burgers)
                assert abs(winding - round(winding)) < 1e-9


@pytest.mark.parametrize(("lattice", "per_cell", "neighbour"), [(GOLD, 4, 0.5**0.5), (TUNGSTEN, 2, 0.75**0.5)])
def test_sites_have_the_lattices_density_and_spacing(lattice: Lattice, per_cell: int, neighbour: float) -> None:
    """A box of whole cells, its faces between sites, holds cells × basis; nearest neighbours are right."""
    a = lattice.constant
    low, high = np.array([-2.1, 0.9, -3.1]) * a, np.array([2.9, 3.9, 3.9]) * a
    sites = lattice.sites(low, high)
    assert len(sites) == 5 * 3 * 7 * per_cell
    assert ((sites >= low) & (sites <= high)).all()
    distances = cKDTree(sites).query(sites, 2)[0][:, 1]
    np.testing.assert_allclose(distances, neighbour * a)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hcp", 4.0, "Au", 0.3), "structure must be one of fcc, bcc, got 'hcp'"),
        (("fcc", 0.5, "Au", 0.3), "constant must lie in"),
        (("fcc", np.nan, "Au", 0.3), "constant must lie in"),
        (("fcc", 4.0, "Au", 0.5), "poisson_ratio must lie in"),
    ],
)
def test_malformed_lattices_are_refused(arguments: tuple[str, float, str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lattice(*arguments)


def test_every_material_makes_a_lattice() -> None:
    for element in MATERIALS:
        assert Lattice.of_material(element).element == element
        check_element(element)


def test_an_unknown_element_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="element must be one of Al, Ni, Cu"):
        material("Xx")


def test_a_misspelt_element_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'Au'"):
        check_element("au")
