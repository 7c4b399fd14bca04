"""Dislocation lines as polylines, traced from a predicted line density."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from models.prediction import PredictedLine

Array = NDArray[np.float64]

FEWEST_VOXELS = 4


def trace_lines(density: NDArray[np.float32], voxel: Array, *, threshold: float) -> tuple[PredictedLine, ...]:
    """Lines, longest first, of a ``density`` ``(x, y, z)`` in [0, 1] whose origin is ``N // 2``.

    Voxels above ``threshold`` are joined through faces, edges and corners; each connected part
    becomes one polyline of density-weighted centroids in slabs, one voxel thick, across its
    principal axis. ``voxel`` (3, 3) maps index to Å. Lines that touch come out as one.
    """
    parts, count = label(density > threshold, structure=np.ones((3, 3, 3)))
    centre = np.asarray(density.shape) // 2
    lines = []
    for part in range(1, count + 1):
        index = np.argwhere(parts == part)
        if len(index) >= FEWEST_VOXELS:
            weights = density[tuple(index.T)].astype(np.float64)
            points = _polyline(index - centre, weights)
            if len(points) >= 2:
                lines.append(PredictedLine(points @ voxel, None, float(weights.mean())))
    return tuple(sorted(lines, key=lambda line: -_length(line.points_A)))


def _polyline(points: Array, weights: Array) -> Array:
    mean = np.average(points, axis=0, weights=weights)
    relative = points - mean
    axis = np.linalg.eigh((relative * weights[:, None]).T @ relative)[1][:, -1]
    slab = np.rint(relative @ axis).astype(int)
    centroids = [np.average(points[slab == s], axis=0, weights=weights[slab == s]) for s in np.unique(slab)]
    return np.asarray(centroids)


def _length(points: Array) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
