"""A crystal lattice with its basis: cell, sites, species, elastic constants. Free of torch.

Crystal axes are Cartesian: a cubic cell lies along x, y, z; a hexagonal one has a₁ along x and c
along z. Directions and Burgers vectors are in fractions of the cell's edges, reflections and
planes in Miller indices.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.lattices.elasticity import check_stiffness, isotropic_stiffness, voigt_average
from cdi.lattices.materials import check_element, material
from cdi.lattices.slip import SLIP_FAMILIES, SlipSystem, images, point_group, slip_systems
from cdi.lattices.structures import STRUCTURES

Array = NDArray[np.float64]

SITE_TOLERANCE = 1e-4
"""Fraction of an edge within which two sites are one: coordinates in files carry five or so digits."""

EXTINCT = 1e-3
"""Structure factor per atom up to which a reflection is extinct, for the same reason."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """A periodic arrangement of atoms.

    Parameters
    ----------
    structure : str
        A key of ``STRUCTURES``, or any name for a structure of a file.
    cell : (3, 3)
        Rows are the edges of the conventional cell in Å, crystal axes.
    sites : (n, 3)
        Fractional coordinates of the atoms of a cell.
    elements : tuple of n str
        Chemical symbol of each site.
    stiffness : (6, 6)
        Elastic constants in GPa (Voigt), crystal axes. Only their ratios enter displacements.

    Raises
    ------
    ValueError
        For a singular or left-handed cell, an edge outside [1, 100] Å, sites and elements that
        disagree, an unknown element, or a stiffness that is not positive definite.
    """

    structure: str
    cell: Array
    sites: Array
    elements: tuple[str, ...]
    stiffness: Array

    def __post_init__(self) -> None:
        cell, sites = np.asarray(self.cell, np.float64), np.asarray(self.sites, np.float64)
        if cell.shape != (3, 3) or not np.isfinite(cell).all() or np.linalg.det(cell) < 1e-3:
            raise ValueError(f"cell must be three independent right-handed edges in Å, got {cell.tolist()}")
        edges = np.linalg.norm(cell, axis=1)
        if edges.min() < 1 or edges.max() > 100:
            raise ValueError(f"lattice constant must lie in [1, 100] Å, got {edges.round(4).tolist()}")
        if sites.ndim != 2 or sites.shape[1:] != (3,) or len(sites) != len(self.elements) or not len(sites):
            raise ValueError(f"sites must be (n, 3) with one element each, got {sites.shape}, {len(self.elements)}")
        if not np.isfinite(sites).all():
            raise ValueError("sites must be finite fractions of the cell, got NaN or infinity")
        for element in set(self.elements):
            check_element(element)
        object.__setattr__(self, "cell", cell)
        object.__setattr__(self, "sites", sites)
        object.__setattr__(self, "elements", tuple(self.elements))
        object.__setattr__(self, "stiffness", check_stiffness(self.stiffness))

    @classmethod
    def of_material(cls, name: str) -> "Lattice":
        """The lattice of an element or compound of the table of materials."""
        entry = material(name)
        lattice = cls.of_structure(entry.structure, entry.elements, entry.a, entry.c)
        return replace(lattice, stiffness=entry.stiffness)

    @classmethod
    def of_structure(
        cls,
        structure: str,
        elements: tuple[str, ...],
        a: float,
        c: float | None = None,
        *,
        poisson_ratio: float = 0.3,
    ) -> "Lattice":
        """A lattice of a known structure and edges in Å, elastically isotropic.

        Raises
        ------
        ValueError
            For an unknown structure, a wrong number of elements, or a Poisson ratio out of (-1, 0.5).
        """
        if structure not in STRUCTURES:
            raise ValueError(f"structure must be one of {', '.join(STRUCTURES)}, got {structure!r}")
        if not -1 < poisson_ratio < 0.5:
            raise ValueError(f"poisson_ratio must lie in (-1, 0.5), got {poisson_ratio}")
        entry = STRUCTURES[structure]
        if len(elements) != max(entry.species) + 1:
            raise ValueError(f"{structure} must have {max(entry.species) + 1} elements, got {', '.join(elements)}")
        symbols = tuple(elements[index] for index in entry.species)
        return cls(
            structure, entry.cell(a, c), np.asarray(entry.sites), symbols, isotropic_stiffness(50.0, poisson_ratio)
        )

    @property
    def formula(self) -> str:
        """The elements in order of their first site, joined: ``Cu``, ``NaCl``."""
        return "".join(dict.fromkeys(self.elements))

    @property
    def constant(self) -> float:
        """Length of the first edge in Å: the lattice constant of a cubic lattice."""
        return float(np.linalg.norm(self.cell[0]))

    @cached_property
    def cell_volume(self) -> float:
        """Volume of the conventional cell in Å³."""
        return float(np.linalg.det(self.cell))

    @cached_property
    def poisson_ratio(self) -> float:
        """Of the isotropic medium: the Voigt average of the elastic constants."""
        return voigt_average(self.stiffness)[1]

    def allows(self, reflection: tuple[int, int, int]) -> bool:
        """Whether the structure factor of ``reflection`` is non-zero (selection rule).

        It is where the sites of any one element do not cancel each other, so that no accidental
        equality of the form factors of two elements hides a reflection.
        """
        phases = np.exp(2j * np.pi * self.sites @ np.asarray(reflection, np.float64))
        return any(reflection) and bool(np.abs(self._shares @ phases).max() > EXTINCT)

    @cached_property
    def _shares(self) -> Array:
        """Weight ``(elements, n)`` of each site in the mean over its element's."""
        symbols = np.asarray(self.elements)
        of_element = np.array([symbols == element for element in dict.fromkeys(self.elements)], np.float64)
        return np.asarray(of_element / of_element.sum(1, keepdims=True))

    def reflection_vector(self, reflection: tuple[int, int, int]) -> Array:
        """G ``(3,)`` in Å⁻¹ (2π included), along the crystal axes.

        Raises
        ------
        ValueError
            If the reflection is (0, 0, 0) or extinct in this structure.
        """
        if not self.allows(reflection):
            rule = STRUCTURES[self.structure].rule if self.structure in STRUCTURES else "a non-zero structure factor"
            raise ValueError(f"reflection must be allowed in {self.structure} ({rule}) and not 0 0 0, got {reflection}")
        return self.plane_normal(reflection)

    def plane_normal(self, indices: ArrayLike) -> Array:
        """Reciprocal-lattice vector(s) ``(..., 3)`` in Å⁻¹ (2π included) of Miller indices ``(..., 3)``."""
        return np.asarray(2 * np.pi * np.asarray(indices, np.float64) @ self._inverse_cell.T)

    def direction(self, fractions: ArrayLike) -> Array:
        """Cartesian vector(s) ``(..., 3)`` in Å, crystal axes, of ``fractions`` of the cell's edges."""
        return np.asarray(np.asarray(fractions, np.float64) @ self.cell)

    def fractions(self, vector: ArrayLike) -> Array:
        """Fractions of the cell's edges ``(..., 3)`` of Cartesian vector(s) in Å, crystal axes."""
        return np.asarray(np.asarray(vector, np.float64) @ self._inverse_cell)

    @cached_property
    def _inverse_cell(self) -> Array:
        return np.asarray(np.linalg.inv(self.cell))

    @cached_property
    def translations(self) -> Array:
        """Lattice vectors within the cell ``(m, 3)``, in fractions of its edges: (0,0,0) and the centrings."""
        return self._translations_of(self.sites)

    @cached_property
    def point_group(self) -> Array:
        """Integer matrices ``(n, 3, 3)`` W of the crystal class: r = x · cell goes to (x W) · cell.

        Those symmetries of the cell which, with some translation, map every site onto one of its
        element: 48 in fcc, bcc, diamond and rock salt, 24 in hcp. The cell's edges are taken to be
        mapped onto sums of edges with factors −1, 0 and 1, which holds for reduced and conventional cells.
        """
        kept = [w for w in point_group(self.cell) if len(self._translations_of(self.sites @ w))]
        return np.asarray(kept)

    def equivalent_planes(self, indices: tuple[int, int, int]) -> list[tuple[float, float, float]]:
        """Miller indices of every plane that the point group makes of ``indices``: the form {hkl}, sorted."""
        return images(indices, self.point_group, reciprocal=True)

    def _translations_of(self, image: Array) -> Array:
        """Shifts ``(m, 3)`` within the cell that put the sites ``image`` (n, 3) onto sites of their element."""
        symbols = np.asarray(self.elements)
        found = []
        for shift in self.sites[symbols == symbols[0]] - image[0]:
            gap = (image + shift)[:, None] - self.sites
            meets = np.abs(gap - np.round(gap)).max(-1) < SITE_TOLERANCE
            if (meets & (symbols[:, None] == symbols)).any(1).all():
                found.append(shift - np.floor(shift + SITE_TOLERANCE))
        return np.asarray(found)

    def is_lattice_vector(self, fractions: ArrayLike) -> bool:
        """Whether a shift by ``fractions`` (3,) of the cell's edges maps the lattice onto itself."""
        gap = np.asarray(fractions, np.float64) - self.translations
        return bool((np.abs(gap - np.round(gap)).max(-1) < SITE_TOLERANCE).any())

    def slip_systems(self, family: str | None = None) -> list[SlipSystem]:
        """Every slip system, of one ``family`` or of all, both senses of b, in a fixed order.

        Raises
        ------
        ValueError
            If no slip systems are known for this structure, or the family is not one of them.
        """
        if self.structure not in SLIP_FAMILIES:
            raise ValueError(f"structure must be one of {', '.join(SLIP_FAMILIES)} to slip, got {self.structure!r}")
        families = SLIP_FAMILIES[self.structure]
        chosen = [entry for entry in families if family in (None, entry.name)]
        if not chosen:
            names = ", ".join(entry.name for entry in families)
            raise ValueError(f"slip family must be one of {names} in {self.structure}, got {family!r}")
        return [system for entry in chosen for system in slip_systems(entry, self.cell)]

    def sites_in_box(self, low: ArrayLike, high: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
        """Sites ``(n, 3)`` in Å, crystal axes, within a box, and the index of each in ``sites`` ``(n,)``."""
        corners = np.stack(np.meshgrid(*np.stack([low, high], 1), indexing="ij"), -1).reshape(-1, 3)
        reach = self.fractions(corners)
        first, last = np.floor(reach.min(0)).astype(int) - 1, np.ceil(reach.max(0)).astype(int) + 1
        cells = np.stack(
            np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(first, last, strict=True)), indexing="ij"), -1
        )
        points = self.direction((cells.reshape(-1, 1, 3) + self.sites).reshape(-1, 3))
        kind = np.tile(np.arange(len(self.sites)), len(points) // len(self.sites))
        inside = ((points >= np.asarray(low)) & (points <= np.asarray(high))).all(1)
        return points[inside], kind[inside]
