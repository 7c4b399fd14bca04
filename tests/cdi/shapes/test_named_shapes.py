"""Shapes by name: one size for all, freedom from the generator only."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdi.crystal import Crystal
from cdi.lattices.lattice import Lattice
from cdi.shapes.named import SHAPES, build_shape

Array = NDArray[np.float64]
GOLD = Lattice.of_material("Au")


def test_the_names_are_those_of_recipes() -> None:
    assert set(SHAPES) == {"sphere", "ellipsoid", "rod", "cube", "truncated-octahedron", "wulff", "polyhedron"}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("diameter", [100.0, 733.0, 10_000.0])
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_diameter_is_that_of_the_ball_of_equal_volume(
    name: str, diameter: float, seed: int | None, rotation: Array
) -> None:
    """From 10 nm to 1 µm, and no shape is more than twice as long."""
    generator = None if seed is None else np.random.default_rng(seed)
    shape = build_shape(name, diameter, lattice=GOLD, orientation=rotation, generator=generator)
    assert shape.volume == pytest.approx(np.pi / 6 * diameter**3, rel=1e-9)
    assert (shape.extent(np.eye(3)) < 2.1 * diameter).all()
    assert shape.signed_distance(torch.zeros(1, 3, dtype=torch.float64)) < -0.2 * diameter


@pytest.mark.parametrize("name", SHAPES)
def test_crystals_of_one_diameter_hold_equally_many_atoms(name: str, rotation: Array) -> None:
    """Within 4 % at 160 Å, where a layer more or less on each facet is that much."""
    shape = build_shape(name, 160, lattice=GOLD, orientation=rotation)
    expected = np.pi / 6 * 160**3 / (GOLD.cell_volume / 4)
    assert len(Crystal(GOLD, shape, rotation).atoms()) == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_without_a_generator_are_one_solid_that_turns_with_the_crystal(name: str, rotation: Array) -> None:
    """The extents along the crystal's own axes do not depend on its orientation."""
    straight = build_shape(name, 90, lattice=GOLD, orientation=np.eye(3))
    turned = build_shape(name, 90, lattice=GOLD, orientation=rotation)
    axes = np.random.default_rng(0).normal(size=(9, 3))
    np.testing.assert_allclose(straight.extent(axes), turned.extent(axes @ rotation.T))


@pytest.mark.parametrize("name", sorted(set(SHAPES) - {"sphere", "cube"}))
def test_the_generator_alone_decides(name: str, rotation: Array) -> None:
    """The same seed the same shape, another seed another one."""
    axes = np.random.default_rng(0).normal(size=(9, 3))
    extents = [
        build_shape(name, 90, lattice=GOLD, orientation=rotation, generator=np.random.default_rng(seed)).extent(axes)
        for seed in (4, 4, 5)
    ]
    np.testing.assert_array_equal(extents[0], extents[1])
    assert not np.allclose(extents[0], extents[2])


def test_the_regular_solids_are_what_they_are_called(rotation: Array) -> None:
    """Facets: 6 of the cube, 8 + 6 of equal edges, 12 pentagons; a rod twice as long as wide, along c."""
    build = {name: build_shape(name, 90, lattice=GOLD, orientation=rotation) for name in SHAPES}
    assert [len(build[name].facet_areas) for name in ("cube", "truncated-octahedron", "polyhedron")] == [6, 14, 12]
    areas = build["truncated-octahedron"].facet_areas
    assert areas[0] / areas[-1] == pytest.approx(3 * 3**0.5 / 2)
    width, _, length = build["rod"].extent(rotation.T)
    assert length == pytest.approx(2 * width)


def test_an_unknown_name_lists_the_choices_and_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"must be one of sphere, .*, polyhedron, got 'wolff' \(did you mean 'wulff'"):
        build_shape("wolff", 90, lattice=GOLD, orientation=np.eye(3))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("diameter", [0.0, -5.0, np.nan, np.inf])
def test_a_diameter_must_be_positive(name: str, diameter: float) -> None:
    with pytest.raises(ValueError, match="diameter must be positive"):
        build_shape(name, diameter, lattice=GOLD, orientation=np.eye(3))


def test_an_orientation_must_be_a_rotation() -> None:
    with pytest.raises(ValueError, match="rotation must be"):
        build_shape("sphere", 90, lattice=GOLD, orientation=2 * np.eye(3))


def test_a_material_without_surface_energies_has_no_wulff_shape() -> None:
    with pytest.raises(ValueError, match="surface energies must be given for hcp Zn"):
        build_shape("wulff", 90, lattice=Lattice.of_material("Zn"), orientation=np.eye(3))
