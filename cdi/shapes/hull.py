"""The shape of a given set of atoms: their convex hull, with flat facets and the right volume."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.spatial import ConvexHull, QhullError, Voronoi, cKDTree

from cdi.shapes.polyhedron import Polyhedron, centroid_of, vertices_of
from cdi.shapes.shape import Array

INNER_ATOMS = 400
"""Atoms whose mean Voronoi cell gives the volume of an atom."""


def hull(
    positions: ArrayLike, *, atomic_volume: float | None = None, tolerance: float = 0.5
) -> tuple[Polyhedron, Array]:
    """The convex shape of the atoms at ``positions`` (n, 3) Å, and its centroid (3,) in their frame.

    The shape is about its own centroid, as every shape: an atom at r lies at r − centroid in it.

    Facets of the convex hull that are coplanar within ``tolerance`` become one, so that relaxed
    surfaces stay flat. All are then moved outwards by one distance, so that the volume is that of n atoms;
    where the hull alone holds more, they stay where they are.
    A shape is convex: re-entrant edges (a twin's notch, a dent, a cavity) are filled, and so is the
    space between separate crystals.

    Parameters
    ----------
    atomic_volume
        Volume of the crystal per atom in Å³; the mean Voronoi cell of the innermost atoms unless given.
    tolerance
        Å by which atoms of one facet may lie below its plane.

    Raises
    ------
    ValueError
        If the positions are malformed, not finite or flat, ``atomic_volume`` or ``tolerance`` is not
        positive, or there are too few atoms to tell the volume of one.
    """
    points = np.asarray(positions, np.float64)
    if points.ndim != 2 or points.shape[1:] != (3,) or len(points) < 4 or not np.isfinite(points).all():
        raise ValueError(f"positions must be finite with shape (n ≥ 4, 3), got shape {points.shape}")
    if not 0 < tolerance < np.inf:
        raise ValueError(f"tolerance must be positive in Å, got {tolerance}")
    if atomic_volume is not None and not 0 < atomic_volume < np.inf:
        raise ValueError(f"atomic_volume must be positive in Å³, got {atomic_volume}")
    volume = voronoi_volume(points) if atomic_volume is None else atomic_volume
    middle = points.mean(0)
    normals, distances = _facets(points - middle, tolerance)
    distances = distances + _padding(normals, distances, len(points) * volume)
    return Polyhedron.centred(normals, distances), middle + centroid_of(vertices_of(normals, distances))


def voronoi_volume(points: Array) -> float:
    """Mean volume in Å³ of the Voronoi cells of the innermost atoms of ``points`` (n, 3).

    Raises
    ------
    ValueError
        If no atom is enclosed by others.
    """
    tree = cKDTree(points)
    near = points[np.atleast_1d(tree.query(points.mean(0), min(len(points), 8 * INNER_ATOMS))[1])]
    try:
        cells = Voronoi(near)
    except QhullError as error:
        raise ValueError("positions must span a volume, got atoms in one plane or line") from error
    # Atoms come by their distance from the middle, so that cells cut by the selection's rim are the last.
    regions = [cells.regions[i] for i in cells.point_region[: max(1, len(near) // 8)]]
    volumes = [ConvexHull(cells.vertices[region]).volume for region in regions if region and min(region) >= 0]
    if not volumes:
        raise ValueError(f"atomic_volume must be given for so few atoms, got {len(points)} atoms")
    return float(np.mean(volumes))


def _facets(points: Array, tolerance: float) -> tuple[Array, Array]:
    """Planes of the hull's facets, the largest triangles first: each takes all triangles that lie in it."""
    try:
        convex = ConvexHull(points)
    except QhullError as error:
        raise ValueError("positions must span a volume, got atoms in one plane or line") from error
    corners, triangles = points[convex.vertices], points[convex.simplices]
    edges = np.diff(triangles, axis=1)
    areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    free = np.ones(len(triangles), bool)
    normals, distances = [], []
    for seed in np.argsort(-areas):
        if free[seed]:
            normal, top = convex.equations[seed, :3], -convex.equations[seed, 3]
            lies_in = free & ((triangles @ normal).min(1) > top - tolerance)
            lies_in[seed] = True
            mean = areas[lies_in] @ convex.equations[lies_in, :3]
            normals.append(mean / np.linalg.norm(mean))
            distances.append((corners @ normals[-1]).max())
            free &= ~lies_in
    return np.asarray(normals), np.asarray(distances)


def _padding(normals: Array, distances: Array, volume: float) -> float:
    """The distance by which all planes move outwards to enclose ``volume``; 0 where they enclose more."""

    def excess(padding: float) -> float:
        return float(ConvexHull(vertices_of(normals, distances + padding)).volume) / volume - 1

    upper = volume ** (1 / 3)  # moves the planes by more than the volume asks for, whatever the shape
    return 0.0 if excess(0.0) >= 0 else float(brentq(excess, 0.0, upper, xtol=1e-9))
