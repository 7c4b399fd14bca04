"""The surface of a crystal as triangles, with the phase on it. Free of torch.

Marching cubes is scikit-image's (Lewiner et al., J. Graph. Tools 8, 1, 2003), imported on first use.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import ConvexHull

from cdi.errors import optional_import

Array = NDArray[np.float64]

LEAST_SIDE = 2
"""Voxels along each axis that a volume must have for a surface."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles in space.

    Parameters
    ----------
    vertices : (n, 3)
    faces : (m, 3) int
        Rows of ``vertices``.
    phase : (n,) in radians, or None
        At the vertices.
    """

    vertices: Array
    faces: NDArray[np.int64]
    phase: Array | None = None

    @property
    def normals(self) -> Array:
        """Unit normals ``(m, 3)`` of the faces, zero for one without area."""
        a, b, c = (self.vertices[self.faces[:, corner]] for corner in range(3))
        normals = np.cross(b - a, c - a)
        return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30))

    @property
    def face_phase(self) -> Array | None:
        """Circular mean ``(m,)`` in radians of each face's corners; None without a phase."""
        if self.phase is None:
            return None
        return np.asarray(np.angle(np.exp(1j * self.phase)[self.faces].mean(1)))


def isosurface(
    magnitude: ArrayLike, level: float, voxel: ArrayLike, phase: ArrayLike | None = None, *, centred: bool = True
) -> Surface:
    """Where ``magnitude`` (x, y, z) equals ``level``, in the unit of ``voxel`` (3, 3), row i along axis i.

    The phase of a vertex is that of exp(iφ) between the voxels around it, each by its magnitude: a mean of wrapped
    numbers would be wrong at ±π. Index ``N // 2`` is the origin, or index 0 where not ``centred``.

    Raises
    ------
    ValueError
        If the volume is not three-dimensional, or the level is not crossed in it.
    MissingDependencyError
        If scikit-image is not installed.
    """
    volume = np.asarray(magnitude, np.float64)
    if volume.ndim != 3 or min(volume.shape) < LEAST_SIDE:
        raise ValueError(f"magnitude must be three-dimensional, got shape {volume.shape}")
    # One voxel of nothing around it: a crystal that touches the edge gets a closed surface.
    padded = np.pad(volume, 1)
    if not padded.min() < level < padded.max():
        raise ValueError(f"level must lie between 0 and the largest magnitude {volume.max():.4g}, got {level:g}")
    measure = optional_import("skimage.measure", group="view", purpose="a surface in three dimensions")
    index, faces, _, _ = measure.marching_cubes(padded, level)
    index = index.astype(np.float64) - 1
    origin = np.array([n // 2 for n in volume.shape]) if centred else np.zeros(3)
    found = None if phase is None else _phase_at(index, volume, np.asarray(phase, np.float64))
    return Surface((index - origin) @ np.asarray(voxel, np.float64), faces.astype(np.int64), found)


def hull_surface(points: ArrayLike) -> Surface:
    """The convex hull of ``points`` (n, 3): of atoms, or of anything without a volume.

    Raises
    ------
    ValueError
        If they do not span space.
    """
    positions = np.asarray(points, np.float64)
    if positions.ndim != 2 or positions.shape[1] != 3 or len(positions) < 4:
        raise ValueError(f"points must be four or more in space (n, 3), got shape {positions.shape}")
    if np.linalg.matrix_rank(positions - positions.mean(0), tol=1e-9 * np.abs(positions).max()) < 3:
        raise ValueError("points must span space, they lie in a plane")
    hull = ConvexHull(positions)
    renumbered = np.full(len(positions), -1)
    renumbered[hull.vertices] = np.arange(len(hull.vertices))
    vertices, faces = positions[hull.vertices], renumbered[hull.simplices].astype(np.int64)
    inward = (Surface(vertices, faces).normals * hull.equations[:, :3]).sum(1) < 0
    faces[inward] = faces[inward][:, ::-1]
    return Surface(vertices, faces)


def _phase_at(index: Array, magnitude: Array, phase: Array) -> Array:
    wave = magnitude * np.exp(1j * phase)
    parts = [map_coordinates(part, index.T, order=1, mode="nearest") for part in (wave.real, wave.imag)]
    return np.asarray(np.arctan2(parts[1], parts[0]))
