"""Shapes by name, for recipes and the command line.

One size for all: the diameter is that of the ball of equal volume, so that shapes of one diameter hold
equally many atoms. Without a generator each name is one regular solid; with one, shapes that come in
many proportions draw theirs.
"""

from collections.abc import Callable
from difflib import get_close_matches

import numpy as np
from scipy.spatial.transform import Rotation

from cdi.lattices.lattice import Lattice
from cdi.shapes.ball import Ball
from cdi.shapes.ellipsoid import Ellipsoid
from cdi.shapes.polyhedron import truncated_octahedron
from cdi.shapes.rod import Rod
from cdi.shapes.shape import Array, Shape, as_array, as_parameter, as_rotation
from cdi.shapes.solids import ball_volume, cube, dodecahedron, random_polyhedron
from cdi.shapes.wulff import surface_energies, wulff

Builder = Callable[[float, Lattice, Array, np.random.Generator | None], Shape]

ELLIPSOID_AXES = (1.0, 1.0, 1.5)
ELLIPSOID_LIMITS = (0.7, 1.4)
"""Relative semi-axes of the regular ellipsoid, and the limits within which each is drawn."""

ROD_ASPECT, ROD_LIMITS = 2.0, (1.0, 3.0)
"""Length over diameter of the regular rod, and its limits."""

OCTAHEDRON_RATIO, OCTAHEDRON_LIMITS = 2 / 3**0.5, (0.85, 1.45)
"""d(100)/d(111) of the regular truncated octahedron, and its limits: between near-cube and near-octahedron."""

WULFF_SPREAD = 0.15
"""Relative departure of a facet's distance from equilibrium, in both senses."""


def build_shape(
    name: str,
    diameter: float,
    *,
    lattice: Lattice,
    orientation: Array,
    generator: np.random.Generator | None = None,
) -> Shape:
    """The shape ``name`` of ``SHAPES`` with the volume of a ball of ``diameter`` Å.

    Facets and axes follow the crystal: ``orientation`` (3, 3) turns crystal axes into the laboratory.
    Only "wulff" asks for the lattice. With a ``generator``, ellipsoids and polyhedra take any orientation of
    their own, and rods any of the crystal's three axes.

    Raises
    ------
    ValueError
        For an unknown name (the message lists the choices), a diameter that is not positive, an
        orientation that is not a rotation, or a Wulff shape of a material without known surface energies.
    """
    if name not in SHAPES:
        near = get_close_matches(name, SHAPES, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"shape must be one of {', '.join(SHAPES)}, got {name!r}{hint}")
    ball_volume(diameter)
    return SHAPES[name](diameter, lattice, as_array(as_rotation(orientation)), generator)


def _sphere(diameter: float, lattice: Lattice, orientation: Array, generator: np.random.Generator | None) -> Shape:
    return Ball.of_diameter(diameter)


def _ellipsoid(diameter: float, lattice: Lattice, orientation: Array, generator: np.random.Generator | None) -> Shape:
    axes, rotation = np.asarray(ELLIPSOID_AXES), orientation
    if generator is not None:
        axes, rotation = generator.uniform(*ELLIPSOID_LIMITS, 3), Rotation.random(rng=generator).as_matrix()
    return Ellipsoid(as_parameter(diameter / 2 * axes / axes.prod() ** (1 / 3)), as_parameter(rotation))


def _rod(diameter: float, lattice: Lattice, orientation: Array, generator: np.random.Generator | None) -> Shape:
    aspect, axis = ROD_ASPECT, 2
    if generator is not None:
        aspect, axis = generator.uniform(*ROD_LIMITS), int(generator.integers(3))
    radius = (ball_volume(diameter) / (2 * np.pi * aspect)) ** (1 / 3)
    return Rod(*(as_parameter(value) for value in (radius, 2 * aspect * radius, orientation[:, axis])))


def _cube(diameter: float, lattice: Lattice, orientation: Array, generator: np.random.Generator | None) -> Shape:
    return cube(ball_volume(diameter) ** (1 / 3), orientation)


def _truncated_octahedron(
    diameter: float, lattice: Lattice, orientation: Array, generator: np.random.Generator | None
) -> Shape:
    ratio = OCTAHEDRON_RATIO if generator is None else generator.uniform(*OCTAHEDRON_LIMITS)
    return truncated_octahedron(diameter, orientation, ratio).with_volume(ball_volume(diameter))


def _wulff(diameter: float, lattice: Lattice, orientation: Array, generator: np.random.Generator | None) -> Shape:
    return wulff(lattice, orientation, diameter, surface_energies(lattice), generator, WULFF_SPREAD)


def _polyhedron(diameter: float, lattice: Lattice, orientation: Array, generator: np.random.Generator | None) -> Shape:
    if generator is None:
        return dodecahedron(diameter, orientation)
    return random_polyhedron(diameter, generator)


SHAPES: dict[str, Builder] = {
    "sphere": _sphere,
    "ellipsoid": _ellipsoid,
    "rod": _rod,
    "cube": _cube,
    "truncated-octahedron": _truncated_octahedron,
    "wulff": _wulff,
    "polyhedron": _polyhedron,
}
"""Builders of ``build_shape``, by name."""
