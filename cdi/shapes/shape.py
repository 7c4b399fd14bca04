"""What every crystal shape answers: signed distance, reach, and the chord of a straight line.

A shape is convex and centred on the centroid of its volume. Parameters are float64 tensors, and
``signed_distance`` is differentiable with respect to them, so that a shape can be fitted.
"""

from abc import ABC, abstractmethod
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Array = NDArray[np.float64]


class Shape(ABC):
    """A convex body around the origin, laboratory frame, lengths in Å."""

    @abstractmethod
    def signed_distance(self, points: Tensor) -> Tensor:
        """Distance ``(...)`` in Å of ``points`` (..., 3) to the boundary, negative inside.

        Outside a polyhedron or a rod beyond an edge it is a lower bound, and away from an ellipsoid's
        boundary an estimate: it has the right sign and, at the boundary, unit slope.
        """

    @abstractmethod
    def gradient(self, points: Tensor) -> Tensor:
        """Gradient ``(..., 3)`` of ``signed_distance`` at ``points`` (..., 3); 0 at the centre of a round shape.

        Written out: processes forked beside a training on a GPU cannot run autograd's engine.
        """

    @property
    @abstractmethod
    def volume(self) -> float:
        """Volume in Å³."""

    @abstractmethod
    def reach(self, axes: Array) -> tuple[Array, Array]:
        """Least and greatest ``axes · r`` ``(m,)`` within the shape, for each row of ``axes`` (m, 3)."""

    @abstractmethod
    def chord(self, point: ArrayLike, direction: ArrayLike) -> tuple[float, float] | None:
        """Interval of t for which ``point + t · direction`` lies inside, or None if it misses."""

    def extent(self, axes: Array) -> Array:
        """Size ``(m,)`` of the shape along each row of ``axes`` (m, 3): max − min of ``axes · r``."""
        low, high = self.reach(axes)
        return high - low

    def surface_point(self, direction: ArrayLike) -> Array:
        """Where the half-line from the middle along ``direction`` (3,) leaves the shape, ``(3,)`` in Å.

        Raises
        ------
        ValueError
            If it leads nowhere.
        """
        along = np.asarray(direction, np.float64)
        inside = self.chord(np.zeros(3), along) if np.isfinite(along).all() and along.any() else None
        if inside is None:
            raise ValueError(f"direction must be finite and not zero, got {along.tolist()}")
        return np.asarray(inside[1] * along)

    def clip(self, polyline: Array) -> list[Array]:
        """The parts of ``polyline`` (n, 3) within the shape, each (m, 3), in order; corners are kept."""
        parts: list[list[Array]] = []
        open_part = False
        for start, end in pairwise(np.asarray(polyline, np.float64)):
            if (start == end).all():
                continue
            inside = self.chord(start, end - start)
            if inside is None or inside[1] <= 0 or inside[0] >= 1:
                open_part = False
                continue
            low, high = max(inside[0], 0.0), min(inside[1], 1.0)
            if not (open_part and low == 0.0):
                parts.append([start + low * (end - start)])
            parts[-1].append(start + high * (end - start))
            open_part = high == 1.0
        return [np.asarray(part) for part in parts]


def as_parameter(value: ArrayLike | Tensor) -> Tensor:
    """``value`` as a float64 tensor; a tensor keeps its place in the graph of derivatives."""
    return torch.as_tensor(value, dtype=torch.float64)


def as_array(value: ArrayLike | Tensor) -> Array:
    """``value`` as a float64 array, cut from any graph of derivatives."""
    return np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, np.float64)


def as_rotation(value: ArrayLike | Tensor) -> Tensor:
    """``value`` as a float64 rotation matrix (3, 3), in the graph of derivatives.

    Raises
    ------
    ValueError
        If it is not a proper rotation to 10⁻⁶.
    """
    rotation = as_parameter(value)
    matrix = as_array(rotation)
    if matrix.shape != (3, 3) or not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-6) or np.linalg.det(matrix) < 0:
        raise ValueError(f"rotation must be a (3, 3) rotation matrix, got {matrix.tolist()}")
    return rotation
