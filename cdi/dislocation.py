"""Straight dislocations in an infinite isotropic medium.

Frame of a line: ξ along the line, y along the slip-plane normal n, x = n × ξ, so (x, y, ξ) is
right-handed. Burgers vector by the RH/FS rule: ∮ du = b on a right-handed circuit about ξ. The
branch cut of the polar angle is the half-plane x < 0 of the slip plane, where the jump b is a
lattice vector: atoms on both sides fit, and exp(iG·u) is continuous.

Fields: Hirth & Lothe, Theory of Dislocations, 2nd ed. (1982): screw eq. 3-3, edge eqs. 3-45
and 3-46 (x²/r² there is written here as (x² − y²)/2r² plus a constant). Surfaces are not
relaxed: no image fields. The displacement is that of a stationary point of the medium up to a
rigid translation, which no intensity sees.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

CORE_RADIUS = 0.25
"""Radius, in units of |b|, within which the logarithm and the quadrupole terms are softened."""
ON_PLANE = 1e-6
"""Distance in Å from the slip plane below which a point lies on it."""


@dataclass(frozen=True)
class Dislocation:
    """A straight line through ``point`` along ``direction`` with Burgers vector ``burgers``.

    All in the laboratory frame: ``burgers`` and ``point`` (3,) in Å, ``direction`` ξ and
    ``normal`` of the slip plane (3,) unit vectors.

    Raises
    ------
    ValueError
        If a vector is not finite, not of unit length, or line or Burgers vector leave the plane.
    """

    burgers: Array
    direction: Array
    normal: Array
    point: Array
    poisson_ratio: float

    def __post_init__(self) -> None:
        for name in ("burgers", "direction", "normal", "point"):
            value = np.asarray(getattr(self, name), np.float64)
            if value.shape != (3,) or not np.isfinite(value).all():
                raise ValueError(f"{name} must be 3 finite numbers, got {value.tolist()}")
            object.__setattr__(self, name, value)
        for name in ("direction", "normal"):
            if abs(np.linalg.norm(getattr(self, name)) - 1) > 1e-6:
                raise ValueError(f"{name} must be a unit vector, got length {np.linalg.norm(getattr(self, name)):.6g}")
        size = np.linalg.norm(self.burgers)
        if size == 0:
            raise ValueError("burgers must not be zero")
        if abs(self.direction @ self.normal) > 1e-6 or abs(self.burgers @ self.normal) > 1e-6 * size:
            raise ValueError(f"direction and burgers must lie in the slip plane {self.normal.tolist()}")
        if not -1 < self.poisson_ratio < 0.5:
            raise ValueError(f"poisson_ratio must lie in (-1, 0.5), got {self.poisson_ratio}")

    @property
    def character_deg(self) -> float:
        """Angle between line and Burgers vector in degrees: 0 screw, 90 edge."""
        cosine = float(abs(self.burgers @ self.direction) / np.linalg.norm(self.burgers))
        return float(np.degrees(np.arccos(min(1.0, cosine))))

    def displacement(self, points: Tensor) -> Tensor:
        """Displacement u ``(..., 3)`` in Å at ``points`` ``(..., 3)`` in Å."""

        def tensor(vector: Array) -> Tensor:
            return torch.as_tensor(vector, dtype=points.dtype, device=points.device)

        forward = np.cross(self.normal, self.direction)
        relative = points - tensor(self.point)
        x, y = relative @ tensor(forward), relative @ tensor(self.normal)
        edge, screw = float(self.burgers @ forward), float(self.burgers @ self.direction)
        u_x, u_y, u_z = straight_line_field(
            x, y, edge=edge, screw=screw, poisson_ratio=self.poisson_ratio,
            core=CORE_RADIUS * float(np.linalg.norm(self.burgers)),
        )  # fmt: skip
        return (
            u_x[..., None] * tensor(forward)
            + u_y[..., None] * tensor(self.normal)
            + u_z[..., None] * tensor(self.direction)
        )


def straight_line_field(
    x: Tensor, y: Tensor, *, edge: float, screw: float, poisson_ratio: float, core: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Displacement ``(u_x, u_y, u_ξ)`` in Å at coordinates ``x``, ``y`` Å in the line's frame.

    ``edge`` and ``screw`` are the components of b along x and ξ in Å, ``core`` the softening
    radius in Å: r² becomes r² + core² except in the angle.
    """
    # Sites on the cut belong to its upper side: rounding must not put neighbours of one row on both.
    angle = torch.atan2(torch.where(y.abs() < ON_PLANE, 0.0, y), x)
    r2 = x * x + y * y + core * core
    stiffness = 1 - poisson_ratio
    u_x = edge / (2 * torch.pi) * (angle + x * y / (2 * stiffness * r2))
    u_y = -edge / (2 * torch.pi) * (
        (1 - 2 * poisson_ratio) / (4 * stiffness) * torch.log(r2) + (x * x - y * y) / (4 * stiffness * r2)
    )  # fmt: skip
    return u_x, u_y, screw / (2 * torch.pi) * angle
