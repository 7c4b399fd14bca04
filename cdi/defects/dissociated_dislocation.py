"""A perfect dislocation split into two Shockley partials with the stacking fault between them.

Hirth & Lothe, Theory of Dislocations, 2nd ed. (1982), ch. 10: in close-packed planes b = b₁ + b₂ lowers
the energy, the partials repel each other, and the fault between them holds them together. The
displacement is the sum of the partials' fields: it jumps by one partial across the ribbon, where the
crystal is faulted, and by b beyond, where it is perfect again.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cdi.defects.anisotropic_medium import AnisotropicMedium
from cdi.defects.classes import PARTIAL_OR_FAULT
from cdi.defects.defect import Array, Defect, DislocationLine
from cdi.defects.medium import Medium
from cdi.defects.stacking_fault import keeps_neighbours, layer_gap, shifts_on
from cdi.defects.straight_dislocation import StraightDislocation, dislocation_on
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SHOCKLEY, SlipSystem
from cdi.shapes.shape import Shape, as_parameter

PARTIALS = {"fcc": SHOCKLEY, "diamond": SHOCKLEY}
"""The partials of each structure's perfect dislocations."""

ANGSTROM_GPA_PER_MJ = 100.0
"""1 GPa Å²/(mJ/m²) in Å."""


@dataclass(frozen=True, eq=False)
class DissociatedDislocation(Defect):
    """Two parallel partials ``width`` apart in their slip plane, the middle between them at ``point``.

    Parameters
    ----------
    burgers : (2, 3)
        Burgers vectors in Å: first that of the partial at x = +width/2 (x = n × ξ), across whose
        half-plane x < width/2 the fault begins, then that at x = −width/2, which ends it.
    direction, normal : (3,)
        Unit vectors: line sense ξ of both, and normal n of the slip plane.
    point : (3,)
        In Å. All of these in the laboratory frame, each an array or a tensor.
    width : ()
        Distance of the partials in Å.
    medium : Medium

    Raises
    ------
    ValueError
        If there are not two Burgers vectors, the width is not positive, or a partial is malformed.
    """

    burgers: Tensor
    direction: Tensor
    normal: Tensor
    point: Tensor
    width: Tensor
    medium: Medium

    kind = "dissociated dislocation"

    def __post_init__(self) -> None:
        for name in ("burgers", "direction", "normal", "point", "width"):
            object.__setattr__(self, name, as_parameter(getattr(self, name)))
        if self.burgers.shape != (2, 3):
            raise ValueError(f"burgers must be 2 vectors of 3 numbers in Å, got shape {tuple(self.burgers.shape)}")
        if self.width.ndim or not 0 < float(self.width.detach()) < np.inf:
            raise ValueError(f"width must be a positive number of Å, got {self.width.tolist()}")
        _ = self.partials

    @property
    def defect_class(self) -> str:
        """See ``Defect``."""
        return PARTIAL_OR_FAULT

    @cached_property
    def partials(self) -> tuple[StraightDislocation, StraightDislocation]:
        """The partials at x = +width/2 and x = −width/2."""
        aside = self.width / 2 * torch.linalg.cross(self.normal, self.direction)
        first, second = (
            StraightDislocation(burgers, self.direction, self.normal, self.point + side * aside, self.medium)
            for burgers, side in zip(self.burgers, (1, -1), strict=True)
        )
        return first, second

    def displacement(self, points: Tensor) -> Tensor:
        """See ``Defect``."""
        first, second = self.partials
        return first.displacement(points) + second.displacement(points)

    def lines(self, shape: Shape) -> tuple[DislocationLine, ...]:
        """The chords of the partials within ``shape``, one alone where the other misses it; see ``Defect``."""
        crossing = [line for line in self.partials if shape.chord(line.point.detach(), line.direction.detach())]
        if not crossing:
            raise ValueError(f"a dislocation must cross the crystal, both partials miss it: {self.point.tolist()}")
        return tuple(chord for line in crossing for chord in line.lines(shape))


def dissociated_on(
    lattice: Lattice,
    system: SlipSystem,
    *,
    character_deg: float,
    point: Array,
    orientation: Array,
    width: float | Tensor | None = None,
    fault_energy_mJ_per_m2: float | None = None,
    medium: Medium | None = None,
) -> DissociatedDislocation:
    """A dissociated line of the given character on a slip system, in the laboratory frame.

    Line and character as in ``dislocation_on``. ``point`` (3,) in Å, laboratory frame, is moved along
    the plane's normal into the middle of the nearest gap between atomic planes that can hold the
    fault: in diamond one of the glide set. The order of the partials is the one that leaves every
    atom its nearest neighbours across the ribbon (an intrinsic fault). Without a ``width`` in Å the
    partials stand at the equilibrium distance for ``fault_energy_mJ_per_m2`` in the lattice's own
    anisotropic elasticity, in which the size of its elastic constants counts. The medium of the field
    is by default the isotropic average of the lattice.

    Raises
    ------
    ValueError
        If the lattice has no partials, the system is not one of theirs, or both or neither of width
        and fault energy are given.
    """
    perfect = dislocation_on(
        lattice, system, character_deg=character_deg, point=point, orientation=orientation, medium=medium
    )
    pair, shift = _intrinsic_fault(lattice, system, orientation.T @ np.asarray(point, np.float64))
    burgers = as_parameter(pair @ orientation.T)
    if width is not None and fault_energy_mJ_per_m2 is None:
        distance = as_parameter(width)
    elif width is None and fault_energy_mJ_per_m2 is not None:
        crystal = AnisotropicMedium(as_parameter(lattice.stiffness), as_parameter(orientation))
        factor = crystal.energy_factor(perfect.frame)
        distance = equilibrium_width(burgers @ perfect.frame.T, factor, fault_energy_mJ_per_m2)
    else:
        given = f"got {width} and {fault_energy_mJ_per_m2}"
        raise ValueError(f"width or fault_energy_mJ_per_m2 must be given, and not both, {given}")
    moved = perfect.point + shift * perfect.normal
    return DissociatedDislocation(burgers, perfect.direction, perfect.normal, moved, distance, perfect.medium)


def equilibrium_width(burgers: Tensor, energy_factor: Tensor, fault_energy_mJ_per_m2: float) -> Tensor:
    """Distance ``()`` in Å at which the repulsion b₁·K·b₂/(2πd) of two partials equals the fault energy γ.

    ``burgers`` (2, 3) in Å and the tensor K ``energy_factor`` (3, 3) in GPa are along one frame; see
    ``AnisotropicMedium.energy_factor``. In an isotropic medium it is Hirth & Lothe (1982), eq. 10-15,

        d = μ b_p² / (8πγ) · (2 − ν)/(1 − ν) · (1 − 2ν cos 2β/(2 − ν)),

    b_p the length of a partial and β the angle between line and total Burgers vector.

    Raises
    ------
    ValueError
        If the fault energy is not positive, or the partials attract each other.
    """
    if not fault_energy_mJ_per_m2 > 0:
        raise ValueError(f"fault_energy_mJ_per_m2 must be positive, got {fault_energy_mJ_per_m2}")
    width = ANGSTROM_GPA_PER_MJ * (burgers[0] @ energy_factor @ burgers[1]) / (2 * torch.pi * fault_energy_mJ_per_m2)
    if not float(width.detach()) > 0:
        raise ValueError(f"partials must repel each other, got Burgers vectors {burgers.tolist()} in Å")
    return width


def _intrinsic_fault(lattice: Lattice, system: SlipSystem, point: Array) -> tuple[Array, float]:
    """The partials ``(2, 3)`` in Å in the order that makes the fault, and how far the plane lies above ``point``.

    Crystal axes. By Thompson's tetrahedron only one order makes an intrinsic fault: the other puts
    like layers on top of each other. Told from the atoms themselves: the order that keeps them apart.
    """
    pairs = _partial_pairs(lattice, system)
    up, level = layer_gap(lattice, system.normal, point)
    for pair in pairs:
        if keeps_neighbours(lattice, up, level, pair[0]):
            return pair, level - float(up @ point)
    raise ValueError(f"system must have a gap between planes that holds an intrinsic fault, got {system}")


def _partial_pairs(lattice: Lattice, system: SlipSystem) -> list[Array]:
    """The pairs ``(2, 3)`` of partials in Å whose sum is b, in both orders."""
    if lattice.structure not in PARTIALS:
        raise ValueError(f"structure must be one of {', '.join(PARTIALS)} to dissociate, got {lattice.structure!r}")
    total = lattice.direction(system.burgers)
    in_plane = shifts_on(lattice, PARTIALS[lattice.structure], system.normal)
    pairs = [np.array([a, b]) for a in in_plane for b in in_plane if np.allclose(a + b, total)]
    if not pairs:
        raise ValueError(f"burgers must be the sum of two partials in its slip plane, got {system}")
    return pairs
