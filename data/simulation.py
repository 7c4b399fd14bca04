"""One pattern of one crystal: atoms of a file, or a crystal built from a few words.

The grid runs along the laboratory's axes around G, which is the reflection's vector in the
given lattice turned by the orientation: ``G = R (2π/a)(h, k, l)``. Atoms keep the coordinates of
their file, so the amplitude is ``Σ_j f_j exp(+iQ·r_j)`` of exactly those. Only a built crystal
needs torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.atoms import Atoms
from cdi.defects.line import DislocationLine
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.lattices.materials import MATERIALS
from cdi.pattern import DiffractionPattern, Reflection
from cdi.scattering.amplitude import DEFAULT_ENERGY_KEV, Route, amplitude
from data.molecular_dynamics.dxa import ExtractedLine, burgers_fractions
from data.sample import TrueLine
from data.truth_lines import true_line

if TYPE_CHECKING:
    from cdi.crystal import Crystal

Array = NDArray[np.float64]

CHARACTER_DEG = {"screw": 0.0, "mixed": 60.0, "edge": 90.0}
"""Angle between line and Burgers vector of the dislocations that can be asked for by name."""

BUILT_SHAPES = ("truncated-octahedron", "sphere")


@dataclass(frozen=True)
class Specimen:
    """What is exposed: atoms, their reflection's vector G (3,) in Å⁻¹, and the lines if known.

    The lines' origin is the centre of the crystal.
    """

    atoms: Atoms
    G: Array
    lines: tuple[TrueLine, ...] | None


@dataclass(frozen=True)
class BuiltCrystal:
    """A crystal by name: ``diameter_A`` in Å, at most one dislocation through its centre.

    ``burgers`` is in units of the lattice constant; None takes the first slip system that the
    reflection sees.

    Raises
    ------
    ValueError
        For an unknown shape or dislocation, a diameter that is not positive, or a Burgers vector
        without a dislocation.
    """

    shape: str = "truncated-octahedron"
    diameter_A: float = 150.0
    dislocation: str = "none"
    burgers: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.shape not in BUILT_SHAPES:
            raise ValueError(f"crystal shape must be one of {', '.join(BUILT_SHAPES)}, got {self.shape!r}")
        if self.dislocation not in ("none", *CHARACTER_DEG):
            raise ValueError(f"dislocation must be one of none, {', '.join(CHARACTER_DEG)}, got {self.dislocation!r}")
        if not (np.isfinite(self.diameter_A) and self.diameter_A > 0):
            raise ValueError(f"diameter_A must be positive, got {self.diameter_A}")
        if self.burgers is not None and self.dislocation == "none":
            raise ValueError("a Burgers vector needs a dislocation: give --dislocation edge, screw or mixed as well")


def orientation_from_axes(x_axis: ArrayLike | None, z_axis: ArrayLike | None) -> Array:
    """Rotation ``(3, 3)``, crystal to laboratory, that puts crystal directions along x and z.

    Both None: crystal axes are laboratory axes.

    Raises
    ------
    ValueError
        If one is missing or zero, or they are not perpendicular.
    """
    if x_axis is None and z_axis is None:
        return np.eye(3)
    if x_axis is None or z_axis is None:
        raise ValueError("an orientation must name two axes: give both --x-axis and --z-axis, or neither")
    x, z = np.asarray(x_axis, np.float64), np.asarray(z_axis, np.float64)
    if not (np.linalg.norm(x) > 0 and np.linalg.norm(z) > 0):
        raise ValueError(f"x_axis and z_axis must be directions, got {x.tolist()} and {z.tolist()}")
    x, z = x / np.linalg.norm(x), z / np.linalg.norm(z)
    if abs(x @ z) > 1e-6:
        raise ValueError(f"x_axis and z_axis must be perpendicular, got {np.degrees(np.arccos(x @ z)):.4g} degrees")
    return np.stack([x, np.cross(z, x), z])


def lattice_of(elements: tuple[str, ...], constant: float | None, structure: str | None) -> Lattice:
    """The lattice that defines G: the table's entry of the elements (else of the first), or what overrides it.

    An override of a hexagonal lattice's constant keeps the table's c/a.

    Raises
    ------
    ValueError
        If the table has no such material and constant or structure is missing.
    """
    entry = next((m for m in MATERIALS.values() if set(m.elements) == set(elements)), MATERIALS.get(elements[0]))
    if entry is None:
        if constant is None or structure is None:
            raise ValueError(
                f"lattice constant and structure must be given for {elements[0]} (the table has "
                f"{', '.join(MATERIALS)}): add --lattice-constant and --structure"
            )
        return Lattice.of_structure(structure, elements[:1], constant)
    if constant is None and structure is None:
        return Lattice.of_material(entry.name)
    a = entry.a if constant is None else constant
    c = None if entry.c is None else entry.c / entry.a * a
    return replace(Lattice.of_structure(structure or entry.structure, entry.elements, a, c), stiffness=entry.stiffness)


def specimen_from_atoms(
    atoms: Atoms,
    lattice: Lattice,
    orientation: Array,
    reflection: Reflection,
    found: Sequence[ExtractedLine] | None = None,
) -> Specimen:
    """Atoms of a file, whose lattice and orientation are the user's to say.

    ``found`` are the lines in the frame of the file; None means that nobody knows them.
    """
    G = orientation @ lattice.reflection_vector(reflection)
    if found is None:
        return Specimen(atoms, G, None)
    burgers = [burgers_fractions(entry, lattice, orientation) for entry in found]
    centred = (
        DislocationLine(entry.line.points - atoms.centre, orientation @ lattice.direction(b))
        for entry, b in zip(found, burgers, strict=True)
    )
    lines = tuple(true_line(line, lattice, orientation, reflection) for line in centred)
    return Specimen(atoms, G, lines)


def specimen_from_crystal(
    built: BuiltCrystal, lattice: Lattice, orientation: Array, reflection: Reflection
) -> Specimen:
    """Atoms and truth of a built crystal."""
    from data.truth_lines import true_lines

    G = orientation @ lattice.reflection_vector(reflection)
    crystal = built_crystal(built, lattice, orientation, reflection)
    return Specimen(crystal.atoms(), G, true_lines(crystal, reflection))


def simulate_pattern(
    specimen: Specimen,
    reflection: Reflection,
    shape: tuple[int, int, int],
    oversampling: ArrayLike,
    *,
    energy_keV: float = DEFAULT_ENERGY_KEV,
    route: Route = "nufft",
) -> DiffractionPattern:
    """Pattern of ``specimen`` on an orthogonal grid of ``shape`` around G.

    Raises
    ------
    ValueError
        If an oversampling lies below 2, or the atoms have no extent along an axis.
    """
    grid = QGrid.orthogonal(specimen.G, specimen.atoms.extent, oversampling, shape)
    return DiffractionPattern(amplitude(specimen.atoms, grid, energy_keV=energy_keV, route=route), grid, reflection)


def built_crystal(
    built: BuiltCrystal, lattice: Lattice, orientation: Array, reflection: Reflection | None = None
) -> "Crystal":
    """The crystal that ``built`` describes; without a reflection the first slip system is taken.

    Raises
    ------
    ValueError
        If the Burgers vector is not a perfect one of the lattice.
    """
    from cdi.crystal import Crystal
    from cdi.defects.straight_dislocation import dislocation_on
    from cdi.shapes.ball import Ball
    from cdi.shapes.polyhedron import truncated_octahedron

    shape = (
        Ball.of_diameter(built.diameter_A)
        if built.shape == "sphere"
        else truncated_octahedron(built.diameter_A, orientation, ratio=2 / 3**0.5)
    )
    if built.dislocation == "none":
        return Crystal(lattice, shape, orientation)
    systems = lattice.slip_systems()
    if built.burgers is None:
        chosen = [s for s in systems if reflection is None or abs(np.dot(s.burgers, reflection)) > 1e-9]
    else:
        chosen = [s for s in systems if np.allclose(s.burgers, built.burgers)]
    if not chosen:
        known = sorted({str(tuple(abs(b) for b in s.burgers)) for s in systems})
        raise ValueError(
            f"burgers must be a perfect Burgers vector of {lattice.structure} "
            f"(the kinds {', '.join(known)} with any signs), got {built.burgers}"
        )
    line = dislocation_on(
        lattice,
        chosen[0],
        character_deg=CHARACTER_DEG[built.dislocation],
        # Off the lattice sites: no atom sits on the line, where the field is singular.
        point=orientation @ np.array([0.13, 0.07, 0.11]) * lattice.constant,
        orientation=orientation,
    )
    return Crystal(lattice, shape, orientation, (line,))
