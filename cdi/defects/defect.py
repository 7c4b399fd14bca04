"""One type for everything that makes a crystal differ from a perfect one.

A defect displaces sites, may take some away, may turn a part of the crystal out of a reflection,
and knows the dislocation lines that belong to it: what the truth of a sample is made of.
Parameters are float64 tensors in the laboratory frame; fields are differentiable with respect to them.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cdi.defects.line import DislocationLine as DislocationLine
from cdi.shapes.shape import Shape

Array = NDArray[np.float64]


class Defect(ABC):
    """What a crystal's ``defects`` hold. A subclass names itself in ``kind`` (24 letters at most)."""

    kind: str

    @property
    def defect_class(self) -> str:
        """Its entry of ``cdi.defects.classes.CLASSES``; ``none`` for what is no dislocation and no fault."""
        return "none"

    @property
    def fault_shifts(self) -> tuple[Array, ...]:
        """Shifts R ``(3,)`` in Å, laboratory frame, of the planar faults that it lays through the crystal."""
        return ()

    @abstractmethod
    def displacement(self, points: Tensor) -> Tensor:
        """Displacement u ``(..., 3)`` in Å of sites at ``points`` ``(..., 3)`` in Å, in their dtype and device."""

    def occupancy(self, points: Tensor, width: float = 0.0) -> Tensor | None:
        """Fraction ``(...)`` of the sites at ``points`` that hold an atom; None: all of them.

        ``width`` in Å is the edge of the voxels around the points; 0 asks for the sites themselves. A
        boundary within a voxel leaves its share, so that nothing thin is lost or seen too thick.
        """
        return None

    def in_reflection(self, points: Tensor, G: Array, width: float = 0.0) -> Tensor | None:
        """Fraction ``(...)`` of the atoms at ``points`` that scatter near ``G`` (3,) Å⁻¹; None: all of them.

        ``width`` as for ``occupancy``.

        A twinned part obeys another reciprocal lattice: it leaves every reflection that the twins do
        not share. Only the Bragg object asks; atoms at their true positions need no such rule.
        """
        return None

    def lines(self, shape: Shape) -> tuple[DislocationLine, ...]:
        """Its dislocation lines within ``shape``; none for what is not a dislocation.

        Raises
        ------
        ValueError
            If it is a dislocation that misses the shape.
        """
        return ()


def share_beyond(distance: Tensor, width: float) -> Tensor:
    """Share ``(...)`` of voxels of ``width`` Å that lies on the positive side of a surface ``distance`` Å away.

    With a width of 0 the points themselves: 1 on the surface and beyond.
    """
    return (0.5 + distance / width).clamp(0, 1) if width > 0 else (distance >= 0).to(distance)
