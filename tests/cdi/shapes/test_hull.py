"""The shape of a set of atoms: the crystal that they were cut from."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdi.crystal import Crystal
from cdi.lattices.lattice import Lattice
from cdi.shapes.ball import Ball
from cdi.shapes.hull import hull, voronoi_volume
from cdi.shapes.named import build_shape
from cdi.shapes.polyhedron import Polyhedron, truncated_octahedron

Array = NDArray[np.float64]
OFFSET = np.array([310.0, -205.0, 77.0])


def positions(material: str, name: str, diameter: float, rotation: Array) -> Array:
    lattice = Lattice.of_material(material)
    shape = build_shape(name, diameter, lattice=lattice, orientation=rotation)
    return Crystal(lattice, shape, rotation).atoms().positions + OFFSET


@pytest.mark.parametrize(
    ("material", "name", "facets"), [("Au", "wulff", 14), ("Fe", "cube", 6), ("Pt", "truncated-octahedron", 14)]
)
def test_a_faceted_crystal_gives_back_its_facets(material: str, name: str, facets: int, rotation: Array) -> None:
    """As many planes, along the crystal's, also with atoms 0.05 Å off their sites; the volume is n Ω."""
    lattice = Lattice.of_material(material)
    ideal = positions(material, name, 70, rotation)
    rattled = ideal + np.random.default_rng(0).normal(size=ideal.shape) * 0.05
    cut = build_shape(name, 70, lattice=lattice, orientation=rotation)
    for atoms in (ideal, rattled):
        shape, centroid = hull(atoms)
        assert len(shape.distances) == facets
        assert ((shape.normals.numpy() @ cut.normals.numpy().T).max(1) > np.cos(np.radians(1.5))).all()
        omega = lattice.cell_volume / len(lattice.sites)
        assert shape.volume == pytest.approx(len(atoms) * omega, rel=0.005)
        np.testing.assert_allclose(centroid, OFFSET, atol=0.3)


@pytest.mark.parametrize(("material", "name"), [("Ni", "sphere"), ("Mg", "wulff"), ("NaCl", "rod")])
def test_the_volume_is_that_of_the_atoms(material: str, name: str, rotation: Array) -> None:
    """n times the volume of an atom, given or found; every atom is inside."""
    lattice = Lattice.of_material(material)
    atoms = positions(material, name, 60, rotation)
    omega = lattice.cell_volume / len(lattice.sites)
    for given in (None, omega):
        shape, centroid = hull(atoms, atomic_volume=given)
        assert shape.volume == pytest.approx(len(atoms) * omega, rel=1e-3)
        assert (shape.signed_distance(torch.as_tensor(atoms - centroid)) < 1e-9).all()


def test_a_lopsided_crystal_lies_about_its_centroid(rotation: Array) -> None:
    """A tetrahedron of atoms: its centroid is their mean, and all are inside the shape that lies about it."""
    normals = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]]) @ rotation.T
    cut = Polyhedron.centred(normals, [16, 22, 30, 19.0])
    atoms = Crystal(Lattice.of_material("Au"), cut, rotation).atoms().positions + OFFSET
    shape, centroid = hull(atoms)
    np.testing.assert_allclose(centroid, atoms.mean(0), atol=0.5)
    assert (shape.signed_distance(torch.as_tensor(atoms - centroid)) < 1e-9).all()
    assert ((shape.normals.numpy() @ cut.normals.numpy().T).max(0) > np.cos(np.radians(1))).all()


def test_a_ball_comes_back_as_a_ball(rotation: Array) -> None:
    """To half a spacing everywhere: 40 directions."""
    crystal = Crystal(Lattice.of_material("Au"), Ball.of_diameter(80), rotation)
    shape, _ = hull(crystal.atoms().positions)
    axes = np.random.default_rng(0).normal(size=(40, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    np.testing.assert_allclose(shape.extent(axes), 80, atol=2.4)


def test_atoms_cut_from_the_hull_are_the_same_atoms(rotation: Array) -> None:
    """Round trip: the lattice cut again by the shape found holds the same sites."""
    crystal = Crystal(Lattice.of_material("Cu"), truncated_octahedron(60, rotation, 1.1), rotation)
    first = crystal.atoms().positions
    shape, centroid = hull(first)
    lattice_again, _ = Lattice.of_material("Cu").sites_in_box(np.full(3, -60.0), np.full(3, 60.0))
    sites = lattice_again @ rotation.T
    kept = sites[(shape.signed_distance(torch.as_tensor(sites - centroid)) <= 0).numpy()]
    assert len(kept) == len(first)
    np.testing.assert_allclose(np.sort(kept.sum(1)), np.sort(first.sum(1)), atol=1e-9)


def test_a_dent_is_filled(rotation: Array) -> None:
    """Half a ball taken out of a face: the convex shape stays, about the cube's centre, with more volume than atoms."""
    atoms = positions("Fe", "cube", 80, rotation)
    face = OFFSET + rotation[:, 0] * 32
    dented = atoms[np.linalg.norm(atoms - face, axis=1) > 26]
    whole, (rest, centroid) = hull(atoms)[0], hull(dented)
    assert np.linalg.norm(dented.mean(0) - OFFSET) > 3
    np.testing.assert_allclose(centroid, OFFSET, atol=0.3)
    assert len(rest.distances) == 6
    assert rest.volume > 1.02 * len(dented) * 2.87**3 / 2
    assert rest.volume == pytest.approx(whole.volume, rel=0.15)


@pytest.mark.parametrize("material", ["Au", "W", "Mg", "Si", "NaCl"])
def test_an_atoms_volume_is_found_from_its_neighbours(material: str, rotation: Array) -> None:
    lattice = Lattice.of_material(material)
    atoms = positions(material, "sphere", 45, rotation)
    assert voronoi_volume(atoms) == pytest.approx(lattice.cell_volume / len(lattice.sites), rel=1e-3)


TETRAHEDRON = np.array([[0, 0, 0], [3.0, 0, 0], [0, 3, 0], [0, 0, 3]])


@pytest.mark.parametrize(
    ("atoms", "options", "message"),
    [
        (TETRAHEDRON[:3], {}, "positions must be finite with shape"),
        (np.array([[0, 0, 0], [3.0, 0, 0], [0, np.nan, 0], [0, 0, 3]]), {}, "positions must be finite"),
        (np.random.default_rng(0).normal(size=(50, 3)) * [1, 1, 0], {}, "positions must span a volume"),
        (np.random.default_rng(0).normal(size=(50, 3)) * [1, 1, 0], {"atomic_volume": 9.0}, "must span a volume"),
        (TETRAHEDRON, {}, "atomic_volume must be given for so few atoms"),
        (TETRAHEDRON, {"atomic_volume": 0.0}, "atomic_volume must be positive"),
        (TETRAHEDRON, {"atomic_volume": 10.0, "tolerance": -1.0}, "tolerance must be positive"),
    ],
)  # fmt: skip
def test_what_has_no_shape_is_refused(atoms: Array, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hull(atoms, **options)
