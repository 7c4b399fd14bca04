"""A crystal from a few words: its shape and its defects by name, each in a standard place and size.

Lengths of the defects follow the crystal's: R is half its least extent. Free of torch until a
crystal is built.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cdi.lattices.lattice import Lattice
from cdi.lattices.materials import MATERIALS
from cdi.lattices.slip import SHOCKLEY, SlipSystem, slip_systems
from cdi.pattern import Reflection
from data.recipe import CRYSTAL_SHAPES

if TYPE_CHECKING:
    from cdi.crystal import Crystal
    from cdi.defects.defect import Defect
    from cdi.shapes.shape import Shape

Array = NDArray[np.float64]

CHARACTER_DEG = {"screw": 0.0, "mixed": 60.0, "edge": 90.0}
"""Angle between line and Burgers vector of the straight dislocations."""
DEFECTS = (
    *CHARACTER_DEG, "dissociated", "loop", "partial-loop", "frank-loop", "curved", "junction",
    "stacking-fault", "twin", "vacancies", "void", "surface-strain",
)  # fmt: skip
"""What can be asked for by name; ``none`` of a crystal is an empty tuple."""
ON_SLIP_SYSTEM = (*CHARACTER_DEG, "dissociated", "loop", "curved", "junction")
"""Those that take a Burgers vector."""
ELASTICITIES = ("isotropic", "anisotropic")
OF_STRAIGHT_LINES = (*CHARACTER_DEG, "dissociated")
"""Those whose field knows an anisotropic medium."""
DIAMETER_LIMITS_A = (10.0, 1e6)
"""From a few cells to a tenth of a millimetre, far beyond what diffracts kinematically."""
OFF_SITE = np.array([0.13, 0.07, 0.11])
"""In cells: off the lattice sites, so that no atom sits on a line, where the field is singular."""


@dataclass(frozen=True)
class BuiltCrystal:
    """A crystal by name.

    Parameters
    ----------
    shape : one of ``CRYSTAL_SHAPES``.
    diameter_A : of the ball of equal volume, in Å.
    defects : names of ``DEFECTS``; several lie R/2 apart.
    burgers : in fractions of the cell; None takes the first slip system that the reflection sees.
    elasticity : of straight lines, "isotropic" or "anisotropic".
    width_A : distance of two partials; None takes the material's equilibrium.

    Raises
    ------
    ValueError
        For an unknown name, a length out of its range, or an option that no defect uses.
    """

    shape: str = "truncated-octahedron"
    diameter_A: float = 150.0
    defects: tuple[str, ...] = ()
    burgers: tuple[float, float, float] | None = None
    elasticity: str = "isotropic"
    width_A: float | None = None

    def __post_init__(self) -> None:
        if self.shape not in CRYSTAL_SHAPES:
            raise ValueError(f"crystal shape must be one of {', '.join(CRYSTAL_SHAPES)}, got {self.shape!r}")
        for name in self.defects:
            if name not in DEFECTS:
                raise ValueError(f"defect must be one of none, {', '.join(DEFECTS)}, got {name!r}")
        if self.elasticity not in ELASTICITIES:
            raise ValueError(f"elasticity must be one of {', '.join(ELASTICITIES)}, got {self.elasticity!r}")
        for name in ("diameter_A", "width_A"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive, got {value}")
        low, high = DIAMETER_LIMITS_A
        if not low <= self.diameter_A <= high:
            raise ValueError(f"diameter_A must lie in [{low:g}, {high:g}], got {self.diameter_A:g}")
        if self.elasticity == "anisotropic" and not set(self.defects) & set(OF_STRAIGHT_LINES):
            raise ValueError(
                f"anisotropic elasticity needs a straight line: give --defect {' | '.join(OF_STRAIGHT_LINES)} as well"
            )
        if self.burgers is not None and not set(self.defects) & set(ON_SLIP_SYSTEM):
            raise ValueError(
                f"a Burgers vector needs a dislocation: give --defect {' | '.join(ON_SLIP_SYSTEM)} as well"
            )
        if self.width_A is not None and "dissociated" not in self.defects:
            raise ValueError("width_A needs a dissociated dislocation: give --defect dissociated as well")


def build_crystal(
    built: BuiltCrystal, lattice: Lattice, orientation: Array, reflection: Reflection | None = None
) -> "Crystal":
    """The crystal that ``built`` describes; without a reflection the first slip system is taken.

    Raises
    ------
    ValueError
        If the Burgers vector is not a perfect one of the lattice, or the lattice cannot hold a defect.
    """
    from cdi.crystal import Crystal
    from cdi.shapes.named import build_shape

    shape = build_shape(built.shape, built.diameter_A, lattice=lattice, orientation=orientation)
    radius = float(shape.extent(np.eye(3)).min()) / 2
    off_site = orientation @ (OFF_SITE @ lattice.cell)
    defects = []
    for number, name in enumerate(built.defects):
        aside = (number - (len(built.defects) - 1) / 2) * radius / 2 * np.array([0.36, 0.48, 0.8])
        place = Place(built, lattice, orientation, shape, radius, off_site + aside, reflection)
        defects.append(BUILDERS[name](place))
    return Crystal(lattice, shape, orientation, tuple(defects))


@dataclass(frozen=True)
class Place:
    """Where one defect goes: ``point`` (3,) Å and the crystal around it, ``radius`` R in Å."""

    built: BuiltCrystal
    lattice: Lattice
    orientation: Array
    shape: "Shape"
    radius: float
    point: Array
    reflection: Reflection | None

    @property
    def system(self) -> SlipSystem:
        """The slip system that was asked for, or the first that the reflection sees."""
        systems = self.lattice.slip_systems()
        if self.built.burgers is None:
            chosen = [s for s in systems if self.reflection is None or abs(np.dot(s.burgers, self.reflection)) > 1e-9]
        else:
            chosen = [s for s in systems if np.allclose(s.burgers, self.built.burgers)]
        if not chosen:
            known = sorted({str(tuple(abs(b) for b in s.burgers)) for s in systems})
            raise ValueError(
                f"burgers must be a perfect Burgers vector of {self.lattice.structure} "
                f"(the kinds {', '.join(known)} with any signs), got {self.built.burgers}"
            )
        return chosen[0]

    @property
    def first_plane(self) -> tuple[float, float, float]:
        """Plane of the first slip system, in Miller indices."""
        return self.lattice.slip_systems()[0].normal


def _straight(place: Place, character_deg: float) -> "Defect":
    from cdi.defects.media import medium_of
    from cdi.defects.straight_dislocation import dislocation_on

    medium = medium_of(place.lattice, place.orientation, place.built.elasticity)
    return dislocation_on(
        place.lattice, place.system, character_deg=character_deg, point=place.point, orientation=place.orientation,
        medium=medium,
    )  # fmt: skip


def _dissociated(place: Place) -> "Defect":
    from cdi.defects.dissociated_dislocation import dissociated_on
    from cdi.defects.media import medium_of

    _require_fcc_like(place, "dissociated line")
    entry = MATERIALS.get(place.lattice.formula)
    energy = None if place.built.width_A is not None or entry is None else entry.stacking_fault_energy_mJ_per_m2
    if place.built.width_A is None and energy is None:
        raise ValueError(f"width_A must be given for {place.lattice.formula}, whose stacking-fault energy is not known")
    return dissociated_on(
        place.lattice, place.system, character_deg=CHARACTER_DEG["edge"], point=place.point,
        orientation=place.orientation, width=place.built.width_A, fault_energy_mJ_per_m2=energy,
        medium=medium_of(place.lattice, place.orientation, place.built.elasticity),
    )  # fmt: skip


def _loop(place: Place, *systems: SlipSystem) -> "Defect":
    """A loop of radius R/2 on the first of ``systems`` whose sense the lattice can hold."""
    from cdi.defects.loop_shapes import loop_on

    refused = ValueError("a loop must have a slip system")
    for system in systems:
        try:
            return loop_on(
                place.lattice, system, centre=place.point, radius=place.radius / 2, orientation=place.orientation
            )
        except ValueError as error:
            refused = error
    raise refused


def _partial_loop(place: Place) -> "Defect":
    _require_fcc_like(place, "partial-loop")
    return _loop(place, *slip_systems(SHOCKLEY, place.lattice.cell))


def _frank_loop(place: Place) -> "Defect":
    _require_fcc_like(place, "frank-loop")
    h, k, m = place.first_plane
    senses = ((h / 3, k / 3, m / 3), (-h / 3, -k / 3, -m / 3))
    return _loop(place, *(SlipSystem(burgers, place.first_plane) for burgers in senses))


def _require_fcc_like(place: Place, name: str) -> None:
    if place.lattice.structure not in ("fcc", "diamond"):
        raise ValueError(f"structure must be fcc or diamond to hold a {name}, got {place.lattice.structure}")


def _curved(place: Place) -> "Defect":
    """A 60° line bowed out by R/2 in its slip plane."""
    from cdi.defects.loop_shapes import curved_line
    from cdi.defects.straight_dislocation import dislocation_on

    straight = dislocation_on(
        place.lattice, place.system, character_deg=CHARACTER_DEG["mixed"], point=place.point,
        orientation=place.orientation,
    )  # fmt: skip
    along, up = straight.direction.numpy(), straight.normal.numpy()
    half = float(np.linalg.norm(place.shape.extent(np.eye(3)))) / 2
    t = np.linspace(-1, 1, 33)[:, None]
    bow = place.radius / 2 * np.exp(-((1.5 * half / place.radius * t) ** 2)) * np.cross(up, along)
    points = place.point + half * t * along + bow
    return curved_line(points, straight.burgers, up, poisson_ratio=place.lattice.poisson_ratio, far=100 * place.radius)


def _junction(place: Place) -> "Defect":
    from cdi.defects.dislocation_network import junction_on

    first = place.system
    b = place.lattice.direction(first.burgers)
    for second in place.lattice.slip_systems():
        reacts = float(b @ place.lattice.direction(second.burgers)) < -1e-6 * float(b @ b)
        if second.normal != first.normal and reacts and not np.allclose(np.add(first.burgers, second.burgers), 0):
            return junction_on(
                place.lattice, (first, second), centre=place.point, length=place.radius / 2,
                reach=100 * place.radius, orientation=place.orientation,
            )  # fmt: skip
    raise ValueError(f"structure must have slip systems that react to hold a junction, got {place.lattice.structure}")


def _stacking_fault(place: Place) -> "Defect":
    from cdi.defects.stacking_fault import FAULTS, stacking_fault_on

    family = FAULTS.get(place.lattice.structure)
    plane = place.first_plane if family is None else slip_systems(family, place.lattice.cell)[0].normal
    return stacking_fault_on(place.lattice, plane, point=place.point, orientation=place.orientation)


def _twin(place: Place) -> "Defect":
    """A boundary R/3 above the middle."""
    from cdi.defects.twin_boundary import TWINS, twin_boundary_on

    family = TWINS.get(place.lattice.structure)
    plane = place.first_plane if family is None else slip_systems(family, place.lattice.cell)[0].normal
    up = place.orientation @ place.lattice.plane_normal(plane)
    point = place.point + place.radius / 3 * up / np.linalg.norm(up)
    return twin_boundary_on(place.lattice, plane, point=point, orientation=place.orientation)


def _vacancies(place: Place) -> "Defect":
    """30 % of the sites empty at the centre, a width of R/3, neighbours relaxed inwards by a fifth of an atom."""
    from cdi.defects.vacancies import VacancyCloud
    from cdi.shapes.shape import as_parameter

    values = (place.point, place.radius / 3, 0.3, -0.2)
    centre, width, fraction, relaxation = (as_parameter(value) for value in values)
    return VacancyCloud(centre, width, fraction, relaxation, place.lattice.poisson_ratio)


def _void(place: Place) -> "Defect":
    from cdi.defects.vacancies import Void
    from cdi.shapes.shape import as_parameter

    return Void(as_parameter(place.point), as_parameter(place.radius / 3))


def _surface_strain(place: Place) -> "Defect":
    """The surface layer pressed inwards by 1 % at most, over a depth of R/6."""
    from cdi.defects.surface_strain import SurfaceStrain
    from cdi.shapes.shape import as_parameter

    return SurfaceStrain(place.shape, as_parameter(-0.01), as_parameter(place.radius / 6))


BUILDERS: dict[str, Callable[[Place], "Defect"]] = {
    "screw": lambda place: _straight(place, CHARACTER_DEG["screw"]),
    "mixed": lambda place: _straight(place, CHARACTER_DEG["mixed"]),
    "edge": lambda place: _straight(place, CHARACTER_DEG["edge"]),
    "dissociated": _dissociated,
    "loop": lambda place: _loop(place, place.system),
    "partial-loop": _partial_loop,
    "frank-loop": _frank_loop,
    "curved": _curved,
    "junction": _junction,
    "stacking-fault": _stacking_fault,
    "twin": _twin,
    "vacancies": _vacancies,
    "void": _void,
    "surface-strain": _surface_strain,
}
