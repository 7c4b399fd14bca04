"""Dislocation lines as polylines, traced from a predicted line density."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.spatial.distance import cdist

from models.prediction import PredictedLine
from models.ridge_tracking import TUBE, Ridge, RidgeTracker

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


SHORTEST = 2.5
"""Voxels; shorter lines are dropped."""
EXPLAINED = 1.5
"""Voxels within which a line explains the density."""
JUNCTION = 1.8
"""Voxels within which an end that meets another line makes a junction with it."""
NEGLIGIBLE = 0.1
"""Winding below which a line's sense is not told by it."""


@dataclass(frozen=True, eq=False)
class TracedLine:
    """A line of a predicted density with what each reflection winds about it.

    Parameters
    ----------
    points_A : (n, 3)
        In Å from voxel ``N // 2``; a closed loop repeats its first point.
    windings : (R,)
        g·b of each reflection for the sense of the points: the first that is not negligible is positive.
    confidence : float
        Mean height of the density along the line, in [0, 1].
    """

    points_A: Array
    windings: Array
    confidence: float

    @property
    def length(self) -> float:
        """In Å."""
        return _length(self.points_A)


def traced_lines(
    density: NDArray[np.floating[Any]], winding: NDArray[np.floating[Any]] | None, voxel: Array, *, threshold: float
) -> tuple[TracedLine, ...]:
    """Lines, longest first, of a ``density`` ``(x, y, z)`` in [0, 1] whose origin is ``N // 2``.

    Parameters
    ----------
    density : (x, y, z)
        exp(−d²/2σ²) of the distance to the nearest line, σ = ``TUBE`` voxels.
    winding : (R, 3, x, y, z) or None
        Of each reflection J = (g·b) ξ · density with ξ in voxel-index space; None: not known, no windings.
    voxel : (3, 3)
        Row i is the vector of a voxel along axis i in Å.
    threshold : float
        Least height of a line.

    Raises
    ------
    ValueError
        If shapes disagree, or the threshold is not within (0, 1).
    """
    heights = np.asarray(density, np.float64)
    flux = np.empty((0, 3, *heights.shape)) if winding is None else np.asarray(winding, np.float64)
    if heights.ndim != 3:
        raise ValueError(f"density must have shape (x, y, z), got {heights.shape}")
    if flux.ndim != 5 or flux.shape[1:] != (3, *heights.shape):
        raise ValueError(f"winding must have shape (R, 3, {', '.join(map(str, heights.shape))}), got {flux.shape}")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie in (0, 1), got {threshold}")
    ridges = _split_at_junctions(_ridges(heights, threshold))
    windings = _windings(ridges, heights, flux)
    centre = np.asarray(heights.shape) // 2
    lines = [
        _line(ridge, told, (ridge.points - centre) @ voxel) for ridge, told in zip(ridges, windings, strict=True)
    ]
    return tuple(sorted(lines, key=lambda line: -line.length))


def _ridges(density: Array, threshold: float) -> list[Ridge]:
    tracker = RidgeTracker(density, threshold)
    seeds, directions = tracker.seeds()
    free = np.ones(len(seeds), bool)
    found: list[Ridge] = []
    for i in range(len(seeds)):
        if not free[i]:
            continue
        free[i] = False
        ridge = tracker.follow(seeds[i], directions[i], found)
        if ridge is None:
            continue
        free &= cdist(seeds, ridge.points).min(1) > EXPLAINED
        if ridge.length >= SHORTEST:
            found.append(ridge)
    return found


def _split_at_junctions(ridges: list[Ridge]) -> list[Ridge]:
    """Each arm on its own: an end that meets the inside of another line cuts that line in two."""
    for ridge in ridges:
        if ridge.closed:
            continue
        for end in ridge.points[[0, -1]]:
            for other in ridges:
                if other is ridge or other.closed:
                    continue
                gaps = np.linalg.norm(other.points - end, axis=1)
                at = int(gaps.argmin())
                arms = [Ridge(other.points[part], other.heights[part], False) for part in (slice(at + 1), slice(at, None))]
                if gaps[at] < JUNCTION and min(arm.length for arm in arms) >= SHORTEST:
                    rest = [member for member in ridges if member is not other]
                    return _split_at_junctions([*rest, *arms])
    return ridges


def _windings(ridges: list[Ridge], density: Array, flux: Array) -> Array:
    """Windings ``(lines, R)`` that explain J best, all lines together: where they overlap their J add up."""
    if not ridges or not len(flux):
        return np.zeros((len(ridges), len(flux)))
    index = np.argwhere(density > 0.1)
    distances = [cdist(index, ridge.points) for ridge in ridges]
    tubes = np.stack([np.exp(-(gaps.min(1) ** 2) / (2 * TUBE**2)) for gaps in distances])
    share = tubes / np.maximum(tubes.max(0), 0.1) * density[tuple(index.T)]
    tangents = np.stack([ridge.tangents[gaps.argmin(1)] for ridge, gaps in zip(ridges, distances, strict=True)])
    model = (share[..., None] * tangents).reshape(len(ridges), -1)
    measured = np.moveaxis(flux[:, :, *index.T], 1, 2).reshape(len(flux), -1)
    normal = model @ model.T
    return np.linalg.solve(normal + 1e-6 * np.trace(normal) * np.eye(len(normal)), model @ measured.T)


def _line(ridge: Ridge, windings: Array, points: Array) -> TracedLine:
    told = windings[np.abs(windings) > NEGLIGIBLE]
    confidence = float(np.clip(ridge.heights, 0, 1).mean())
    if len(told) and told[0] < 0:
        return TracedLine(points[::-1], -windings, confidence)
    return TracedLine(points, windings, confidence)
