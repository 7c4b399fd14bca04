"""Convex crystal shapes: the ball, and polyhedra as intersections of half-spaces.

A shape is centred on the centroid of its volume. ``normals @ r ≤ distances`` holds inside a
polyhedron; a ball has a radius instead.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError
from torch import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """A ball of ``radius`` Å, or the polyhedron ``normals (f, 3) @ r ≤ distances (f,)`` Å.

    Raises
    ------
    ValueError
        If it is neither or both, a normal is not a unit vector, or a distance is not positive.
    """

    radius: float | None = None
    normals: Array | None = None
    distances: Array | None = None

    def __post_init__(self) -> None:
        if (self.radius is None) == (self.normals is None or self.distances is None):
            raise ValueError("a shape must have either a radius or normals with distances")
        if self.radius is not None and not self.radius > 0:
            raise ValueError(f"radius must be positive in Å, got {self.radius}")
        if self.normals is not None and self.distances is not None:
            if not np.allclose(np.linalg.norm(self.normals, axis=1), 1):
                raise ValueError("normals must be unit vectors")
            if not (np.asarray(self.distances) > 0).all():
                raise ValueError(f"distances must be positive in Å, got {self.distances}")

    @classmethod
    def sphere(cls, diameter: float) -> "Shape":
        """Ball of ``diameter`` Å."""
        return cls(radius=diameter / 2)

    @classmethod
    def polyhedron(cls, normals: Array, distances: Array) -> "Shape":
        """Polyhedron bounded by planes (normals of any length), moved to its centroid.

        Raises
        ------
        ValueError
            If the planes do not enclose a bounded volume around the origin.
        """
        unit = np.asarray(normals, np.float64) / np.linalg.norm(normals, axis=1, keepdims=True)
        distances = np.asarray(distances, np.float64)
        centroid = _centroid(_vertices(unit, distances))
        return cls(normals=unit, distances=distances - unit @ centroid)

    @classmethod
    def truncated_octahedron(cls, diameter: float, rotation: Array, ratio: float = 1.0) -> "Shape":
        """{111} and {100} facets of a cubic crystal whose axes are turned by ``rotation`` (3, 3).

        ``diameter`` Å is the distance between opposite {111} facets; ``ratio`` is d(100)/d(111):
        2/√3 = 1.15 gives the regular solid, √3 the octahedron, 1/√3 the cube.
        """
        octants = np.array([[i, j, k] for i in (1, -1) for j in (1, -1) for k in (1, -1)], np.float64) / np.sqrt(3)
        cube = np.concatenate([np.eye(3), -np.eye(3)])
        distances = diameter / 2 * np.concatenate([np.ones(8), np.full(6, ratio)])
        return cls.polyhedron(np.concatenate([octants, cube]) @ rotation.T, distances)

    def signed_distance(self, points: Tensor) -> Tensor:
        """Distance ``(n,)`` in Å of ``points`` (n, 3) to the boundary, negative inside.

        Beyond an edge of a polyhedron it is the distance to the farthest plane, a lower bound.
        """
        if self.radius is not None:
            radius: Tensor = torch.linalg.vector_norm(points, dim=-1)
            return radius - self.radius
        normals, distances = (torch.as_tensor(a, dtype=points.dtype, device=points.device) for a in self._planes())
        return (points @ normals.T - distances).amax(-1)

    def _planes(self) -> tuple[Array, Array]:
        """Normals and distances of a polyhedron."""
        if self.normals is None or self.distances is None:
            raise ValueError("a ball has no planes")
        return self.normals, self.distances

    def extent(self, axes: Array) -> Array:
        """Size ``(m,)`` of the shape along each row of ``axes`` (m, 3): max − min of ``axes · r``."""
        low, high = self.reach(axes)
        return high - low

    def reach(self, axes: Array) -> tuple[Array, Array]:
        """Least and greatest ``axes · r`` ``(m,)`` within the shape, for each row of ``axes`` (m, 3)."""
        if self.radius is not None:
            half = self.radius * np.linalg.norm(axes, axis=1)
            return -half, half
        along = _vertices(*self._planes()) @ axes.T
        return along.min(0), along.max(0)

    def chord(self, point: Array, direction: Array) -> tuple[float, float] | None:
        """Interval of t for which ``point + t · direction`` lies inside, or None if it misses."""
        if self.radius is not None:
            along, square = float(point @ direction), float(point @ point)
            root = along**2 - square + self.radius**2
            return None if root <= 0 else (-along - root**0.5, -along + root**0.5)
        normals, distances = self._planes()
        speed, room = normals @ direction, distances - normals @ point
        if (room[np.abs(speed) < 1e-12] < 0).any():
            return None
        leaving, entering = speed > 1e-12, speed < -1e-12
        low, high = (room[entering] / speed[entering]).max(), (room[leaving] / speed[leaving]).min()
        return None if low >= high else (float(low), float(high))


def _vertices(normals: Array, distances: Array) -> Array:
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            corners = HalfspaceIntersection(np.column_stack([normals, -distances]), np.zeros(3)).intersections
    except QhullError as error:
        raise ValueError(f"the planes must enclose a volume around the origin; they do not ({error})") from error
    # Where the dual hull misses the origin, the "corners" are finite but break a plane.
    if not np.isfinite(corners).all() or (corners @ normals.T > distances + 1e-6 * np.abs(distances).max()).any():
        raise ValueError("the planes must enclose a bounded volume; it is open to one side")
    return np.asarray(corners)


def _centroid(vertices: Array) -> Array:
    """Centroid of the convex hull, as the volume-weighted mean of tetrahedra from an inner point."""
    hull = ConvexHull(vertices)
    apex = vertices.mean(0)
    triangles = vertices[hull.simplices]
    volumes = np.abs(
        np.einsum("ni,ni->n", triangles[:, 0] - apex, np.cross(triangles[:, 1] - apex, triangles[:, 2] - apex))
    )
    return np.asarray((volumes[:, None] * (triangles.sum(1) + apex) / 4).sum(0) / volumes.sum())
