"""What makes a line hard to find, line by line, and the lines of truth and prediction in one frame for pictures."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.optimize import linear_sum_assignment

from training.metrics import PredictedCrystal, TrueCrystal, line_distances
from training.metrics.joint_group import align
from training.metrics.line_scores import HEADLINE
from training.metrics.polylines import along, nearest

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AskedLine:
    """A visible true line: what it is like, and how far the predicted line that is matched to it lies.

    Parameters
    ----------
    length : float
        In voxels.
    depth : float
        Mean distance of its points from the surface, in voxels.
    winding : float
        Largest modulus of g·b over the reflections.
    neighbour : float
        Least distance in voxels to another visible line; infinite where it is alone.
    distance : float
        Symmetric mean distance in voxels; infinite where no predicted line is left for it.
    """

    length: float
    depth: float
    winding: float
    neighbour: float
    distance: float

    @property
    def found(self) -> bool:
        """Whether a predicted line lies within 2 voxels."""
        return self.distance <= HEADLINE


@dataclass(frozen=True, eq=False)
class Drawing:
    """Support and lines in index space from the origin of the grid, all in the truth's frame.

    Parameters
    ----------
    inside : (x, y, z) bool
    true, hidden : tuples of (n, 3)
        Lines that the reflections see, and those that they do not.
    predicted : tuple of (n, 3)
        Under the twin and the shift that the volumes chose.
    """

    inside: NDArray[np.bool_]
    true: tuple[Array, ...]
    hidden: tuple[Array, ...]
    predicted: tuple[Array, ...]


def drawing(said: PredictedCrystal, truth: TrueCrystal) -> Drawing:
    """What is there and what is said of it, for a picture."""
    to_voxels: Array = np.asarray(np.linalg.inv(truth.voxel), np.float64)
    return Drawing(
        truth.volumes.inside,
        tuple(line.points @ to_voxels for line in truth.lines if line.visible),
        tuple(line.points @ to_voxels for line in truth.lines if not line.visible),
        _predicted(said, truth, to_voxels),
    )


def asked_lines(said: PredictedCrystal, truth: TrueCrystal) -> tuple[AskedLine, ...] | None:
    """Every visible line of the truth, matched one to one by least total distance; None where no lines are told."""
    if said.lines is None:
        return None
    to_voxels: Array = np.asarray(np.linalg.inv(truth.voxel), np.float64)
    visible = [line for line in truth.lines if line.visible]
    lines = [line.points @ to_voxels for line in visible]
    reached = _matched(_predicted(said, truth, to_voxels), lines)
    depth = np.asarray(distance_transform_edt(truth.volumes.inside))
    return tuple(
        AskedLine(
            length=float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum()),
            depth=_depth(points, depth),
            winding=float(np.abs(line.windings).max()),
            neighbour=_nearest(points, [other for other in lines if other is not points]),
            distance=float(distance),
        )
        for line, points, distance in zip(visible, lines, reached, strict=True)
    )


def _predicted(said: PredictedCrystal, truth: TrueCrystal, to_voxels: Array) -> tuple[Array, ...]:
    if not said.lines or said.volumes is None:
        return ()
    alignment = align(said.volumes, truth.volumes)
    return tuple(alignment.line(line, truth.voxel).points @ to_voxels for line in said.lines)


def _matched(predicted: tuple[Array, ...], true: list[Array]) -> Array:
    """Distance of each true line to the one that least total distance gives it."""
    distances = line_distances(predicted, true)
    reached = np.full(len(true), np.inf)
    rows, columns = linear_sum_assignment(distances)
    reached[columns] = distances[rows, columns]
    return reached


def _depth(points: Array, depth: Array) -> float:
    at = along(points) + np.asarray(depth.shape) // 2
    return float(map_coordinates(depth, at.T, order=1, mode="nearest").mean())


def _nearest(points: Array, others: list[Array]) -> float:
    if not others:
        return float("inf")
    return float(min(nearest(along(points), other)[0].min() for other in others))
