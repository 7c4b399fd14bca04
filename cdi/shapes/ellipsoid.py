"""The ellipsoid."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from cdi.shapes.ball import ball_chord
from cdi.shapes.shape import Array, Shape, as_array, as_parameter, as_rotation


@dataclass(frozen=True, eq=False)
class Ellipsoid(Shape):
    """An ellipsoid with ``semi_axes`` (3,) in Å along the columns of ``rotation`` (3, 3).

    Raises
    ------
    ValueError
        If a semi-axis is not positive and finite, or ``rotation`` is not a rotation.
    """

    semi_axes: Tensor
    rotation: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "semi_axes", as_parameter(self.semi_axes))
        object.__setattr__(self, "rotation", as_rotation(self.rotation))
        lengths = as_array(self.semi_axes)
        if lengths.shape != (3,) or not (np.isfinite(lengths) & (lengths > 0)).all():
            raise ValueError(f"semi_axes must be 3 positive lengths in Å, got {lengths.tolist()}")

    def signed_distance(self, points: Tensor) -> Tensor:
        """See ``Shape``: f (f − 1)/|∇(f²)/2| with f = |diag(1/a) Rᵀ r|, that is (f − 1)/|∇f|.

        To first order in the distance (Taubin, IEEE Trans. PAMI 13, 1115 (1991)).
        """
        semi_axes = self.semi_axes.to(points)
        scaled = points @ self.rotation.to(points) / semi_axes
        slope = torch.linalg.vector_norm(scaled / semi_axes, dim=-1)
        # At the centre the estimate depends on the direction of approach: there it takes the least.
        centre = slope == 0
        level = torch.linalg.vector_norm(scaled, dim=-1)
        distance: Tensor = level * (level - 1) / torch.where(centre, 1.0, slope)
        return torch.where(centre, -semi_axes.amin(), distance)

    def gradient(self, points: Tensor) -> Tensor:
        """See ``Shape``."""
        semi_axes, rotation = self.semi_axes.to(points), self.rotation.to(points)
        scaled = points @ rotation / semi_axes
        level = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
        slope = torch.linalg.vector_norm(scaled / semi_axes, dim=-1, keepdim=True)
        # ∇f = s/(f a) and ∇g = s/(g a³) along the axes, for f = |s| and g = |s/a|.
        centre = slope == 0
        f, g = torch.where(centre, 1.0, level), torch.where(centre, 1.0, slope)
        along = ((2 * f - 1) / f - f * (f - 1) / (g * semi_axes).square()) / g * scaled / semi_axes
        return along @ rotation.T

    @property
    def volume(self) -> float:
        """See ``Shape``."""
        return float(4 / 3 * np.pi * as_array(self.semi_axes).prod())

    def reach(self, axes: Array) -> tuple[Array, Array]:
        """See ``Shape``."""
        half = np.linalg.norm(axes @ as_array(self.rotation) * as_array(self.semi_axes), axis=1)
        return -half, half

    def chord(self, point: ArrayLike, direction: ArrayLike) -> tuple[float, float] | None:
        """See ``Shape``."""
        to_ball = as_array(self.rotation) / as_array(self.semi_axes)
        return ball_chord(as_array(point) @ to_ball, as_array(direction) @ to_ball, 1.0)
