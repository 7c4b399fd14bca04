"""The elastic media of a lattice by name."""

from collections.abc import Callable

from cdi.defects.anisotropic_medium import AnisotropicMedium
from cdi.defects.defect import Array
from cdi.defects.medium import IsotropicMedium, Medium
from cdi.lattices.lattice import Lattice
from cdi.shapes.shape import as_parameter


def isotropic_medium_of(lattice: Lattice, orientation: Array) -> IsotropicMedium:
    """The isotropic average of the lattice, the same in every ``orientation``."""
    return IsotropicMedium(lattice.poisson_ratio)


def anisotropic_medium_of(lattice: Lattice, orientation: Array) -> AnisotropicMedium:
    """The lattice's own elastic constants, turned by ``orientation`` (3, 3), crystal to laboratory."""
    return AnisotropicMedium(as_parameter(lattice.stiffness), as_parameter(orientation))


MEDIA: dict[str, Callable[[Lattice, Array], Medium]] = {
    "isotropic": isotropic_medium_of,
    "anisotropic": anisotropic_medium_of,
}
"""How the medium of a lattice in an orientation is made, by the name of its elasticity."""


def medium_of(lattice: Lattice, orientation: Array, kind: str) -> Medium:
    """The medium of ``lattice`` turned by ``orientation`` (3, 3), crystal to laboratory.

    Raises
    ------
    ValueError
        If ``kind`` is not a key of ``MEDIA``.
    """
    if kind not in MEDIA:
        raise ValueError(f"medium must be one of {', '.join(MEDIA)}, got {kind!r}")
    return MEDIA[kind](lattice, orientation)
