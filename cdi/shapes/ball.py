"""The ball."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from cdi.shapes.shape import Array, Shape, as_array, as_parameter


@dataclass(frozen=True, eq=False)
class Ball(Shape):
    """A ball of ``radius`` Å (a number or a scalar tensor).

    Raises
    ------
    ValueError
        If the radius is not positive and finite.
    """

    radius: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", as_parameter(self.radius))
        if self.radius.shape != () or not 0 < as_array(self.radius) < np.inf:
            raise ValueError(f"radius must be positive in Å, got {self.radius.tolist()}")

    @classmethod
    def of_diameter(cls, diameter: float) -> "Ball":
        """Ball of ``diameter`` Å."""
        return cls(as_parameter(diameter / 2))

    def signed_distance(self, points: Tensor) -> Tensor:
        """See ``Shape``."""
        radius: Tensor = torch.linalg.vector_norm(points, dim=-1)
        return radius - self.radius.to(points)

    def gradient(self, points: Tensor) -> Tensor:
        """See ``Shape``."""
        return torch.nn.functional.normalize(points, dim=-1)

    @property
    def volume(self) -> float:
        """See ``Shape``."""
        return float(4 / 3 * np.pi * as_array(self.radius) ** 3)

    def reach(self, axes: Array) -> tuple[Array, Array]:
        """See ``Shape``."""
        half = as_array(self.radius) * np.linalg.norm(axes, axis=1)
        return -half, half

    def chord(self, point: ArrayLike, direction: ArrayLike) -> tuple[float, float] | None:
        """See ``Shape``."""
        return ball_chord(as_array(point), as_array(direction), float(as_array(self.radius)))


def ball_chord(start: Array, along: Array, radius: float) -> tuple[float, float] | None:
    """Interval of t with |start + t · along| < radius, for vectors of any dimension; None if empty."""
    speed = float(along @ along)
    middle = -float(start @ along) / speed
    # From the nearest point, not from r² − R²: a distant start would cancel all digits of it.
    nearest = start + middle * along
    square = (radius**2 - float(nearest @ nearest)) / speed
    return None if square <= 0 else (middle - square**0.5, middle + square**0.5)
