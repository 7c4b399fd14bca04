"""The rod: a straight circular cylinder."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from cdi.shapes.ball import ball_chord
from cdi.shapes.shape import Array, Shape, as_array, as_parameter


@dataclass(frozen=True, eq=False)
class Rod(Shape):
    """A cylinder of ``radius`` and ``length`` in Å about ``axis`` (3,), a direction of any length.

    Raises
    ------
    ValueError
        If radius or length is not positive and finite, or the axis is not a direction.
    """

    radius: Tensor
    length: Tensor
    axis: Tensor

    def __post_init__(self) -> None:
        for name in ("radius", "length"):
            value = as_parameter(getattr(self, name))
            if value.shape != () or not 0 < as_array(value) < np.inf:
                raise ValueError(f"{name} must be positive in Å, got {value.tolist()}")
            object.__setattr__(self, name, value)
        axis = as_parameter(self.axis)
        if axis.shape != (3,) or not torch.isfinite(axis).all() or not axis.any():
            raise ValueError(f"axis must be a direction of 3 finite numbers, not all 0, got {axis.tolist()}")
        object.__setattr__(self, "axis", axis / torch.linalg.vector_norm(axis))

    def signed_distance(self, points: Tensor) -> Tensor:
        """See ``Shape``: the farther of side and ends."""
        axis = self.axis.to(points)
        height = points @ axis
        side = torch.linalg.vector_norm(points - height[..., None] * axis, dim=-1) - self.radius.to(points)
        return torch.maximum(side, height.abs() - self.length.to(points) / 2)

    def gradient(self, points: Tensor) -> Tensor:
        """See ``Shape``."""
        axis = self.axis.to(points)
        height = (points @ axis)[..., None]
        across = points - height * axis
        away = torch.linalg.vector_norm(across, dim=-1, keepdim=True)
        beside = away - self.radius.to(points) > height.abs() - self.length.to(points) / 2
        return torch.where(beside, across / away.clamp_min(1e-12), height.sign() * axis)

    @property
    def volume(self) -> float:
        """See ``Shape``."""
        return float(np.pi * as_array(self.radius) ** 2 * as_array(self.length))

    def reach(self, axes: Array) -> tuple[Array, Array]:
        """See ``Shape``."""
        along = axes @ as_array(self.axis)
        across = np.linalg.norm(axes - along[:, None] * as_array(self.axis), axis=1)
        half = np.abs(along) * as_array(self.length) / 2 + across * as_array(self.radius)
        return -half, half

    def chord(self, point: ArrayLike, direction: ArrayLike) -> tuple[float, float] | None:
        """See ``Shape``."""
        start, along, axis = as_array(point), as_array(direction), as_array(self.axis)
        height, climb = float(start @ axis), float(along @ axis)
        spans = (
            _span(start - height * axis, along - climb * axis, float(as_array(self.radius))),
            _span(np.array([height]), np.array([climb]), float(as_array(self.length)) / 2),
        )
        low, high = max(span[0] for span in spans), min(span[1] for span in spans)
        return None if low >= high else (low, high)


def _span(start: Array, along: Array, radius: float) -> tuple[float, float]:
    """Interval of t with |start + t · along| < radius: everything, or nothing, where ``along`` is 0."""
    if np.linalg.norm(along) < 1e-12:
        return (-np.inf, np.inf) if np.linalg.norm(start) < radius else (np.inf, -np.inf)
    return ball_chord(start, along, radius) or (np.inf, -np.inf)
