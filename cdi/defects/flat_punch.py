"""A flat tool pressed onto the surface, as a platen or an indenter does: strain, and no dislocation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cdi.defects.defect import Defect
from cdi.shapes.shape import as_parameter


@dataclass(frozen=True, eq=False)
class FlatPunch(Defect):
    """The field of a frictionless rigid punch of circular end, pressed ``depth`` Å into the surface at ``point``.

    In an isotropic half-space (Sneddon, Int. J. Eng. Sci. 3, 47, 1965) it is that of point loads (Boussinesq; Johnson,
    Contact Mechanics, 1985, eq. 3.18) spread along an imaginary stretch: with ρ and z along and below the surface,
    R² = ρ² + (z + ia)², Φ = 2δ/π Im[(z + ia) log(z + ia + R) − R] and h = ∂Φ/∂z,

        u_z = h − z/(2(1 − ν)) ∂h/∂z,    u_ρ = −(1 − 2ν)/(2(1 − ν)) ∂Φ/∂ρ − z/(2(1 − ν)) ∂h/∂ρ.

    A crystal ends where the half-space goes on: what its other surfaces relax is left out. Displacements are told
    against the lattice that the punch leaves about the origin, for a detector follows the peak: the chords of the field
    over half the way to ``point``, to each side, are taken off as a uniform strain. Outside of the half-space the field
    goes on as at its surface.

    Parameters
    ----------
    point : (3,)
        Middle of the contact in Å, laboratory frame; not the origin.
    inward : (3,)
        From there into the crystal, of any length.
    depth : float
        δ in Å; negative pulls.
    radius : float
        a of the contact in Å.
    poisson_ratio : float

    Raises
    ------
    ValueError
        If a number is not finite, ``point`` or ``inward`` is zero, ``radius`` is not positive or the Poisson ratio
        leaves (-1, 0.5).
    """

    point: Tensor
    inward: Tensor
    depth: Tensor
    radius: Tensor
    poisson_ratio: float

    kind = "flat punch"

    def __post_init__(self) -> None:
        for name, shape in (("point", (3,)), ("inward", (3,)), ("depth", ()), ("radius", ())):
            value = as_parameter(getattr(self, name))
            if value.shape != shape or not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} must be finite with shape {shape}, got {value.tolist()}")
            if shape and not bool(value.detach().any()):
                raise ValueError(f"{name} must not be zero, got {value.tolist()}")
            object.__setattr__(self, name, value)
        if not float(self.radius.detach()) > 0:
            raise ValueError(f"radius must be positive in Å, got {float(self.radius.detach())}")
        if not -1 < self.poisson_ratio < 0.5:
            raise ValueError(f"poisson_ratio must lie in (-1, 0.5), got {self.poisson_ratio}")

    def displacement(self, points: Tensor) -> Tensor:
        """See ``Defect``."""
        step = torch.linalg.vector_norm(self.point) / 2
        ends = step * torch.cat([torch.eye(3), -torch.eye(3)]).to(step)
        ahead, behind = self._field(ends).chunk(2)
        uniform = (ahead - behind) / (2 * step)
        u: Tensor = self._field(points) - points @ uniform.to(points)
        return u

    def _field(self, points: Tensor) -> Tensor:
        """u ``(..., 3)`` in the half-space at rest far away."""
        down = torch.nn.functional.normalize(self.inward, dim=0).to(points)
        offset = points - self.point.to(points)
        z = (offset @ down)[..., None]
        across = offset - z * down
        # At the rim itself derivatives have no bound.
        z = z.clamp(min=1e-6 * float(self.radius.detach()))
        # On the axis ρ has no gradient, and u_ρ no direction.
        rho = (across.square().sum(-1, keepdim=True) + (1e-6 * self.radius.to(points)) ** 2).sqrt()
        sunk, spread = self._of_depth(rho, z)
        return sunk * down + spread * across / rho

    def _of_depth(self, rho: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """u_z and u_ρ ``(..., 1)``."""
        a, scale = self.radius.to(rho), 2 * self.depth.to(rho) / torch.pi
        below = torch.complex(z, a.expand_as(z))
        away = (rho * rho + below * below).sqrt()
        h = scale * torch.log(below + away).imag
        h_z = scale * away.reciprocal().imag
        h_rho = scale * (rho / (away * (below + away))).imag
        phi_rho = scale * (-rho / (below + away)).imag
        within = z / (2 * (1 - self.poisson_ratio))
        sideways = (1 - 2 * self.poisson_ratio) / (2 * (1 - self.poisson_ratio))
        return h - within * h_z, -sideways * phi_rho - within * h_rho
