"""Twin boundaries: the crystal above a plane is the mirror image of the one below, layer by layer.

A twinning shear moves each layer by one partial vector further than the one before (Christian &
Mahajan, Prog. Mater. Sci. 39, 1, 1995, table 2). Three steps are a lattice vector of the plane, so
layers move by 0, +s and −s in turn: the same atoms, with displacements that stay small.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cdi.defects.defect import Array, Defect, share_beyond
from cdi.defects.medium import ON_PLANE
from cdi.defects.stacking_fault import check_plane, height, layer_gap, shifts_on
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SHOCKLEY, SlipFamily, Vector
from cdi.shapes.shape import as_array, as_parameter

TWINS: dict[str, SlipFamily] = {
    "fcc": SHOCKLEY,
    "diamond": SHOCKLEY,
    "bcc": SlipFamily("{112} twin", (1 / 6, 1 / 6, -1 / 6), (1, 1, 2)),
}
"""Shear of one layer against the one below, and the twin plane (Hirth & Lothe 1982, ch. 23)."""
PERIOD = 3
"""Steps after which the sheared layer lies on the lattice again, in every system of ``TWINS``."""


@dataclass(frozen=True, eq=False)
class TwinBoundary(Defect):
    """Mirror twin above the plane through ``point``; its layers are ``spacing`` Å thick.

    The last layer below the plane is the mirror. A reflection is shared by the twins where G·s is a
    multiple of 2π: there G·u is one as well and the boundary unseen; any other reflection sees the
    parent alone.

    Parameters
    ----------
    point : (3,)
        In Å, laboratory frame, between two layers; sites on the plane belong to the twin.
    normal : (3,)
        Unit vector, towards the twin.
    shear : (3,)
        s in Å, within the plane: of each layer of the twin against the one below.
    spacing : float
        In Å.

    Raises
    ------
    ValueError
        If a vector is not finite, ``normal`` is not of unit length, ``shear`` leaves the plane or
        ``spacing`` is not positive.
    """

    point: Tensor
    normal: Tensor
    shear: Tensor
    spacing: float

    kind = "twin boundary"

    def __post_init__(self) -> None:
        for name in ("point", "normal", "shear"):
            value = as_parameter(getattr(self, name))
            if value.shape != (3,) or not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} must be 3 finite numbers, got {value.tolist()}")
            object.__setattr__(self, name, value)
        check_plane(self.normal, self.shear, "shear")
        if not 0 < self.spacing < np.inf:
            raise ValueError(f"spacing must be positive in Å, got {self.spacing}")

    def layer(self, points: Tensor) -> Tensor:
        """Index ``(...)`` of the twin's layer at ``points`` (..., 3): 1 is the first, 0 the whole parent."""
        above = height(points, self.point, self.normal)
        return (torch.floor((above + ON_PLANE) / self.spacing) + 1).clamp(min=0)

    def displacement(self, points: Tensor) -> Tensor:
        """See ``Defect``."""
        steps = torch.remainder(self.layer(points) + 1, PERIOD) - 1
        return steps[..., None] * self.shear.to(points)

    def in_reflection(self, points: Tensor, G: Array, width: float = 0.0) -> Tensor | None:
        """See ``Defect``."""
        turns = float(as_array(self.shear) @ np.asarray(G, np.float64)) / (2 * np.pi)
        if abs(turns - round(turns)) < 1e-6:
            return None
        return share_beyond(-ON_PLANE - height(points, self.point, self.normal), width)


def twin_boundary_on(lattice: Lattice, normal: Vector, *, point: Array, orientation: Array) -> TwinBoundary:
    """The twin on the plane ``normal`` (Miller indices), in the laboratory frame.

    The plane through ``point`` (3,) Å, laboratory frame, is moved to the middle of the next gap
    between layers. Of the shears within the plane those towards the twin, not the anti-twin, give
    the same crystal: the first stands for all.

    Raises
    ------
    ValueError
        If no twin is known for the structure or the plane.
    """
    if lattice.structure not in TWINS:
        raise ValueError(f"structure must be one of {', '.join(TWINS)} to twin, got {lattice.structure!r}")
    shears = shifts_on(lattice, TWINS[lattice.structure], normal)
    up, level = layer_gap(lattice, normal, np.asarray(orientation).T @ point)
    vectors = np.concatenate([lattice.direction(lattice.translations), lattice.cell])
    steps = np.abs(vectors @ up)
    spacing = float(steps[steps > 1e-3].min())
    shear = next(s for s in shears if _mirrors(lattice, up, s / spacing))
    base = point + orientation @ up * (level - up @ orientation.T @ point)
    return TwinBoundary(as_parameter(base), as_parameter(orientation @ up), as_parameter(orientation @ shear), spacing)


def _mirrors(lattice: Lattice, up: Array, slope: Array) -> bool:
    """Whether the shear r + slope (up·r) maps the lattice onto its mirror image in the plane ``up``."""
    vectors = np.concatenate([lattice.direction(lattice.translations), lattice.cell])
    sheared = vectors + (vectors @ up)[:, None] * slope
    mirrored = lattice.fractions(sheared - 2 * (sheared @ up)[:, None] * up)
    return all(lattice.is_lattice_vector(vector) for vector in mirrored)
