"""Crystals: how many atoms, how close, and how displaced."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cdi.crystal import Crystal
from cdi.defects.smooth_strain import SmoothStrain
from cdi.defects.straight_dislocation import dislocation_on
from cdi.lattices.lattice import Lattice
from cdi.shapes.ball import Ball
from cdi.shapes.polyhedron import Polyhedron, truncated_octahedron
from cdi.shapes.shape import as_array

Array = NDArray[np.float64]
GOLD, IRON = Lattice.of_material("Au"), Lattice.of_material("Fe")
NEAREST = {"fcc": 0.5**0.5, "bcc": 0.75**0.5}


@pytest.mark.parametrize(("lattice", "per_cell"), [(GOLD, 4), (IRON, 2)], ids=["fcc", "bcc"])
@pytest.mark.parametrize("form", ["ball", "truncated octahedron", "lopsided"])
def test_atoms_fill_the_shape_at_its_density(lattice: Lattice, per_cell: int, form: str, rotation: Array) -> None:
    """Volume × density within 3 %; all of them inside. No facet lies along a lattice plane, where layers count."""
    lopsided = np.concatenate([np.eye(3), [[-1, -1, -1]]])
    shape = {
        "ball": Ball.of_diameter(70),
        "truncated octahedron": truncated_octahedron(70, np.eye(3), ratio=1.2),
        "lopsided": Polyhedron.centred(lopsided, np.full(4, 25.0)),
    }[form]
    atoms = Crystal(lattice, shape, rotation).atoms()
    assert len(atoms) == pytest.approx(shape.volume / lattice.constant**3 * per_cell, rel=0.03)
    assert shape.signed_distance(torch.as_tensor(atoms.positions)).max() < 1e-9


def test_atoms_stand_on_the_rotated_lattice(rotation: Array) -> None:
    """G·r is a multiple of 2π for every atom of a perfect crystal."""
    crystal = Crystal(GOLD, Ball.of_diameter(40), rotation)
    for hkl in ((1, 1, 1), (2, 0, 0), (-3, 1, 1)):
        turns = crystal.atoms().positions @ crystal.reflection_vector(hkl) / (2 * np.pi)
        np.testing.assert_allclose(turns, np.rint(turns), atol=1e-9)


@pytest.mark.parametrize("lattice", [GOLD, IRON], ids=["fcc", "bcc"])
@pytest.mark.parametrize("character", [0.0, 60.0, 90.0])
@pytest.mark.parametrize("turned", [False, True])
def test_no_two_atoms_meet(lattice: Lattice, character: float, turned: bool, rotation: Array) -> None:
    """Beyond 1.5 b of the core every pair keeps 0.6 of the nearest-neighbour distance.

    The slip plane passes through lattice sites, the hardest place for the cut.
    """
    orientation = rotation if turned else np.eye(3)
    for system in lattice.slip_systems()[::9]:
        line = dislocation_on(lattice, system, character_deg=character, point=np.zeros(3), orientation=orientation)
        positions = Crystal(lattice, Ball.of_diameter(30), orientation, (line,)).atoms().positions
        away = np.linalg.norm(np.cross(positions, as_array(line.direction)), axis=1) > 1.5 * float(line.burgers.norm())
        distances = cKDTree(positions).query(positions[away], 2)[0][:, 1]
        assert distances.min() > 0.6 * NEAREST[lattice.structure] * lattice.constant


def test_displacements_superpose(rotation: Array) -> None:
    """Linear elasticity: u of several lines and a strain is the sum of each one's u."""
    systems = GOLD.slip_systems()
    lines = tuple(
        dislocation_on(GOLD, system, character_deg=angle, point=np.array([x, 3.0, -2.0]), orientation=rotation)
        for system, angle, x in ((systems[0], 90.0, 5.0), (systems[9], 20.0, -8.0))
    )
    rng = np.random.default_rng(0)
    strain = SmoothStrain(rng.normal(size=(2, 3)), rng.normal(size=(2, 3)) * 0.05, rng.normal(size=2))
    points = torch.as_tensor(rng.normal(size=(5, 6, 3)) * 20)
    total = Crystal(GOLD, Ball.of_diameter(60), rotation, (*lines, strain)).displacement(points)
    parts = sum(line.displacement(points) for line in lines) + strain.displacement(points)
    torch.testing.assert_close(total, parts)


def test_smooth_strain_is_a_sum_of_cosines() -> None:
    """u(r) = Σ a cos(k·r + φ), written out."""
    rng = np.random.default_rng(1)
    a, k, phase = rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), rng.normal(size=2)
    r = rng.normal(size=3)
    expected = a[0] * np.cos(k[0] @ r + phase[0]) + a[1] * np.cos(k[1] @ r + phase[1])
    np.testing.assert_allclose(SmoothStrain(a, k, phase).displacement(torch.as_tensor(r)).numpy(), expected)


@pytest.mark.parametrize("orientation", [2 * np.eye(3), np.diag([1, 1, -1]), np.eye(2), np.ones((3, 3))])
def test_an_orientation_must_be_a_rotation(orientation: Array) -> None:
    with pytest.raises(ValueError, match="orientation must be a"):
        Crystal(GOLD, Ball.of_diameter(30), orientation)


def test_the_smallest_crystal_is_one_atom() -> None:
    """The origin is a site, and the centroid of a convex shape lies within it."""
    shape = Polyhedron.centred(np.concatenate([np.eye(3), -np.eye(3)]), np.full(6, 0.1))
    np.testing.assert_array_equal(Crystal(GOLD, shape).atoms().positions, [[0, 0, 0]])


def test_too_large_a_crystal_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(ValueError, match="the crystal must have at most 10000000 atoms"):
        Crystal(GOLD, Ball.of_diameter(3000)).atoms()
