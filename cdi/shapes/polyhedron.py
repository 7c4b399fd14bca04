"""Convex polyhedra as intersections of half-spaces."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError
from torch import Tensor

from cdi.shapes.shape import Array, Shape, as_array, as_parameter, as_rotation


@dataclass(frozen=True, eq=False)
class Polyhedron(Shape):
    """``normals (f, 3) @ r ≤ distances (f,)``, unit normals, distances in Å from the origin.

    Raises
    ------
    ValueError
        If a normal is not a unit vector or a distance is not positive.
    """

    normals: Tensor
    distances: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "normals", as_parameter(self.normals))
        object.__setattr__(self, "distances", as_parameter(self.distances))
        if self.normals.ndim != 2 or self.normals.shape != (len(self.distances), 3):
            raise ValueError(f"normals must be (f, 3), one for each distance, got {tuple(self.normals.shape)}")
        if not np.allclose(np.linalg.norm(as_array(self.normals), axis=1), 1):
            raise ValueError("normals must be unit vectors")
        if not (self.distances > 0).all():
            raise ValueError(f"distances must be positive in Å, got {self.distances.tolist()}")

    @classmethod
    def centred(cls, normals: ArrayLike, distances: ArrayLike) -> "Polyhedron":
        """Polyhedron bounded by planes (normals of any length), moved to its centroid.

        Raises
        ------
        ValueError
            If the planes do not enclose a bounded volume around the origin.
        """
        directions = np.asarray(normals, np.float64)
        unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        offsets = np.asarray(distances, np.float64)
        centroid = centroid_of(vertices_of(unit, offsets))
        return cls(as_parameter(unit), as_parameter(offsets - unit @ centroid))

    def with_volume(self, volume: float) -> "Polyhedron":
        """The same polyhedron, scaled to ``volume`` Å³."""
        return Polyhedron(self.normals, self.distances * (volume / self.volume) ** (1 / 3))

    def without_idle_planes(self) -> "Polyhedron":
        """The same polyhedron, bounded only by the planes that hold a facet."""
        areas = self.facet_areas
        # Rounding leaves slivers where a plane just touches an edge or a corner.
        facets = areas > 1e-9 * areas.sum()
        return Polyhedron(self.normals[facets], self.distances[facets])

    def signed_distance(self, points: Tensor) -> Tensor:
        """See ``Shape``."""
        # Planes first: the maximum then runs along memory, four times as fast.
        along = self.normals.to(points) @ points.reshape(-1, 3).T
        along -= self.distances.to(points)[:, None]
        distance: Tensor = along.amax(0)
        return distance.reshape(points.shape[:-1])

    def gradient(self, points: Tensor) -> Tensor:
        """See ``Shape``: the normal of the farthest plane."""
        normals = self.normals.to(points)
        farthest = (points @ normals.T - self.distances.to(points)).argmax(-1)
        return normals[farthest]

    @property
    def vertices(self) -> Array:
        """Corners ``(n, 3)`` in Å."""
        # Planes that are fitted move under an optimiser's hands.
        fitted = self.normals.requires_grad or self.distances.requires_grad
        return vertices_of(as_array(self.normals), as_array(self.distances)) if fitted else self._fixed_vertices

    @cached_property
    def _fixed_vertices(self) -> Array:
        return vertices_of(as_array(self.normals), as_array(self.distances))

    @property
    def volume(self) -> float:
        """See ``Shape``."""
        return float(ConvexHull(self.vertices).volume)

    @property
    def facet_areas(self) -> Array:
        """Area ``(f,)`` in Å² of the facet on each plane, 0 where the plane is idle."""
        corners = self.vertices
        hull = ConvexHull(corners)
        facet = (hull.equations[:, :3] @ as_array(self.normals).T).argmax(1)
        edges = np.diff(corners[hull.simplices], axis=1)
        areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2
        return np.asarray(np.bincount(facet, areas, len(self.normals)))

    def reach(self, axes: Array) -> tuple[Array, Array]:
        """See ``Shape``."""
        along = self.vertices @ axes.T
        return along.min(0), along.max(0)

    def chord(self, point: ArrayLike, direction: ArrayLike) -> tuple[float, float] | None:
        """See ``Shape``."""
        normals, distances = as_array(self.normals), as_array(self.distances)
        along = as_array(direction)
        speed, room = normals @ along, distances - normals @ as_array(point)
        still = 1e-12 * np.linalg.norm(along)
        if (room[np.abs(speed) < still] < 0).any():
            return None
        leaving, entering = speed > still, speed < -still
        low, high = (room[entering] / speed[entering]).max(), (room[leaving] / speed[leaving]).min()
        return None if low >= high else (float(low), float(high))


def truncated_octahedron(
    diameter: float | Tensor, rotation: ArrayLike | Tensor, ratio: float | Tensor = 1.0
) -> Polyhedron:
    """{111} and {100} facets of a cubic crystal whose axes are turned by ``rotation`` (3, 3).

    ``diameter`` Å is the distance between opposite {111} facets; ``ratio`` is d(100)/d(111):
    2/√3 = 1.15 gives the regular solid, √3 the octahedron, 1/√3 the cube.
    """
    octants = torch.tensor([[i, j, k] for i in (1, -1) for j in (1, -1) for k in (1, -1)], dtype=torch.float64)
    faces = torch.cat([torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)])
    distances = torch.cat([torch.ones(8, dtype=torch.float64), as_parameter(ratio).expand(6)])
    normals = torch.cat([octants / 3**0.5, faces]) @ as_rotation(rotation).T
    return Polyhedron(normals, as_parameter(diameter) / 2 * distances)


def vertices_of(normals: Array, distances: Array) -> Array:
    """Corners ``(n, 3)`` of the polyhedron ``normals @ r ≤ distances`` around the origin.

    Raises
    ------
    ValueError
        If the planes do not enclose a bounded volume around the origin.
    """
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            corners = HalfspaceIntersection(np.column_stack([normals, -distances]), np.zeros(3)).intersections
    except QhullError as error:
        raise ValueError(f"the planes must enclose a volume around the origin; they do not ({error})") from error
    # Where the dual hull misses the origin, the "corners" are finite but break a plane.
    if not np.isfinite(corners).all() or (corners @ normals.T > distances + 1e-6 * np.abs(distances).max()).any():
        raise ValueError("the planes must enclose a bounded volume; it is open to one side")
    return np.asarray(corners)


def centroid_of(vertices: Array) -> Array:
    """Centroid ``(3,)`` of the convex hull of ``vertices`` (n, 3), the mean of tetrahedra from an inner point."""
    hull = ConvexHull(vertices)
    apex = vertices.mean(0)
    triangles = vertices[hull.simplices]
    volumes = np.abs(
        np.einsum("ni,ni->n", triangles[:, 0] - apex, np.cross(triangles[:, 1] - apex, triangles[:, 2] - apex))
    )
    return np.asarray((volumes[:, None] * (triangles.sum(1) + apex) / 4).sum(0) / volumes.sum())
