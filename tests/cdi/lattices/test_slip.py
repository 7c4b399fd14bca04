"""Slip systems of every structure: counts, geometry, perfection."""

from itertools import combinations, product

import numpy as np
import pytest

from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SHOCKLEY, SLIP_FAMILIES, SlipFamily, slip_systems

LATTICES = {
    "fcc": Lattice.of_material("Au"),
    "bcc": Lattice.of_material("W"),
    "hcp": Lattice.of_material("Mg"),
    "diamond": Lattice.of_material("Si"),
    "rock-salt": Lattice.of_material("NaCl"),
}
COUNTS = {
    ("fcc", "octahedral"): (12, 4, 2**-0.5),
    ("bcc", "{110}"): (12, 6, 3**0.5 / 2),
    ("bcc", "{112}"): (12, 12, 3**0.5 / 2),
    ("hcp", "basal"): (3, 1, 1.0),
    ("hcp", "prismatic"): (3, 3, 1.0),
    ("hcp", "pyramidal a"): (6, 6, 1.0),
    ("hcp", "pyramidal c+a"): (6, 6, (1 + (5.21 / 3.21) ** 2) ** 0.5),
    ("diamond", "octahedral"): (12, 4, 2**-0.5),
    ("rock-salt", "{110}"): (6, 6, 2**-0.5),
    ("rock-salt", "{100}"): (6, 3, 2**-0.5),
}
INDICES = [hkl for hkl in product(range(-3, 4), repeat=3) if any(hkl)]


def test_every_family_is_counted_here() -> None:
    assert set(COUNTS) == {
        (structure, family.name) for structure in SLIP_FAMILIES for family in SLIP_FAMILIES[structure]
    }


@pytest.mark.parametrize(("structure", "family"), COUNTS)
def test_slip_systems_are_as_many_as_published(structure: str, family: str) -> None:
    """Systems, planes and |b|/a of each family (Hirth & Lothe 1982, ch. 9 to 12), each in both senses, each once."""
    count, planes, length = COUNTS[structure, family]
    lattice = LATTICES[structure]
    systems = lattice.slip_systems(family)
    assert len(systems) == len({(s.burgers, s.normal) for s in systems}) == 2 * count
    assert len({s.normal for s in systems}) == planes
    for system in systems:
        assert np.linalg.norm(lattice.direction(system.burgers)) == pytest.approx(length * lattice.constant)
        opposite = tuple(-b + 0.0 for b in system.burgers)
        assert any(s.burgers == opposite and s.normal == system.normal for s in systems)


@pytest.mark.parametrize("structure", LATTICES)
def test_burgers_vectors_lie_in_their_planes(structure: str) -> None:
    """b · n = 0 in indices and in space; no plane is listed with both signs of its normal."""
    lattice = LATTICES[structure]
    normals = {system.normal for system in lattice.slip_systems()}
    assert not normals & {tuple(-x + 0.0 for x in normal) for normal in normals}
    for system in lattice.slip_systems():
        assert abs(np.dot(system.burgers, system.normal)) < 1e-12
        assert abs(lattice.direction(system.burgers) @ lattice.plane_normal(system.normal)) < 1e-9


@pytest.mark.parametrize("structure", LATTICES)
def test_burgers_vectors_are_lattice_vectors(structure: str) -> None:
    """A shift by b maps the lattice onto itself, so G·b/2π is an integer for every allowed reflection."""
    lattice = LATTICES[structure]
    for burgers in {system.burgers for system in lattice.slip_systems()}:
        assert lattice.is_lattice_vector(burgers)
        for hkl in INDICES:
            if lattice.allows(hkl):
                winding = np.dot(hkl, burgers)
                assert abs(winding - round(winding)) < 1e-9


def test_each_perfect_burgers_vector_is_the_sum_of_one_pair_of_shockley_partials() -> None:
    """Six partials on each {111}, at 60° to each other; none is a lattice vector (Hirth & Lothe 1982, ch. 10)."""
    lattice = LATTICES["fcc"]
    partials = slip_systems(SHOCKLEY, lattice.cell)
    assert len(partials) == 24
    assert not any(lattice.is_lattice_vector(partial.burgers) for partial in partials)
    for system in lattice.slip_systems():
        own = [np.array(p.burgers) for p in partials if p.normal == system.normal]
        pairs = [(p, q) for p, q in combinations(own, 2) if np.allclose(p + q, system.burgers)]
        assert len(pairs) == 1
        p, q = pairs[0]
        assert p @ q / (p @ p) == pytest.approx(0.5)


def test_a_burgers_vector_out_of_its_plane_is_refused() -> None:
    with pytest.raises(ValueError, match="burgers must lie in the slip plane"):
        SlipFamily("climb", (0.5, 0.5, 0), (1, 1, 1))


def test_an_unknown_family_lists_the_choices() -> None:
    with pytest.raises(
        ValueError, match="slip family must be one of basal, prismatic, pyramidal a, pyramidal c\\+a in hcp"
    ):
        LATTICES["hcp"].slip_systems("octahedral")


def test_a_structure_without_known_slip_is_refused() -> None:
    gold = LATTICES["fcc"]
    lattice = Lattice("gold.cif", gold.cell, gold.sites, gold.elements, gold.stiffness)
    with pytest.raises(ValueError, match=r"structure must be one of fcc, bcc, .* to slip, got 'gold.cif'"):
        lattice.slip_systems()
