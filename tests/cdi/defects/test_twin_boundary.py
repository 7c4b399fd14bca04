"""Twins: the upper half is the mirror image, atom by atom, and shared reflections do not see it."""

from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cdi.crystal import Crystal
from cdi.defects.twin_boundary import TwinBoundary, twin_boundary_on
from cdi.lattices.lattice import Lattice
from cdi.shapes.ball import Ball

Array = NDArray[np.float64]
TWINS = [
    ("Au", (1, -1, 1)),
    ("Au", (-1, -1, -1)),
    ("Si", (-1, 1, 1)),
    ("Si", (1, 1, -1)),
    ("W", (1, -1, 2)),
    ("W", (-2, 1, 1)),
]
POINT = np.array([0.4, -0.3, 1.9])
NEAREST = {"Au": 0.99, "Si": 0.99, "W": 0.94}
"""In bcc the second layers on both sides of the mirror face each other at a√(2/3), 0.943 of the bond."""


def twin(name: str, plane: tuple[int, int, int], orientation: Array) -> tuple[TwinBoundary, Crystal]:
    lattice = Lattice.of_material(name)
    found = twin_boundary_on(lattice, plane, point=POINT, orientation=orientation)
    return found, Crystal(lattice, Ball.of_diameter(46.0), orientation, (found,))


@pytest.mark.parametrize(("name", "plane"), TWINS)
def test_the_twin_is_the_mirror_image_of_the_parent(rotation: Array, name: str, plane: tuple[int, int, int]) -> None:
    """Mirrored in the last layer below, atoms of the twin lie on sites of the parent; undisplaced ones do not."""
    found, crystal = twin(name, plane, rotation)
    sites, _ = crystal.reference_sites()
    positions = crystal.atoms().positions
    assert len(positions) == len(sites)
    up = found.normal.numpy()
    above = (sites - found.point.numpy()) @ up > 0
    np.testing.assert_allclose(positions[~above], sites[~above])
    assert 0.2 < above.mean() < 0.8
    levels = sites[~above] @ up
    mirror = levels.max()
    for found_sites, is_mirror in ((positions[above], True), (sites[above], False)):
        image = found_sites - 2 * np.outer(found_sites @ up - mirror, up)
        fractions = crystal.lattice.fractions((image - sites[~above][levels.argmax()]) @ rotation)
        own = crystal.lattice.sites - crystal.lattice.sites[0]
        gap = fractions[:, None] - np.concatenate([own, -own])
        assert bool(np.abs(gap - np.round(gap)).max(-1).min(1).max() < 1e-6) is is_mirror


@pytest.mark.parametrize(("name", "plane"), TWINS)
def test_atoms_keep_their_distance_and_stay_near_their_sites(
    rotation: Array, name: str, plane: tuple[int, int, int]
) -> None:
    found, crystal = twin(name, plane, rotation)
    sites, _ = crystal.reference_sites()
    positions = crystal.atoms().positions
    bond = cKDTree(sites).query(sites, 2)[0][:, 1].min()
    assert cKDTree(positions).query(positions, 2)[0][:, 1].min() > NEAREST[name] * bond
    assert np.linalg.norm(positions - sites, axis=1).max() == pytest.approx(float(found.shear.norm()))


@pytest.mark.parametrize(("name", "plane"), TWINS)
def test_reflections_are_shared_where_both_lattices_have_them(
    rotation: Array, name: str, plane: tuple[int, int, int]
) -> None:
    """G is shared if its mirror image is a reflection of the parent; there G·u vanishes modulo 2π."""
    found, crystal = twin(name, plane, rotation)
    lattice = crystal.lattice
    points = torch.as_tensor(np.random.default_rng(0).uniform(-20, 20, (200, 3)))
    u = found.displacement(points).numpy()
    below = ((points.numpy() - found.point.numpy()) @ found.normal.numpy() < 0).astype(float)
    up = lattice.plane_normal(plane) / np.linalg.norm(lattice.plane_normal(plane))
    kinds = set()
    for hkl in product(range(-3, 4), repeat=3):
        if not lattice.allows(hkl):
            continue
        G = lattice.plane_normal(hkl)
        image = lattice.cell @ (G - 2 * (G @ up) * up) / (2 * np.pi)
        whole = tuple(round(x) for x in image)
        shared = np.allclose(image, whole, atol=1e-6) and lattice.allows(whole)
        kinds.add(shared)
        weight = found.in_reflection(points, rotation @ G)
        if shared:
            assert weight is None
            np.testing.assert_allclose(np.exp(1j * u @ rotation @ G), 1, atol=1e-9)
        else:
            assert weight is not None
            np.testing.assert_array_equal(weight.numpy(), below)
    assert kinds == {True, False}


def test_the_atoms_of_a_twin_scatter_as_the_rule_says(rotation: Array) -> None:
    """|Σ exp(iG·r)| is that of all atoms where G is shared, and of the parent where it is not."""
    found, crystal = twin("Au", (1, 1, 1), rotation)
    sites, _ = crystal.reference_sites()
    positions = crystal.atoms().positions
    parent = ((sites - found.point.numpy()) @ found.normal.numpy() < 0).sum()
    for hkl, expected, slack in (
        ((1, 1, 1), len(sites), 1e-6),
        ((2, -2, 0), len(sites), 1e-6),
        ((2, 0, 0), parent, 0.1),
    ):
        G = rotation @ crystal.lattice.reflection_vector(hkl)
        assert abs(np.exp(1j * positions @ G).sum()) == pytest.approx(expected, rel=slack)


def test_it_has_no_lines_and_every_circuit_closes(rotation: Array) -> None:
    found, crystal = twin("Au", (1, 1, 1), rotation)
    assert found.lines(crystal.shape) == ()
    assert found.defect_class == "none"
    angle = np.linspace(0, 2 * np.pi, 40)[:, None]
    u = found.displacement(torch.as_tensor(15 * np.cos(angle) * rotation[0] + 15 * np.sin(angle) * rotation[1])).numpy()
    np.testing.assert_allclose(u[-1], u[0], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"point": (0, 0)}, "point must be 3 finite numbers"),
        ({"normal": (0, 0, 2)}, "normal must be a unit vector"),
        ({"shear": (1, 0, 1)}, "shear must lie in the plane"),
        ({"spacing": 0.0}, "spacing must be positive"),
    ],
)
def test_malformed_twins_are_refused(change: dict[str, object], message: str) -> None:
    good = {"point": (0, 0, 0), "normal": (0, 0, 1), "shear": (1, 0.5, 0), "spacing": 2.0}
    with pytest.raises(ValueError, match=message):
        TwinBoundary(**{**good, **change})  # type: ignore[arg-type]


def test_planes_and_structures_without_twins_are_refused() -> None:
    with pytest.raises(ValueError, match="structure must be one of fcc, diamond, bcc to twin, got 'hcp'"):
        twin_boundary_on(Lattice.of_material("Mg"), (0, 0, 1), point=POINT, orientation=np.eye(3))
    with pytest.raises(ValueError, match="normal must be a plane of the form"):
        twin_boundary_on(Lattice.of_material("W"), (1, 1, 1), point=POINT, orientation=np.eye(3))
