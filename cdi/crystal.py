"""A crystal: lattice, orientation, shape and what displaces its atoms."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.atoms import Atoms
from cdi.dislocation import Dislocation
from cdi.lattice import Lattice, SlipSystem
from cdi.pattern import Reflection
from cdi.shape import Shape
from cdi.strain import SmoothStrain

Array = NDArray[np.float64]

MAX_ATOMS = 10_000_000
"""Beyond this many atoms a crystal goes through the Bragg object."""


@dataclass(frozen=True)
class Crystal:
    """A finite crystal centred on the origin of the laboratory frame.

    Parameters
    ----------
    lattice : Lattice
    shape : Shape
        In the laboratory frame.
    orientation : (3, 3)
        Rotation from crystal axes to the laboratory: ``r_lab = orientation @ r_crystal``.
    dislocations : tuple of Dislocation
        In the laboratory frame; displacements superpose (linear elasticity).
    strain : SmoothStrain or None

    Raises
    ------
    ValueError
        If ``orientation`` is not a rotation.
    """

    lattice: Lattice
    shape: Shape
    orientation: Array = field(default_factory=lambda: np.eye(3))
    dislocations: tuple[Dislocation, ...] = ()
    strain: SmoothStrain | None = None

    def __post_init__(self) -> None:
        rotation = np.asarray(self.orientation, np.float64)
        if (
            rotation.shape != (3, 3)
            or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-8)
            or np.linalg.det(rotation) < 0
        ):
            raise ValueError(f"orientation must be a (3, 3) rotation matrix, got {rotation.tolist()}")
        object.__setattr__(self, "orientation", rotation)

    def reflection_vector(self, reflection: Reflection) -> Array:
        """G ``(3,)`` in Å⁻¹ in the laboratory frame."""
        return np.asarray(self.orientation @ self.lattice.reflection_vector(reflection))

    def displacement(self, points: Tensor) -> Tensor:
        """Total displacement u ``(..., 3)`` in Å at reference ``points`` ``(..., 3)`` in Å."""
        total = torch.zeros_like(points)
        for dislocation in self.dislocations:
            total = total + dislocation.displacement(points)
        return total if self.strain is None else total + self.strain.displacement(points)

    def atoms(self) -> Atoms:
        """Lattice sites within the shape, displaced by u, in the laboratory frame.

        Raises
        ------
        ValueError
            If the shape holds no site or more than ``MAX_ATOMS``.
        """
        half = self.shape.extent(self.orientation.T) / 2
        expected = np.prod(2 * half) / self.lattice.constant**3 * 4
        if expected > 4 * MAX_ATOMS:
            raise ValueError(f"the crystal must have at most {MAX_ATOMS} atoms, its bounding box holds {expected:.2g}")
        # An asymmetric polyhedron reaches beyond half its extent on one side of its centroid.
        box = 2 * half
        reference = torch.as_tensor(self.lattice.sites(-box, box) @ self.orientation.T)
        reference = reference[self.shape.signed_distance(reference) <= 0]
        if len(reference) == 0:
            raise ValueError("the shape must hold at least one lattice site; enlarge the diameter")
        return Atoms.of_element(self.lattice.element, (reference + self.displacement(reference)).numpy())


def dislocation_on(
    lattice: Lattice,
    system: SlipSystem,
    *,
    character_deg: float,
    point: Array,
    orientation: Array,
) -> Dislocation:
    """A straight line of the given character on a slip system, in the laboratory frame.

    The line lies in the slip plane at ``character_deg`` from b (0 screw, 90 edge), turned about
    the plane's normal in the positive sense. ``point`` (3,) is in Å, laboratory frame.
    """
    burgers = orientation @ np.asarray(system.burgers) * lattice.constant
    normal = orientation @ np.asarray(system.normal) / np.linalg.norm(system.normal)
    along = burgers / np.linalg.norm(burgers)
    angle = np.radians(character_deg)
    direction = np.cos(angle) * along + np.sin(angle) * np.cross(normal, along)
    return Dislocation(burgers, direction, normal, point, lattice.poisson_ratio)
