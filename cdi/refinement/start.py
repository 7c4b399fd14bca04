"""What a refinement starts from: objects of a network or of a retrieval, and the lines that their phases wind about.

Positions are in voxel numbers from ``N // 2`` throughout; whoever knows the voxels turns them into Å.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from cdi.refinement.crystal_model import ModelLine
from cdi.refinement.line_phase import Track
from cdi.retrieval.vortex_lines import VortexLine, vortex_lines

Array = NDArray[np.float64]

STRAIGHT = 1.5
"""Voxels that a line may bend and still be started as a straight one."""
OPEN_CORNERS, LOOP_CORNERS = 4, 6
"""Corners of a bent line and of a closed one."""
SAME = 2.0
"""Mean distance in voxels up to which two lines are one."""


@dataclass(frozen=True, eq=False)
class StartObject:
    """Densities of a crystal's reflections in one frame.

    Parameters
    ----------
    name : where it is from.
    density : (reflections, x, y, z) complex, in the sign φ = +G·u.
    support : (x, y, z) bool
    lines : lines that are said to be in it beside those that the phase winds about.

    Raises
    ------
    ValueError
        If the shapes disagree or the density is not finite.
    """

    name: str
    density: Tensor
    support: Tensor
    lines: tuple[ModelLine, ...] = ()

    def __post_init__(self) -> None:
        if self.density.ndim != 4 or not self.density.is_complex():
            raise ValueError(
                f"density must be complex (reflections, x, y, z), got {self.density.dtype} {tuple(self.density.shape)}"
            )
        if self.support.shape != self.density.shape[1:] or self.support.dtype != torch.bool:
            raise ValueError(
                f"support must be bool {tuple(self.density.shape[1:])}, got {self.support.dtype} "
                f"{tuple(self.support.shape)}"
            )
        if not bool(torch.isfinite(torch.view_as_real(self.density)).all()):
            raise ValueError("density must be finite, got NaN or infinity")


def wound_lines(density: Tensor, support: Tensor) -> tuple[ModelLine, ...]:
    """Lines that phases of ``density`` (reflections, x, y, z) wind about, longest first, reflections together."""
    found = [vortex_lines(volume, support) for volume in density] if bool(support.any()) else []
    every = sorted(((r, line) for r, lines in enumerate(found) for line in lines), key=lambda pair: -pair[1].length)
    groups: list[dict[int, VortexLine]] = []
    for reflection, line in every:
        fitting = [g for g in groups if reflection not in g and separation(line.points, _axis(g).points) <= SAME]
        if fitting:
            fitting[0][reflection] = line
        else:
            groups.append({reflection: line})
    return tuple(_model_line(group, len(density)) for group in groups)


def model_line(points: Array, windings: Sequence[int], *, closed: bool | None = None) -> ModelLine:
    """A polyline ``(n, 3)`` in voxel numbers with few corners; by default closed where it ends where it starts."""
    ring = bool(np.array_equal(points[0], points[-1])) if closed is None else closed
    return ModelLine(Track(torch.as_tensor(_few_corners(points, ring)), ring), tuple(int(m) for m in windings))


def separation(first: Array, second: Array) -> float:
    """Mean distance of ``first`` (n, 3) from ``second``, both taken as densely drawn."""
    distances, _ = cKDTree(drawn(second)).query(drawn(first))
    return float(np.mean(distances))


def drawn(points: Array) -> Array:
    """Points about every half voxel along a polyline ``(n, 3)``."""
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    places = np.linspace(0, along[-1], max(2, int(2 * along[-1]) + 1))
    return np.stack([np.interp(places, along, points[:, axis]) for axis in range(3)], 1)


def _axis(group: dict[int, VortexLine]) -> VortexLine:
    return next(iter(group.values()))


def _model_line(group: dict[int, VortexLine], reflections: int) -> ModelLine:
    axis = _axis(group)
    windings = [0] * reflections
    for reflection, line in group.items():
        windings[reflection] = line.winding if _same_sense(axis.points, line.points) else -line.winding
    return model_line(axis.points, windings)


def _same_sense(first: Array, second: Array) -> bool:
    one, other = drawn(first), drawn(second)
    nearest = cKDTree(other).query(one)[1]
    return bool((np.gradient(one, axis=0) * np.gradient(other, axis=0)[nearest]).sum() >= 0)


def _few_corners(points: Array, closed: bool) -> Array:
    if closed:
        dense = drawn(points)
        return np.asarray(dense[np.linspace(0, len(dense) - 1, LOOP_CORNERS + 1).round().astype(int)[:-1]])
    along = points[-1] - points[0]
    length = float(np.linalg.norm(along))
    if length > 0:
        offsets = points - points[0]
        aside = offsets - np.outer(offsets @ along, along) / length**2
        if np.linalg.norm(aside, axis=1).max() <= STRAIGHT:
            return _fitted_chord(points)
    dense = drawn(points)
    return np.asarray(dense[np.linspace(0, len(dense) - 1, OPEN_CORNERS).round().astype(int)])


def _fitted_chord(points: Array) -> Array:
    """Ends ``(2, 3)`` of the straight line nearest to ``points``, in their sense."""
    dense = drawn(points)
    middle = dense.mean(0)
    direction = np.linalg.svd(dense - middle, full_matrices=False)[2][0]
    reach = (dense - middle) @ direction
    ends = np.array([reach.min(), reach.max()])
    if direction @ (points[-1] - points[0]) < 0:
        ends = ends[::-1]
    return np.asarray(middle + ends[:, None] * direction)
