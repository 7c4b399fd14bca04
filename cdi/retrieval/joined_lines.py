"""Vortex lines of a crystal's reflections, with those made one that lie together: a dislocation winds in several.

Polylines are compared in voxels, whatever unit they come in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from cdi.retrieval.vortex_lines import VortexLine

Array = NDArray[np.float64]

JOINED = 2.0
"""Voxels, on average, from a line to a longer one of another reflection up to which both are one."""


@dataclass(frozen=True, eq=False)
class JoinedLine:
    """A line of several reflections.

    Parameters
    ----------
    points : (n, 3) of the longest of them, in its unit; a closed loop repeats its first point.
    windings : whole turns in every reflection in the sense of ``points``, 0 where none shows.
    """

    points: Array
    windings: tuple[int, ...]


def joined_lines(found: Sequence[Sequence[VortexLine]], voxel: ArrayLike | None = None) -> tuple[JoinedLine, ...]:
    """Lines ``found`` in each reflection, the longest first, those of different ones joined to the nearest longer one.

    ``voxel`` (3, 3) in Å, row i along axis i, as for ``vortex_lines``; None where points are in voxels.
    """
    to_voxels = np.eye(3) if voxel is None else np.linalg.inv(np.asarray(voxel, np.float64))
    every = [(reflection, line) for reflection, lines in enumerate(found) for line in lines]
    groups: list[dict[int, VortexLine]] = []
    for reflection, line in sorted(every, key=lambda entry: -entry[1].length):
        free = [group for group in groups if reflection not in group]
        gaps = [separation(line.points @ to_voxels, _axis(group).points @ to_voxels) for group in free]
        if gaps and min(gaps) <= JOINED:
            free[int(np.argmin(gaps))][reflection] = line
        else:
            groups.append({reflection: line})
    return tuple(_joined(group, len(found)) for group in groups)


def separation(first: Array, second: Array) -> float:
    """Mean distance of the polyline ``first`` (n, 3) from ``second``, both in voxels."""
    distances, _ = cKDTree(drawn(second)).query(drawn(first))
    return float(np.mean(distances))


def drawn(points: Array) -> Array:
    """Points at most half a voxel apart, evenly, along a polyline ``(n, 3)`` in voxels."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    places = np.linspace(0, along[-1], int(np.ceil(2 * along[-1])) + 2)
    return np.stack([np.interp(places, along, points[:, axis]) for axis in range(3)], 1)


def _axis(group: dict[int, VortexLine]) -> VortexLine:
    return next(iter(group.values()))


def _joined(group: dict[int, VortexLine], reflections: int) -> JoinedLine:
    axis, windings = _axis(group), [0] * reflections
    for reflection, line in group.items():
        windings[reflection] = line.winding if _same_sense(axis.points, line.points) else -line.winding
    return JoinedLine(axis.points, tuple(windings))


def _same_sense(first: Array, second: Array) -> bool:
    """Whether ``second`` runs along the places of ``first`` that are nearest to it, rather than against them."""
    nearest = cKDTree(first).query(second)[1]
    return bool((np.gradient(second, axis=0) * np.gradient(first, axis=0)[nearest]).sum() >= 0)
