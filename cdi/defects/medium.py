"""The elastic medium that carries a dislocation's field: what a straight line displaces in it.

Frame of a line: ξ along the line, y along the slip-plane normal n, x = n × ξ, so (x, y, ξ) is
right-handed. The branch cut of every multivalued term is the half-plane x < 0 of the slip plane,
where the jump is the Burgers vector.

Every field is a sum of terms in the polar coordinates of the point (``PolarTerms``), each with a
vector as its coefficient: the vectors are small matrices made once a line, the terms are made
once a point, and their product is one matrix product.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

CORE_RADIUS = 0.25
"""Radius, in units of |b|, within which the logarithm and the terms in 2θ are softened."""
ON_PLANE = 1e-6
"""Distance in Å from the slip plane below which a point behind the line lies on it."""


class Medium(ABC):
    """A homogeneous, infinite elastic medium."""

    @abstractmethod
    def straight_line_field(self, x: Tensor, y: Tensor, burgers: Tensor, frame: Tensor) -> Tensor:
        """Displacement ``(..., 3)`` in Å, laboratory frame, at ``x``, ``y`` ``(...)`` Å from the line.

        ``burgers`` (3,) Å are the components of b along ``frame``, whose rows (3, 3) are the unit
        vectors x, y and ξ in the laboratory; b has no component along y. Both are float64, whatever
        the type of ``x`` and ``y``, which is that of the result.
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
        """See ``Medium``."""
        polar = PolarTerms.at(x, y, core_radius(burgers))
        terms = [polar.angle, polar.log_r2, polar.cos_2, polar.sin_2]
        return superposed(terms, self._coefficients.to(burgers.device) @ burgers @ frame)

    @cached_property
    def _coefficients(self) -> Tensor:
        """``(4, 3, 3)``: displacement along x, y, ξ of each term per component of b; one table, few small products."""
        table = torch.zeros(4, 3, 3, dtype=torch.float64)
        shear = 1 / (4 * (1 - self.poisson_ratio))
        table[0, 0, 0] = table[0, 2, 2] = 1.0
        table[1, 1, 0] = -(1 - 2 * self.poisson_ratio) * shear
        table[2, 1, 0] = -shear
        table[3, 0, 0] = shear
        return table / (2 * torch.pi)


@dataclass(frozen=True, eq=False)
class PolarTerms:
    """Functions of a point's polar coordinates about a line, each ``(...)``.

    ``angle`` θ in (−π, π], cut on x < 0; ``log_r2`` = ln ρ², ``cos_2`` = (r²/ρ²) cos 2θ and
    ``sin_2`` = (r²/ρ²) sin 2θ with ρ² = r² + core²: bounded and smooth on the line itself.
    """

    angle: Tensor
    log_r2: Tensor
    cos_2: Tensor
    sin_2: Tensor

    @classmethod
    def at(cls, x: Tensor, y: Tensor, core: Tensor) -> "PolarTerms":
        """The terms at ``x``, ``y`` ``(...)`` in Å, softened within ``core`` Å."""
        x2, y2 = x * x, y * y
        r2 = x2 + y2 + core * core
        inverse = r2.reciprocal()
        return cls(cut_angle(x, y), torch.log(r2), (x2 - y2) * inverse, (2 * x) * (y * inverse))


def core_radius(burgers: Tensor) -> Tensor:
    """Softening radius ``()`` in Å of a line with ``burgers`` (3,) in Å."""
    radius: Tensor = CORE_RADIUS * torch.linalg.vector_norm(burgers)
    return radius


def superposed(terms: Sequence[Tensor], coefficients: Tensor) -> Tensor:
    """``Σ_m terms_m coefficients_m``: ``(..., 3)`` from terms ``(...)`` and ``coefficients`` (m, 3).

    The result is a view of three planes, one a component: with a few terms a product laid out so
    takes a sixth of the time of one with the components side by side.
    """
    stacked = torch.stack([term.reshape(-1) for term in terms])
    return (coefficients.to(stacked).T @ stacked).T.reshape(*terms[0].shape, 3)


def cut_angle(x: Tensor, y: Tensor) -> Tensor:
    """Polar angle in (−π, π], its cut on x < 0.

    Sites on the cut belong to its upper side: rounding must not put neighbours of one row on both.
    """
    # y − y is 0 with the derivative of y: a site on the plane still turns as the plane moves.
    return torch.atan2(torch.where(y.abs() < ON_PLANE, y - y.detach(), y), x)
