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
        if self.radius.shape != () or not 0 < float(self.radius) < np.inf:
            raise ValueError(f"radius must be positive in Å, got {self.radius.tolist()}")

    @classmethod
    def of_diameter(cls, diameter: float) -> "Ball":
        """Ball of ``diameter`` Å."""
        return cls(as_parameter(diameter / 2))

    def signed_distance(self, points: Tensor) -> Tensor:
        """See ``Shape``."""
        radius: Tensor = torch.linalg.vector_norm(points, dim=-1)
        return radius - self.radius.to(points)

    def reach(self, axes: Array) -> tuple[Array, Array]:
        """See ``Shape``."""
        half = float(self.radius) * np.linalg.norm(axes, axis=1)
        return -half, half

    def chord(self, point: ArrayLike, direction: ArrayLike) -> tuple[float, float] | None:
        """See ``Shape``."""
        start, along = as_array(point), as_array(direction)
        speed = float(along @ along)
        middle = -float(start @ along) / speed
        square = middle**2 - (float(start @ start) - float(self.radius) ** 2) / speed
        return None if square <= 0 else (middle - square**0.5, middle + square**0.5)
