"""The elastic medium that carries a dislocation's field: what a straight line displaces in it.

Frame of a line: ξ along the line, y along the slip-plane normal n, x = n × ξ, so (x, y, ξ) is
right-handed. The branch cut of every multivalued term is the half-plane x < 0 of the slip plane,
where the jump is the Burgers vector.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

CORE_RADIUS = 0.25
"""Radius, in units of |b|, within which the logarithm and the quadrupole terms are softened."""
ON_PLANE = 1e-6
"""Distance in Å from the slip plane below which a point lies on it."""


class Medium(ABC):
    """A homogeneous, infinite elastic medium."""

    @abstractmethod
    def straight_line_field(self, x: Tensor, y: Tensor, burgers: Tensor, frame: Tensor) -> Tensor:
        """Displacement ``(..., 3)`` in Å, components along ``frame``, at ``x``, ``y`` ``(...)`` Å from the line.

        ``burgers`` (3,) Å are the components of b along ``frame``, whose rows (3, 3) are the unit
        vectors x, y and ξ in the laboratory; b has no component along y.
        """


@dataclass(frozen=True)
class IsotropicMedium(Medium):
    """An isotropic medium; displacements depend on its Poisson ratio alone.

    Fields: Hirth & Lothe, Theory of Dislocations, 2nd ed. (1982): screw eq. 3-3, edge eqs. 3-45
    and 3-46 (x²/r² there is written here as (x² − y²)/2r² plus a constant).

    Raises
    ------
    ValueError
        If the Poisson ratio lies outside (-1, 0.5).
    """

    poisson_ratio: float

    def __post_init__(self) -> None:
        if not -1 < self.poisson_ratio < 0.5:
            raise ValueError(f"poisson_ratio must lie in (-1, 0.5), got {self.poisson_ratio}")

    def straight_line_field(self, x: Tensor, y: Tensor, burgers: Tensor, frame: Tensor) -> Tensor:
        """See ``Medium``; the frame does not matter to an isotropic medium."""
        edge, _, screw = burgers
        core = CORE_RADIUS * torch.linalg.vector_norm(burgers)
        nu = self.poisson_ratio
        angle = cut_angle(x, y)
        r2 = x * x + y * y + core * core
        u_x = edge / (2 * torch.pi) * (angle + x * y / (2 * (1 - nu) * r2))
        u_y = -edge / (2 * torch.pi) * (
            (1 - 2 * nu) / (4 * (1 - nu)) * torch.log(r2) + (x * x - y * y) / (4 * (1 - nu) * r2)
        )  # fmt: skip
        return torch.stack([u_x, u_y, screw / (2 * torch.pi) * angle], -1)


def cut_angle(x: Tensor, y: Tensor) -> Tensor:
    """Polar angle in (−π, π], its cut on x < 0.

    Sites on the cut belong to its upper side: rounding must not put neighbours of one row on both.
    """
    return torch.atan2(torch.where(y.abs() < ON_PLANE, 0.0, y), x)
