"""Dislocation loops: closed polygons of any shape in an infinite isotropic medium.

Burgers vector by the RH/FS rule, as for straight lines. The displacement jumps by b on a fan of
triangles within the loop: crossing it along the loop's right-handed normal, u changes by −b.
Anisotropic media are left to straight lines.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from cdi.defects.classes import LOOP_OR_NETWORK, PARTIAL_OR_FAULT
from cdi.defects.defect import Array, Defect, DislocationLine, share_beyond
from cdi.defects.medium import CORE_RADIUS, ON_PLANE
from cdi.defects.solid_angle import area_vector, fan_angle, lifted, perimeter_centre, solid_angle, squared_distances
from cdi.shapes.shape import Shape, as_array, as_parameter

GLIDES = 1e-3
"""Part of b along a loop's normal below which the loop counts as one of glide."""
CHUNK = 1 << 16
"""Pairs of a point and a side that are held in memory at once."""


@dataclass(frozen=True, eq=False)
class DislocationLoop(Defect):
    """A closed polygon with one Burgers vector, planar or not.

    u = −bΩ/4π − (1 − 2ν)/(8π(1 − ν)) Σ f + 1/(8π(1 − ν)) Σ g over the sides (Barnett, Phil. Mag.
    A 51, 383, 1985, with the solid angle Ω of Barnett & Balluffi, Phil. Mag. Lett. 87, 943, 2007,
    free of local axes as in Fivel & Depres, Phil. Mag. 94, 3206, 2014). The integrals are those of the
    Burgers formula (Hirth & Lothe, Theory of Dislocations, 2nd ed., 1982, eq. 4-6) with distances
    R softened to √(R² + core²), the core that straight lines have.

    Where b leaves the plane of a planar loop towards its right-handed normal (a vacancy loop), the
    layer of thickness b·n that the jump closes up is empty. Where it opens a gap instead (an
    interstitial loop), or where the loop is not planar and b leaves the triangles of its fan, atoms are
    missing from the gap or too close: such loops suit the Bragg object, and atoms only after relaxation.

    Parameters
    ----------
    corners : (n, 3)
        In Å, laboratory frame, in the sense ξ of the line; the last is joined to the first.
    burgers : (3,)
        In Å, laboratory frame.
    poisson_ratio : float
    cap : (3,)
        Common corner in Å of the triangles that carry the jump; by default the centre of the perimeter.
    upper : (3,)
        Direction of the side to which sites on these triangles belong; by default the loop's
        right-handed normal.
    faulted : bool
        Whether b is a partial one, so that the triangles hold a stacking fault.

    Raises
    ------
    ValueError
        If there are fewer than 3 corners, two in a row coincide, a number is not finite, the
        Burgers vector is zero or the Poisson ratio lies outside (-1, 0.5).
    """

    corners: Tensor
    burgers: Tensor
    poisson_ratio: float
    cap: Tensor | None = None
    upper: Tensor | None = None
    faulted: bool = False

    kind = "dislocation loop"

    def __post_init__(self) -> None:
        corners = as_parameter(self.corners)
        if corners.ndim != 2 or corners.shape[1] != 3 or len(corners) < 3 or not bool(torch.isfinite(corners).all()):
            raise ValueError(f"corners must be finite with shape (n ≥ 3, 3), got shape {tuple(corners.shape)}")
        sides = torch.linalg.vector_norm(corners.roll(-1, 0) - corners, dim=-1)
        if float(sides.detach().min()) < ON_PLANE:
            raise ValueError(f"corners must differ from the next, got corner {int(sides.argmin())} twice")
        object.__setattr__(self, "corners", corners)
        for name in ("burgers", "cap", "upper"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _finite_vector(name, getattr(self, name)))
        if not bool(self.burgers.any()):
            raise ValueError("burgers must not be zero")
        if not -1 < self.poisson_ratio < 0.5:
            raise ValueError(f"poisson_ratio must lie in (-1, 0.5), got {self.poisson_ratio}")

    @property
    def defect_class(self) -> str:
        """See ``Defect``."""
        return PARTIAL_OR_FAULT if self.faulted else LOOP_OR_NETWORK

    @property
    def area(self) -> Tensor:
        """Area vector ``(3,)`` in Å², right-handed about ξ."""
        return area_vector(self.corners)

    def displacement(self, points: Tensor) -> Tensor:
        """See ``Defect``."""
        centre = perimeter_centre(self.corners) if self.cap is None else self.cap
        upper = self.area if self.upper is None else self.upper
        # Sides reach 10⁵ Å where a line ends at the surface: single precision would lose the field between them.
        wide = points.double()
        corners, burgers = (self.corners - centre).to(wide), self.burgers.to(wide)
        flat = (lifted(wide, upper) - centre.to(wide)).reshape(-1, 3)
        size = max(1, CHUNK // len(corners))
        parts = [
            self._field(flat[first : first + size], corners, burgers) for first in range(0, max(len(flat), 1), size)
        ]
        return torch.cat(parts).reshape(points.shape).to(points.dtype)

    def _field(self, points: Tensor, corners: Tensor, burgers: Tensor) -> Tensor:
        """Displacement ``(m, 3)`` at ``points`` (m, 3); these and ``corners`` in Å from the cap."""
        squared = squared_distances(points, corners)
        angle = fan_angle(points, corners, squared)
        along, across = _side_integrals(points, corners, squared, burgers)
        nu = self.poisson_ratio
        return (
            -angle[:, None] * burgers / (4 * torch.pi)
            + (across - (1 - 2 * nu) * along) / (8 * torch.pi * (1 - nu))
        )  # fmt: skip

    def occupancy(self, points: Tensor, width: float = 0.0) -> Tensor | None:
        """0 in the layer that a vacancy loop lacks, half of it on each side; see ``Defect``.

        Sites on both faces of the layer belong to it below the loop, and not above.
        """
        normal = torch.nn.functional.normalize(self.area.detach(), dim=0)
        thickness = float(self.burgers.detach() @ normal)
        heights = (self.corners - self.corners[0]).detach() @ normal
        if thickness < GLIDES * float(torch.linalg.vector_norm(self.burgers.detach())):
            return None
        if float(heights.abs().max()) > thickness / 2:
            return None
        corner, direction = self.corners[0].detach().to(points), normal.to(points)
        height = (points - corner) @ direction
        lower, upper = (share_beyond(height + ON_PLANE - face, width) for face in (-thickness / 2, thickness / 2))
        missing = lower - upper
        layer = missing > 0
        foot = points[layer] - height[layer, None] * direction
        within = solid_angle(foot, self.corners.detach().to(points)) > torch.pi
        present = torch.ones_like(height)
        present[layer] = 1 - missing[layer] * within.to(points)
        return present

    def lines(self, shape: Shape) -> tuple[DislocationLine, ...]:
        """Its parts within ``shape``, closed where it lies wholly inside; see ``Defect``."""
        corners = as_array(self.corners)
        parts = parts_within(shape, np.concatenate([corners, corners[:1]]))
        if not parts:
            raise ValueError(f"a dislocation must cross the crystal, the loop from {corners[0].tolist()} misses it")
        return tuple(DislocationLine(part, as_array(self.burgers)) for part in parts)


def _side_integrals(points: Tensor, corners: Tensor, squared: Tensor, burgers: Tensor) -> tuple[Tensor, Tensor]:
    """Barnett's Σ f and Σ g, ``(m, 3)`` each, of the sides.

    Σ f = Σ b × t L with L = ∫ dl/R along a side, and Σ g = Σ (b·(R × t)) ∇L, t the side's direction.
    """
    sides = corners.roll(-1, 0) - corners
    length = torch.linalg.vector_norm(sides, dim=-1)
    soft = (squared + (CORE_RADIUS * torch.linalg.vector_norm(burgers)) ** 2).sqrt()
    both = soft + soft.roll(-1, 1)
    short = both - length
    along = torch.log1p(2 * length / short) @ torch.linalg.cross(burgers.expand_as(sides), sides / length[:, None])
    moment = torch.linalg.cross(sides, burgers.expand_as(sides))
    weight = 2 * ((corners * moment).sum(-1) - points @ moment.T) / (short * (both + length))
    pull = (weight + weight.roll(1, 1)) / soft
    return along, pull @ corners - pull.sum(-1, keepdim=True) * points


def parts_within(shape: Shape, polyline: Array) -> list[Array]:
    """The parts of ``polyline`` (n, 3) within ``shape``; a closed one is not cut at its first corner."""
    parts = shape.clip(polyline)
    closed = np.array_equal(polyline[0], polyline[-1])
    if (
        closed
        and len(parts) > 1
        and np.array_equal(parts[0][0], polyline[0])
        and np.array_equal(parts[-1][-1], polyline[0])
    ):
        return [np.concatenate([parts[-1], parts[0][1:]]), *parts[1:-1]]
    return parts


def _finite_vector(name: str, value: ArrayLike | Tensor) -> Tensor:
    vector = as_parameter(value)
    if vector.shape != (3,) or not bool(torch.isfinite(vector).all()):
        raise ValueError(f"{name} must be 3 finite numbers, got {vector.tolist()}")
    return vector
