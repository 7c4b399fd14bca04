"""Polyhedra that no lattice shapes: cuboids, the regular dodecahedron, random ones."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation
from torch import Tensor

from cdi.shapes.polyhedron import Polyhedron
from cdi.shapes.shape import Array, as_array, as_parameter, as_rotation

_GOLDEN = (1 + 5**0.5) / 2


def cuboid(edges: ArrayLike | Tensor, rotation: ArrayLike | Tensor) -> Polyhedron:
    """Cuboid with ``edges`` (3,) in Å along the columns of ``rotation`` (3, 3).

    Raises
    ------
    ValueError
        If an edge is not positive, or ``rotation`` is not a rotation.
    """
    lengths, turn = as_parameter(edges), as_rotation(rotation)
    if lengths.shape != (3,) or not (as_array(lengths) > 0).all():
        raise ValueError(f"edges must be 3 positive lengths in Å, got {lengths.tolist()}")
    return Polyhedron(torch.cat([turn.T, -turn.T]), torch.cat([lengths, lengths]) / 2)


def cube(edge: float | Tensor, rotation: ArrayLike | Tensor) -> Polyhedron:
    """Cube with ``edge`` Å along the columns of ``rotation`` (3, 3)."""
    return cuboid(as_parameter(edge).expand(3), rotation)


def dodecahedron(diameter: float, rotation: Array) -> Polyhedron:
    """Regular dodecahedron with the volume of a ball of ``diameter`` Å."""
    signs = [(i, j * _GOLDEN) for i in (1, -1) for j in (1, -1)]
    normals = np.array([np.roll((0.0, i, j), turn) for i, j in signs for turn in range(3)]) @ rotation.T
    return Polyhedron.centred(normals, np.ones(12)).with_volume(ball_volume(diameter))


def random_polyhedron(diameter: float, generator: np.random.Generator) -> Polyhedron:
    """A convex polyhedron of 10 to 18 random planes, with the volume of a ball of ``diameter`` Å."""
    # The six faces of a cube keep the volume bounded; the rest cut it at random.
    faces = np.concatenate([np.eye(3), -np.eye(3), generator.normal(size=(int(generator.integers(4, 13)), 3))])
    turned = faces @ Rotation.random(rng=generator).as_matrix().T
    shape = Polyhedron.centred(turned, generator.uniform(0.75, 1.1, len(turned)))
    return shape.without_idle_planes().with_volume(ball_volume(diameter))


def ball_volume(diameter: float) -> float:
    """Volume in Å³ of a ball of ``diameter`` Å.

    Raises
    ------
    ValueError
        If the diameter is not positive and finite.
    """
    if not 0 < diameter < np.inf:
        raise ValueError(f"diameter must be positive in Å, got {diameter}")
    return np.pi / 6 * diameter**3
