"""What a refinement starts from: objects of a network or of a retrieval, and the lines that their phases wind about.

Positions are in voxel numbers from ``N // 2`` throughout; whoever knows the voxels turns them into Å.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.refinement.crystal_model import ModelLine
from cdi.refinement.line_phase import Track
from cdi.retrieval.joined_lines import drawn, joined_lines
from cdi.retrieval.vortex_lines import vortex_lines

Array = NDArray[np.float64]

STRAIGHT = 1.5
"""Voxels that a line may bend and still be started as a straight one."""
OPEN_CORNERS, LOOP_CORNERS = 4, 6
"""Corners of a bent line and of a closed one."""


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

    def to(self, device: torch.device | str) -> "StartObject":
        """Density and support on ``device``."""
        return StartObject(self.name, self.density.to(device), self.support.to(device), self.lines)


def wound_lines(density: Tensor, support: Tensor) -> tuple[ModelLine, ...]:
    """Lines that phases of ``density`` (reflections, x, y, z) wind about, longest first, reflections together."""
    if not bool(support.any()):
        return ()
    joined = joined_lines([vortex_lines(volume, support) for volume in density])
    return tuple(model_line(line.points, line.windings) for line in joined)


def model_line(points: Array, windings: Sequence[int]) -> ModelLine:
    """A polyline ``(n, 3)`` in voxel numbers with few corners; closed where it ends where it starts."""
    ring = bool(np.array_equal(points[0], points[-1]))
    return ModelLine(Track(torch.as_tensor(_few_corners(points, ring)), ring), tuple(int(m) for m in windings))


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
