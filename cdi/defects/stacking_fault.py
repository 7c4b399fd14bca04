"""Planar faults that cross the whole crystal: a rigid shift of one half, and no dislocation.

The intrinsic fault is the one that leaves every atom its nearest neighbours: of the two senses of a
shift, one lays the layers above a fault on the hollows of those below, the other atop of them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from cdi.defects.classes import PARTIAL_OR_FAULT
from cdi.defects.defect import Array, Defect
from cdi.defects.medium import ON_PLANE
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SHOCKLEY, SlipFamily, Vector, slip_systems
from cdi.shapes.shape import as_array, as_parameter

FAULTS: dict[str, SlipFamily] = {
    "fcc": SHOCKLEY,
    "diamond": SHOCKLEY,
    "hcp": SlipFamily("basal", (2 / 3, 1 / 3, 0), (0, 0, 1)),
}
"""Shifts that leave a fault in each structure: fcc and diamond intrinsic, hcp I₂ (Hirth & Lothe 1982, ch. 10, 11)."""
NEAREST_KEPT = 0.95
"""Least distance of atoms across a fault, in nearest-neighbour distances of the crystal."""


@dataclass(frozen=True, eq=False)
class StackingFault(Defect):
    """The part of the crystal above a plane, shifted within it by ``shift``.

    Parameters
    ----------
    point : (3,)
        On the plane, in Å, laboratory frame. Sites on the plane belong to the part above.
    normal : (3,)
        Unit vector, towards the part above.
    shift : (3,)
        In Å, within the plane.

    Raises
    ------
    ValueError
        If a vector is not finite, ``normal`` is not of unit length, or ``shift`` leaves the plane.
    """

    point: Tensor
    normal: Tensor
    shift: Tensor

    kind = "stacking fault"

    def __post_init__(self) -> None:
        for name in ("point", "normal", "shift"):
            value = as_parameter(getattr(self, name))
            if value.shape != (3,) or not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} must be 3 finite numbers, got {value.tolist()}")
            object.__setattr__(self, name, value)
        check_plane(self.normal, self.shift, "shift")

    @property
    def defect_class(self) -> str:
        """See ``Defect``."""
        return PARTIAL_OR_FAULT

    @property
    def fault_shifts(self) -> tuple[Array, ...]:
        """See ``Defect``."""
        return (as_array(self.shift),)

    def displacement(self, points: Tensor) -> Tensor:
        """See ``Defect``."""
        above = height(points, self.point, self.normal) >= -ON_PLANE
        return above.to(points)[..., None] * self.shift.to(points)


def stacking_fault_on(lattice: Lattice, normal: Vector, *, point: Array, orientation: Array) -> StackingFault:
    """The intrinsic fault on the plane ``normal`` (Miller indices), in the laboratory frame.

    The plane through ``point`` (3,) Å, laboratory frame, is moved to the middle of the next gap
    between layers. The equivalent shifts differ by lattice vectors, so that the first stands for all.

    Raises
    ------
    ValueError
        If no such fault is known for the structure or the plane.
    """
    if lattice.structure not in FAULTS:
        raise ValueError(f"structure must be one of {', '.join(FAULTS)} to fault, got {lattice.structure!r}")
    shifts = shifts_on(lattice, FAULTS[lattice.structure], normal)
    up, level = layer_gap(lattice, normal, np.asarray(orientation).T @ point)
    for shift in shifts:
        if keeps_neighbours(lattice, up, level, shift):
            base = point + orientation @ up * (level - up @ orientation.T @ point)
            return StackingFault(as_parameter(base), as_parameter(orientation @ up), as_parameter(orientation @ shift))
    raise ValueError(f"the plane {normal} must keep its neighbours under a shift, none of {len(shifts)} does")


def shifts_on(lattice: Lattice, family: SlipFamily, normal: Vector) -> list[Array]:
    """Shifts ``(3,)`` of ``family`` within the plane ``normal``, in Å, crystal axes, both senses.

    Raises
    ------
    ValueError
        If the plane is not one of the family.
    """
    wanted = {tuple(float(sign * index) for index in normal) for sign in (1, -1)}
    systems = slip_systems(family, lattice.cell)
    shifts = [lattice.direction(system.burgers) for system in systems if system.normal in wanted]
    if not shifts:
        raise ValueError(f"normal must be a plane of the form {family.normal}, got {normal}")
    return shifts


def layer_gap(lattice: Lattice, normal: Vector, point: Array, *, narrowest: bool = True) -> tuple[Array, float]:
    """Unit normal ``(3,)`` and height in Å of the gap between layers next to ``point`` (3,), crystal axes.

    Of gaps of several widths the narrowest count, unless told otherwise: in diamond {111} those of the glide set, which
    shears more easily than the wide ones cut by single vertical bonds (Hirth & Lothe 1982, ch. 10).
    """
    up = lattice.plane_normal(normal)
    up = up / np.linalg.norm(up)
    reach = 1.5 * np.linalg.norm(lattice.cell, axis=1).max()
    sites, _ = lattice.sites_in_box(np.asarray(point) - reach, np.asarray(point) + reach)
    levels = np.sort(sites @ up)
    levels = levels[np.append(True, np.diff(levels) > 1e-3)]
    # The corners of the box miss layers.
    levels = levels[np.abs(levels - up @ point) < reach / 1.01]
    widths, middles = np.diff(levels), (levels[1:] + levels[:-1]) / 2
    chosen = middles[widths < widths.min() + 1e-3] if narrowest else middles
    return up, float(chosen[np.abs(chosen - up @ point).argmin()])


def keeps_neighbours(lattice: Lattice, normal: Array, level: float, shift: Array) -> bool:
    """Whether atoms above ``level`` Å along the unit ``normal``, moved by ``shift``, keep away from those below.

    Crystal axes; near is what is closer than ``NEAREST_KEPT`` times the nearest neighbours.
    """
    reach = 1.5 * np.linalg.norm(lattice.cell, axis=1).max()
    sites, _ = lattice.sites_in_box(level * normal - reach, level * normal + reach)
    above = sites @ normal > level
    nearest = cKDTree(sites).query(sites, 2)[0][:, 1].min()
    across = cKDTree(sites[~above]).query(sites[above] + shift)[0].min()
    return bool(across >= NEAREST_KEPT * nearest)


def height(points: Tensor, point: Tensor, normal: Tensor) -> Tensor:
    """Height ``(...)`` in Å of ``points`` (..., 3) above the plane through ``point`` (3,) with unit ``normal`` (3,)."""
    above: Tensor = (points - point.to(points)) @ normal.to(points)
    return above


def check_plane(normal: Tensor, vector: Tensor, name: str) -> None:
    """Raise ``ValueError`` unless ``normal`` is a unit vector and ``vector`` lies in its plane."""
    up, along = as_array(normal), as_array(vector)
    if abs(np.linalg.norm(up) - 1) > 1e-6:
        raise ValueError(f"normal must be a unit vector, got length {np.linalg.norm(up):.6g}")
    if abs(up @ along) > 1e-6 * max(1.0, float(np.linalg.norm(along))):
        raise ValueError(f"{name} must lie in the plane {up.tolist()}, got {along.tolist()}")
