"""A crystal: lattice, orientation, shape and what makes it differ from a perfect one."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.atoms import Atoms
from cdi.defects.defect import Defect, DislocationLine
from cdi.lattices.lattice import Lattice
from cdi.pattern import Reflection
from cdi.shapes.shape import Shape

Array = NDArray[np.float64]

MAX_ATOMS = 10_000_000
"""Beyond this many atoms a crystal goes through the Bragg object."""


@dataclass(frozen=True, eq=False)
class Crystal:
    """A finite crystal centred on the origin of the laboratory frame.

    Parameters
    ----------
    lattice : Lattice
    shape : Shape
        In the laboratory frame.
    orientation : (3, 3)
        Rotation from crystal axes to the laboratory: ``r_lab = orientation @ r_crystal``.
    defects : tuple of Defect
        In the laboratory frame; displacements superpose (linear elasticity).

    Raises
    ------
    ValueError
        If ``orientation`` is not a rotation.
    """

    lattice: Lattice
    shape: Shape
    orientation: Array = field(default_factory=lambda: np.eye(3))
    defects: tuple[Defect, ...] = ()

    def __post_init__(self) -> None:
        rotation = np.asarray(self.orientation, np.float64)
        if (
            rotation.shape != (3, 3)
            or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-8)
            or np.linalg.det(rotation) < 0
        ):
            raise ValueError(f"orientation must be a (3, 3) rotation matrix, got {rotation.tolist()}")
        object.__setattr__(self, "orientation", rotation)
        object.__setattr__(self, "defects", tuple(self.defects))

    def reflection_vector(self, reflection: Reflection) -> Array:
        """G ``(3,)`` in Å⁻¹ in the laboratory frame."""
        return np.asarray(self.orientation @ self.lattice.reflection_vector(reflection))

    def displacement(self, points: Tensor) -> Tensor:
        """Total displacement u ``(..., 3)`` in Å at reference ``points`` ``(..., 3)`` in Å."""
        total = torch.zeros_like(points)
        for defect in self.defects:
            total = total + defect.displacement(points)
        return total

    def lines(self) -> tuple[DislocationLine, ...]:
        """The dislocation lines of all defects within the shape, laboratory frame."""
        return tuple(line for defect in self.defects for line in defect.lines(self.shape))

    def burgers_fractions(self, line: DislocationLine) -> Array:
        """Burgers vector ``(3,)`` of ``line`` in fractions of the cell's edges, crystal axes."""
        return self.lattice.fractions(self.orientation.T @ line.burgers)

    def reference_sites(self) -> tuple[Array, NDArray[np.int64]]:
        """Perfect lattice sites within the shape ``(n, 3)`` in Å, laboratory frame, and their kind ``(n,)``.

        The kind indexes ``lattice.sites``.

        Raises
        ------
        ValueError
            If the shape holds no site or more than ``MAX_ATOMS``.
        """
        # A lopsided shape reaches beyond half its extent on one side of its centroid.
        low, high = self.shape.reach(self.orientation.T)
        density = len(self.lattice.sites) / self.lattice.cell_volume
        if np.prod(high - low) * density > 4 * MAX_ATOMS:
            raise ValueError(
                f"the crystal must have at most {MAX_ATOMS} atoms, its bounding box holds "
                f"{np.prod(high - low) * density:.2g}; use the Bragg object (route 'object')"
            )
        points, kind = self.lattice.sites_in_box(low, high)
        reference = points @ self.orientation.T
        inside = (self.shape.signed_distance(torch.as_tensor(reference)) <= 0).numpy()
        if not inside.any():
            raise ValueError("the shape must hold at least one lattice site; enlarge the diameter")
        if inside.sum() > MAX_ATOMS:
            raise ValueError(f"the crystal must have at most {MAX_ATOMS} atoms, got {int(inside.sum())}")
        return reference[inside], kind[inside]

    def atoms(self, generator: np.random.Generator | None = None) -> Atoms:
        """The sites that hold an atom, displaced by u, in the laboratory frame; see ``displaced_sites``."""
        positions, species, elements = self.displaced_sites(generator)
        return Atoms(positions.detach().numpy(), species, elements)

    def displaced_sites(
        self, generator: np.random.Generator | None = None
    ) -> tuple[Tensor, NDArray[np.int64], tuple[str, ...]]:
        """Positions ``(n, 3)`` in Å of the atoms, in the graph of the defects' tensors; species ``(n,)``; elements.

        ``generator`` draws which sites stay empty where a defect leaves only a fraction of them.

        Raises
        ------
        ValueError
            If no site lies within the shape, it holds too many, or sites must be drawn without a generator.
        """
        reference, kind = self.reference_sites()
        points = torch.as_tensor(reference)
        present = np.ones(len(reference))
        for defect in self.defects:
            occupancy = defect.occupancy(points)
            if occupancy is not None:
                present = present * occupancy.detach().numpy()
        kept = present >= 1
        uncertain = (present > 0) & ~kept
        if uncertain.any():
            if generator is None:
                raise ValueError("atoms need a generator: a defect leaves some sites empty at random")
            kept[uncertain] = generator.random(int(uncertain.sum())) < present[uncertain]
        sites = points[torch.as_tensor(kept)]
        elements = tuple(dict.fromkeys(self.lattice.elements))
        species = np.array([elements.index(symbol) for symbol in self.lattice.elements])[kind[kept]]
        return sites + self.displacement(sites), species, elements
