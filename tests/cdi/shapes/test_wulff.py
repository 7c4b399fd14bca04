"""The Wulff construction against an independent code, against its theorem, and against the lattice."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

from cdi.lattices.lattice import Lattice
from cdi.lattices.materials import MATERIALS, material
from cdi.shapes.wulff import surface_energies, wulff

Array = NDArray[np.float64]
HCP = {(0, 0, 1): 1.0, (1, 0, 0): 1.25, (1, 0, 1): 1.12, (1, 1, 0): 1.3}
HCP_BRAVAIS = {(0, 0, 0, 1): 1.0, (1, 0, -1, 0): 1.25, (1, 0, -1, 1): 1.12, (1, 1, -2, 0): 1.3}


def fractions(lattice: Lattice, orientation: Array, energies: dict[tuple[int, int, int], float]) -> dict[object, float]:
    """Share of the surface of each family, by the angle between facets and planes."""
    shape = wulff(lattice, orientation, 200, energies)
    areas, normals = shape.facet_areas, shape.normals.numpy()
    found = {}
    for family in energies:
        planes = lattice.plane_normal(lattice.equivalent_planes(family)) @ orientation.T
        planes /= np.linalg.norm(planes, axis=1, keepdims=True)
        found[family] = areas[(normals @ planes.T).max(1) > 1 - 1e-9].sum() / areas.sum()
    return found


@pytest.mark.parametrize("name", ["Cu", "Pd", "Au", "Fe", "W", "Nb"])
def test_facets_have_the_shares_that_wulffpack_finds(name: str, rotation: Array) -> None:
    """Rahm & Erhart, J. Open Source Softw. 5, 1944 (2020): area fractions of every family, and the volume."""
    peer = pytest.importorskip("wulffpack")
    entry = material(name)
    atoms = bulk(name, entry.structure, a=entry.a)
    particle = peer.SingleCrystal(dict(entry.surface_energies), primitive_structure=atoms, natoms=5000)
    lattice = Lattice.of_material(name)
    ours = fractions(lattice, rotation, dict(entry.surface_energies))
    for family, share in ours.items():
        assert share == pytest.approx(particle.facet_fractions.get(family, 0.0), abs=1e-6)
    assert sum(ours.values()) == pytest.approx(1)
    diameter = (6 * particle.volume / np.pi) ** (1 / 3)
    shape = wulff(lattice, rotation, diameter, dict(entry.surface_energies))
    assert shape.facet_areas.sum() == pytest.approx(particle.area, rel=1e-6)


def test_hexagonal_facets_have_the_shares_that_wulffpack_finds(rotation: Array) -> None:
    """Four families of Mg, in three indices here and four there."""
    peer = pytest.importorskip("wulffpack")
    particle = peer.SingleCrystal(HCP_BRAVAIS, primitive_structure=bulk("Mg", "hcp", a=3.21, c=5.21), natoms=5000)
    ours = fractions(Lattice.of_material("Mg"), rotation, HCP)
    for family, bravais in zip(HCP, HCP_BRAVAIS, strict=True):
        assert ours[family] == pytest.approx(particle.facet_fractions.get(bravais, 0.0), abs=1e-6)


def test_a_polar_crystal_has_polar_facets(rotation: Array) -> None:
    """Zinc blende: γ(111) and γ(-1-1-1) are two energies. The shape is on its centroid, not on the Wulff point."""
    peer = pytest.importorskip("wulffpack")
    diamond = Lattice.of_material("Si")
    lattice = Lattice("zinc blende", diamond.cell, diamond.sites, ("Zn",) * 4 + ("S",) * 4, diamond.stiffness)
    energies = {(1, 1, 1): 1.0, (-1, -1, -1): 1.4}
    atoms = Atoms("ZnS", cell=bulk("Si").cell, scaled_positions=[[0, 0, 0], [0.25] * 3], pbc=True)
    particle = peer.SingleCrystal(energies, primitive_structure=atoms, natoms=5000)
    shares = sorted(fractions(lattice, rotation, energies).values())
    assert shares == pytest.approx(sorted(particle.facet_fractions.values()), abs=1e-6)
    assert shares[0] < 0.4


@pytest.mark.parametrize("name", ["Au", "Fe", "Mg", "NaCl"])
def test_no_other_distances_cost_less_energy(name: str, rotation: Array) -> None:
    """Wulff's theorem: Σ γ A at given volume is least; facets moved by up to 5 % cost more."""
    lattice = Lattice.of_material(name)
    energies = surface_energies(lattice)
    planes = np.concatenate([lattice.plane_normal(lattice.equivalent_planes(family)) for family in energies])
    planes = planes @ rotation.T / np.linalg.norm(planes, axis=1, keepdims=True)
    gamma = np.concatenate([np.full(len(lattice.equivalent_planes(family)), cost) for family, cost in energies.items()])

    def energy(generator: np.random.Generator | None) -> float:
        shape = wulff(lattice, rotation, 300, energies, generator, 0.05)
        return float(shape.facet_areas @ gamma[(shape.normals.numpy() @ planes.T).argmax(1)])

    least = energy(None)
    assert all(energy(np.random.default_rng(seed)) > least for seed in range(5))


def test_the_crystals_axes_turn_with_the_orientation(rotation: Array) -> None:
    """Gold's largest facets are {111}, in the laboratory at R · (111)."""
    shape = wulff(Lattice.of_material("Au"), rotation, 300, surface_energies(Lattice.of_material("Au")))
    largest = shape.normals.numpy()[shape.facet_areas.argmax()]
    np.testing.assert_allclose(np.abs(rotation.T @ largest), 3**-0.5)


@pytest.mark.parametrize("name", [name for name, entry in MATERIALS.items() if entry.surface_energies])
def test_every_table_of_energies_makes_a_closed_shape(name: str, rotation: Array) -> None:
    """Of the asked volume, with more than half of it within 20 % of the equivalent ball's radius."""
    lattice = Lattice.of_material(name)
    shape = wulff(lattice, rotation, 500, surface_energies(lattice))
    assert shape.volume == pytest.approx(np.pi / 6 * 500**3)
    assert (shape.extent(np.eye(3)) < 1.5 * 500).all()


@pytest.mark.parametrize(
    ("energies", "message"),
    [
        ({}, "energies must be positive, at least one facet"),
        ({(1, 1, 1): -1.0}, "energies must be positive"),
        ({(1, 1, 1): np.nan}, "energies must be positive"),
        ({(0, 0, 0): 1.0}, "energies must have facets other than"),
    ],
)
def test_malformed_energies_are_refused(energies: dict[tuple[int, int, int], float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wulff(Lattice.of_material("Au"), np.eye(3), 100, energies)


def test_facets_that_do_not_close_are_refused() -> None:
    with pytest.raises(ValueError, match="planes must enclose"):
        wulff(Lattice.of_material("Mg"), np.eye(3), 100, {(0, 0, 1): 1.0})


def test_a_material_without_surface_energies_lists_those_with() -> None:
    """Diamond is in the table of materials, not in that of surfaces; hcp nickel is in neither."""
    with pytest.raises(ValueError, match="surface energies must be given for diamond C: the table holds Al, Ni"):
        surface_energies(Lattice.of_material("C"))
    with pytest.raises(ValueError, match="surface energies must be given for hcp Ni"):
        surface_energies(Lattice.of_structure("hcp", ("Ni",), 2.5, 4.1))
