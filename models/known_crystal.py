"""What the experimenter knows of a crystal beforehand: its lattice, which reflections were measured, how it lies."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.lattices.lattice import Lattice
from cdi.pattern import Reflection

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KnownCrystal:
    """A lattice and the Miller indices of the exposures, in their order.

    Parameters
    ----------
    lattice : Lattice
    reflections : tuple of Miller indices
    orientation : (3, 3) or None
        Rotation from crystal axes to the laboratory; None: from the exposures, where two are not collinear.

    Raises
    ------
    ValueError
        If there is no reflection, or the lattice does not allow one.
    """

    lattice: Lattice
    reflections: tuple[Reflection, ...]
    orientation: Array | None = None

    def __post_init__(self) -> None:
        if not self.reflections:
            raise ValueError("reflections must hold at least one, got none")
        for reflection in self.reflections:
            if not self.lattice.allows(reflection):
                raise ValueError(
                    f"reflections must be allowed in {self.lattice.structure} {self.lattice.formula}, got {reflection}"
                )

    def oriented(self, G: ArrayLike) -> Array | None:
        """The orientation: as given, or the rotation that brings the reflections nearest to ``G`` (n, 3) in Å⁻¹.

        Least squares (Kabsch, Acta Cryst. A32, 922, 1976); None where all reflections, or all ``G``, are collinear:
        those of exposures without a geometry are zero.
        """
        if self.orientation is not None:
            return np.asarray(self.orientation, np.float64)
        from scipy.spatial.transform import Rotation

        ideal = np.array([self.lattice.reflection_vector(reflection) for reflection in self.reflections])
        measured = np.asarray(G, np.float64)
        if any(np.linalg.matrix_rank(one, tol=1e-6 * np.abs(ideal).max()) < 2 for one in (ideal, measured)):
            return None
        rotation, _ = Rotation.align_vectors(measured, ideal)
        return np.asarray(rotation.as_matrix())
