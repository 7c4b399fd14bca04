"""One pattern of one crystal: atoms of a file, or a crystal built from a few words.

The grid runs along the laboratory's axes around G, which is the reflection's vector in the
given lattice turned by the orientation: ``G = R (2π/a)(h, k, l)``; or it is that of a rocking curve,
whose sample circles turn the crystal. Without one, atoms keep the coordinates of their file, so the
amplitude is ``Σ_j f_j exp(+iQ·r_j)`` of exactly those. Only a built crystal needs torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.atoms import Atoms
from cdi.defects.line import DislocationLine
from cdi.grid import QGrid, check_sampling
from cdi.lattices.lattice import Lattice
from cdi.lattices.materials import MATERIALS, check_element
from cdi.pattern import DiffractionPattern, Reflection
from cdi.scattering.amplitude import DEFAULT_ENERGY_KEV, Route, amplitude
from cdi.scattering.geometric_sum import check_route
from cdi.scattering.model import ScatteringModel
from data.built_crystal import BuiltCrystal
from data.molecular_dynamics.dxa import ExtractedLine, burgers_fractions
from data.sample import TrueLine
from data.truth_lines import true_line

if TYPE_CHECKING:
    from cdi.crystal import Crystal

Array = NDArray[np.float64]
CommandRoute = Literal["auto", "nufft", "direct", "object"]
COMMAND_ROUTES = ("auto", "nufft", "direct", "object")
MOST_PHOTONS = 1e9
"""In the brightest voxel: a file keeps counts in 32 bits."""


@dataclass(frozen=True)
class Specimen:
    """What is exposed: atoms or a crystal, their reflection's vector G (3,) in Å⁻¹, and the lines if known.

    The lines' origin is the centre of the crystal. ``atoms`` is None where the Bragg object is exposed,
    ``crystal`` None where a file gave the atoms.
    """

    atoms: Atoms | None
    G: Array
    lines: tuple[TrueLine, ...] | None
    crystal: "Crystal | None" = None

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols."""
        if self.atoms is not None:
            return self.atoms.elements
        return () if self.crystal is None else tuple(dict.fromkeys(self.crystal.lattice.elements))

    @property
    def size(self) -> str:
        """How large it is, in words."""
        if self.atoms is not None:
            return f"{len(self.atoms):,} atoms"
        return "" if self.crystal is None else f"{expected_atoms(self.crystal):.3g} atoms as a Bragg object"

    @property
    def outline(self) -> Array | None:
        """Points ``(n, 3)`` in Å on and in the crystal, its centre at the origin; None of a file without lines."""
        if self.lines is None:
            return None
        if self.atoms is not None:
            return self.atoms.centred().positions
        return None if self.crystal is None else _surface_points(self.crystal)


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
        For an unknown symbol, or if the table has no such material and constant or structure is missing.
    """
    entry = next((m for m in MATERIALS.values() if set(m.elements) == set(elements)), MATERIALS.get(elements[0]))
    if entry is None:
        for symbol in elements:
            check_element(symbol)
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
    built: BuiltCrystal, lattice: Lattice, orientation: Array, reflection: Reflection, route: str, seed: int = 0
) -> Specimen:
    """A built crystal with its truth, as atoms where the route needs them.

    ``seed`` draws the sites that vacancies leave empty. The route ``auto`` takes every atom of a crystal
    of at most ``cdi.crystal.MAX_ATOMS``, and the Bragg object of a larger one.
    """
    from data.built_crystal import build_crystal
    from data.truth_lines import true_lines

    check_route(route, COMMAND_ROUTES)
    G = orientation @ lattice.reflection_vector(reflection)
    crystal = build_crystal(built, lattice, orientation, reflection)
    lines = true_lines(crystal, reflection)
    if route == "object" or (route == "auto" and too_large(crystal)):
        return Specimen(None, G, lines, crystal)
    return Specimen(crystal.atoms(np.random.default_rng(seed)), G, lines, crystal)


def too_large(crystal: "Crystal") -> bool:
    """Whether the crystal has more atoms than the routes of atoms take."""
    from cdi.crystal import MAX_ATOMS

    return expected_atoms(crystal) > MAX_ATOMS


def expected_atoms(crystal: "Crystal") -> float:
    """Sites of the crystal's volume."""
    return crystal.shape.volume * len(crystal.lattice.sites) / crystal.lattice.cell_volume


def _surface_points(crystal: "Crystal") -> Array:
    """Points on the surface in directions all around."""
    directions = np.random.default_rng(0).normal(size=(4000, 3))
    return np.array([crystal.shape.surface_point(direction) for direction in directions])


def turned_atoms(
    atoms: Atoms, found: Sequence[ExtractedLine] | None, turn: Array
) -> tuple[Atoms, tuple[ExtractedLine, ...] | None]:
    """Atoms of a file and their lines after the rotation ``turn`` (3, 3) of the sample."""
    lines = None if found is None else tuple(
        replace(entry, line=DislocationLine(entry.line.points @ turn.T, entry.line.burgers @ turn.T)) for entry in found
    )  # fmt: skip
    return Atoms(atoms.positions @ turn.T, atoms.species, atoms.elements), lines


def check_exposure(
    *,
    energy_keV: float = DEFAULT_ENERGY_KEV,
    route: str = "auto",
    peak_counts: float | None = None,
    seed: int | None = None,
) -> None:
    """What can be refused of an exposure before its specimen is read or built.

    Raises
    ------
    ValueError
        If the energy lies outside the tables, the route is unknown, or photons or seed lie out of their range.
    """
    ScatteringModel(energy_keV=energy_keV)
    check_route(route, COMMAND_ROUTES)
    if peak_counts is not None and not 0 < peak_counts <= MOST_PHOTONS:
        raise ValueError(f"peak_counts must be positive and at most {MOST_PHOTONS:g}, got {peak_counts}")
    if seed is not None and seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")


def orthogonal_grid(specimen: Specimen, shape: tuple[int, int, int], oversampling: ArrayLike) -> QGrid:
    """Grid of ``shape`` along the laboratory's axes around G.

    Raises
    ------
    ValueError
        If an oversampling lies below 2, or the atoms have no extent along an axis.
    """
    if specimen.atoms is not None:
        return QGrid.orthogonal(specimen.G, specimen.atoms.extent, oversampling, shape)
    if specimen.crystal is None:
        raise ValueError("a specimen must have atoms or a crystal")
    return QGrid.orthogonal(specimen.G, specimen.crystal.shape.extent(np.eye(3)), oversampling, shape)


def simulate_pattern(
    specimen: Specimen,
    reflection: Reflection,
    grid: QGrid,
    *,
    energy_keV: float = DEFAULT_ENERGY_KEV,
    route: CommandRoute = "auto",
) -> DiffractionPattern:
    """Pattern of ``specimen`` on ``grid``, orthogonal or sheared.

    Raises
    ------
    ValueError
        If the grid undersamples the specimen, or a route does not fit it.
    """
    check_route(route, COMMAND_ROUTES)
    if specimen.atoms is None and specimen.crystal is not None:
        from cdi.scattering.object_amplitude import object_amplitudes

        model = ScatteringModel(energy_keV=energy_keV)
        found = object_amplitudes(specimen.crystal, [(reflection, grid)], model=model)[0].numpy()
        return DiffractionPattern(found, grid, reflection)
    if specimen.atoms is None or route == "object":
        raise ValueError("route must be nufft or direct for atoms of a file, got 'object': it needs a built crystal")
    check_sampling(specimen.atoms.positions, grid)
    chosen: Route = "nufft" if route == "auto" else route
    return DiffractionPattern(amplitude(specimen.atoms, grid, energy_keV=energy_keV, route=chosen), grid, reflection)
