"""Straight dislocations in an infinite medium.

Burgers vector by the RH/FS rule: ∮ du = b on a right-handed circuit about ξ. The branch cut is a
half-plane of the slip plane, where the jump b is a lattice vector: atoms on both sides fit, and
exp(iG·u) is continuous. Surfaces are not relaxed: no image fields. The displacement is that of a
stationary point of the medium up to a rigid translation, which no intensity sees.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cdi.defects.classes import character
from cdi.defects.defect import Array, Defect, DislocationLine
from cdi.defects.medium import IsotropicMedium, Medium
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SlipSystem
from cdi.shapes.shape import Shape, as_array, as_parameter


@dataclass(frozen=True, eq=False)
class StraightDislocation(Defect):
    """A straight line through ``point`` along ``direction`` with Burgers vector ``burgers``.

    All in the laboratory frame: ``burgers`` and ``point`` (3,) in Å, ``direction`` ξ and
    ``normal`` of the slip plane (3,) unit vectors, each an array or a tensor.

    Raises
    ------
    ValueError
        If a vector is not finite, not of unit length, or line or Burgers vector leave the plane.
    """

    burgers: Tensor
    direction: Tensor
    normal: Tensor
    point: Tensor
    medium: Medium

    kind = "straight dislocation"

    def __post_init__(self) -> None:
        for name in ("burgers", "direction", "normal", "point"):
            value = as_parameter(getattr(self, name))
            if value.shape != (3,) or not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} must be 3 finite numbers, got {value.tolist()}")
            object.__setattr__(self, name, value)
        burgers, direction, normal = (as_array(value) for value in (self.burgers, self.direction, self.normal))
        for name, unit in (("direction", direction), ("normal", normal)):
            length = np.linalg.norm(unit)
            if abs(length - 1) > 1e-6:
                raise ValueError(f"{name} must be a unit vector, got length {length:.6g}")
        size = np.linalg.norm(burgers)
        if size == 0:
            raise ValueError("burgers must not be zero")
        if abs(direction @ normal) > 1e-6 or abs(burgers @ normal) > 1e-6 * size:
            raise ValueError(f"direction and burgers must lie in the slip plane {normal.tolist()}")

    @property
    def defect_class(self) -> str:
        """Edge, screw or mixed, by the angle between line and Burgers vector; see ``Defect``."""
        burgers = as_array(self.burgers)
        cosine = float(abs(burgers @ as_array(self.direction)) / np.linalg.norm(burgers))
        return character(float(np.degrees(np.arccos(min(cosine, 1.0)))))

    @property
    def frame(self) -> Tensor:
        """Rows ``(3, 3)``: x = n × ξ, y = n, ξ."""
        return torch.stack([torch.linalg.cross(self.normal, self.direction), self.normal, self.direction])

    def displacement(self, points: Tensor) -> Tensor:
        """See ``Defect``."""
        frame = self.frame
        across = frame[:2]
        # The offset is a number, taken off after the product: no moved copy of all points.
        planes = across.to(points) @ points.reshape(-1, 3).T - (across @ self.point).to(points)[:, None]
        x, y = planes.reshape(2, *points.shape[:-1])
        return self.medium.straight_line_field(x, y, frame @ self.burgers, frame)

    def lines(self, shape: Shape) -> tuple[DislocationLine, ...]:
        """The chord within ``shape``; see ``Defect``."""
        point, direction = as_array(self.point), as_array(self.direction)
        chord = shape.chord(point, direction)
        if chord is None:
            raise ValueError(f"a dislocation must cross the crystal, the line through {point.tolist()} misses it")
        return (DislocationLine(point + np.asarray(chord)[:, None] * direction, as_array(self.burgers)),)


def dislocation_on(
    lattice: Lattice,
    system: SlipSystem,
    *,
    character_deg: float,
    point: Array,
    orientation: Array,
    medium: Medium | None = None,
) -> StraightDislocation:
    """A straight line of the given character on a slip system, in the laboratory frame.

    The line lies in the slip plane at ``character_deg`` from b (0 screw, 90 edge), turned about
    the plane's normal in the positive sense. ``point`` (3,) is in Å, laboratory frame. The medium
    is by default the isotropic average of the lattice.
    """
    burgers = orientation @ lattice.direction(system.burgers)
    normal = orientation @ lattice.plane_normal(system.normal)
    normal /= np.linalg.norm(normal)
    along = burgers / np.linalg.norm(burgers)
    angle = np.radians(character_deg)
    direction = np.cos(angle) * along + np.sin(angle) * np.cross(normal, along)
    chosen = IsotropicMedium(lattice.poisson_ratio) if medium is None else medium
    return StraightDislocation(
        as_parameter(burgers), as_parameter(direction), as_parameter(normal), as_parameter(point), chosen
    )
