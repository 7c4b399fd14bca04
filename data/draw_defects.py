"""What a drawn crystal holds: one function a family of defects, chosen by the sample's class.

Lines lie in the crystal's inner part and cross enough of it to count; what misses is drawn again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cdi.crystal import Crystal
from cdi.defects.classes import CHARACTERS, LOOP_OR_NETWORK, PARTIAL_OR_FAULT
from cdi.defects.defect import Defect
from cdi.defects.dislocation_network import junction_on
from cdi.defects.dissociated_dislocation import dissociated_on
from cdi.defects.flat_punch import FlatPunch
from cdi.defects.loop_shapes import curved_line, loop_on
from cdi.defects.media import medium_of
from cdi.defects.stacking_fault import FAULTS, stacking_fault_on
from cdi.defects.straight_dislocation import dislocation_on
from cdi.lattices.slip import SHOCKLEY, SlipSystem, slip_systems
from cdi.pattern import Reflection
from cdi.shapes.shape import as_array
from data.random_values import log_uniform, point_in_ball, unit_vector
from data.recipe import Recipe

Array = NDArray[np.float64]
Generator = np.random.Generator

LINE_COUNT_WEIGHTS = (0.6, 0.25, 0.15)
SHORTEST_CHORD = 0.45
"""A line must have at least this fraction of the crystal's diameter within it to count as inside."""
LOOP_RADIUS = (0.25, 0.6)
"""Radius of a loop over the crystal's radius."""
EMITTED_RADIUS = (0.15, 0.7)
"""Radius of a half-loop that a surface has let go over the crystal's radius."""
EMITTED_CHORD = 0.15
"""What ``SHORTEST_CHORD`` is for other lines."""
FAR = 100.0
"""How many radii away the return paths of lines that end at the surface run."""
ATTEMPTS = 200


@dataclass(frozen=True)
class Surroundings:
    """What a family's draw looks at: the crystal, its radius in Å, and the slip systems that it may use."""

    crystal: Crystal
    radius: float
    systems: list[SlipSystem]
    elasticity: str

    def point(self, generator: Generator, reach: float = 0.6) -> Array:
        """A point ``(3,)`` in Å within ``reach`` of the radius."""
        return point_in_ball(reach * self.radius, generator)

    def system(self, generator: Generator) -> SlipSystem:
        """One of the systems."""
        return self.systems[generator.integers(len(self.systems))]


def draw_defects(
    recipe: Recipe, defect: str, crystal: Crystal, reflection: Reflection, generator: Generator
) -> tuple[Defect, ...]:
    """The dislocations and faults of a crystal of class ``defect``; none for ``none``.

    Raises
    ------
    ValueError
        If none of ``ATTEMPTS`` draws meets the crystal.
    """
    hidden = generator.random() < recipe.hidden_fraction
    elasticity = "anisotropic" if generator.random() < recipe.anisotropic_fraction else "isotropic"
    if defect == "none":
        return ()
    systems = _systems(recipe, crystal, reflection, hidden=hidden)
    around = Surroundings(crystal, float(crystal.shape.extent(np.eye(3)).min()) / 2, systems, elasticity)
    if defect in CHARACTERS:
        count = draw_count(recipe.max_lines, generator)
        angles = draw_characters(defect, count, generator)
        return tuple(_crossing(partial(_straight, around, angle, generator), crystal) for angle in angles)
    # Only where it is asked for: recipes without it go on to draw what they drew before there was it.
    if defect == PARTIAL_OR_FAULT and recipe.emitted_fraction and generator.random() < recipe.emitted_fraction:
        return _emitted(around, draw_count(recipe.max_lines, generator), generator)
    families = [draw for draw, holds in FAMILIES[defect].items() if holds(crystal)]
    family = families[generator.integers(len(families))]
    return (_crossing(partial(family, around, generator), crystal),)


def draw_count(most: int, generator: Generator) -> int:
    """Number of lines, from 1 to ``most``."""
    weights = np.asarray([*LINE_COUNT_WEIGHTS, *[LINE_COUNT_WEIGHTS[-1]] * most][:most])
    return 1 + int(generator.choice(most, p=weights / weights.sum()))


def draw_characters(defect: str, count: int, generator: Generator) -> list[float]:
    """Angles between b and ξ in degrees; a pure class gives all of its lines that character."""
    if defect == "screw":
        return [0.0] * count
    if defect == "edge":
        return [90.0] * count
    mixed = [60.0 if generator.random() < 0.5 else generator.uniform(25, 65) for _ in range(count)]
    if count > 1 and generator.random() < 0.5:  # neither purely edge nor purely screw as a whole
        mixed[:2] = [0.0, 90.0]
    return [angle if generator.random() < 0.5 else -angle for angle in mixed]


def _systems(recipe: Recipe, crystal: Crystal, reflection: Reflection, *, hidden: bool) -> list[SlipSystem]:
    """The slip systems with g·b = 0, or those with g·b ≠ 0; all where the reflection leaves no choice."""
    lattice = crystal.lattice
    named = [lattice.slip_systems(family) for family in recipe.slip_families]
    every = [system for family in named for system in family] if named else lattice.slip_systems()
    return [s for s in every if (abs(np.dot(s.burgers, reflection)) < 1e-9) == hidden] or every


def _crossing(draw: Callable[[], Defect], crystal: Crystal, shortest: float = SHORTEST_CHORD) -> Defect:
    """What ``draw`` gives, drawn again until its lines have their length within the crystal.

    A crystal may leave no line that long, say a junction's arms in a small one: then the longest of all draws.
    """
    diameter = float(crystal.shape.extent(np.eye(3)).min())
    longest: tuple[float, Defect] | None = None
    for _ in range(ATTEMPTS):
        defect = draw()
        try:
            lengths = [line.length for line in defect.lines(crystal.shape)]
        except ValueError:  # it misses the crystal
            continue
        if not lengths or max(lengths) > shortest * diameter:
            return defect
        if longest is None or max(lengths) > longest[0]:
            longest = max(lengths), defect
    if longest is not None:
        return longest[1]
    raise ValueError(f"a dislocation must cross the crystal, {ATTEMPTS} draws missed it; take rounder crystal_shapes")


def _straight(around: Surroundings, character_deg: float, generator: Generator) -> Defect:
    crystal = around.crystal
    medium = medium_of(crystal.lattice, crystal.orientation, around.elasticity)
    return dislocation_on(
        crystal.lattice, around.system(generator), character_deg=character_deg, point=around.point(generator),
        orientation=crystal.orientation, medium=medium,
    )  # fmt: skip


def _dissociated(around: Surroundings, generator: Generator) -> Defect:
    """Partials from 10 Å apart, as they relax, to half the radius, as stress tears them."""
    crystal = around.crystal
    return dissociated_on(
        crystal.lattice, around.system(generator), character_deg=generator.uniform(-90, 90),
        point=around.point(generator), orientation=crystal.orientation,
        width=log_uniform((10.0, max(12.0, around.radius / 2)), generator),
        medium=medium_of(crystal.lattice, crystal.orientation, around.elasticity),
    )  # fmt: skip


def _stacking_fault(around: Surroundings, generator: Generator) -> Defect:
    crystal = around.crystal
    family = FAULTS[crystal.lattice.structure]
    planes = sorted({system.normal for system in slip_systems(family, crystal.lattice.cell)})
    return stacking_fault_on(
        crystal.lattice, planes[generator.integers(len(planes))], point=around.point(generator),
        orientation=crystal.orientation,
    )  # fmt: skip


def _partial_loop(around: Surroundings, generator: Generator) -> Defect:
    return _shockley_loop(around, around.point(generator, 0.4), _loop_radius(around, generator), generator)


def _emitted(around: Surroundings, count: int, generator: Generator) -> tuple[Defect, ...]:
    """Shockley half-loops that one place of the surface has let go, where a tool presses if one does.

    So yields a crystal without dislocations (Zheng et al., Nat. Commun. 1, 144, 2010; Mordehai et al., Acta Mater. 59,
    2309, 2011): each loop shears a faulted patch of its own plane.
    """
    crystal, towards = around.crystal, unit_vector(generator)
    pressed = [as_array(defect.point) for defect in crystal.defects if isinstance(defect, FlatPunch)]
    places = pressed or [crystal.shape.surface_point(towards)]
    place = places[generator.integers(len(places))]

    def half_loop() -> Defect:
        radius = generator.uniform(*EMITTED_RADIUS) * around.radius
        return _shockley_loop(around, generator.uniform(0.7, 1.0) * place, radius, generator)

    return tuple(_crossing(half_loop, crystal, EMITTED_CHORD) for _ in range(count))


def _shockley_loop(around: Surroundings, centre: Array, radius: float, generator: Generator) -> Defect:
    """A faulted loop of either sense, whichever is the intrinsic fault."""
    crystal = around.crystal
    systems = slip_systems(SHOCKLEY, crystal.lattice.cell)
    system = systems[generator.integers(len(systems))]
    a, b, c = system.burgers
    loop = partial(loop_on, crystal.lattice, centre=centre, radius=radius, orientation=crystal.orientation)
    try:
        return loop(system)
    except ValueError:  # the other sense of b is the intrinsic fault
        return loop(SlipSystem((-a, -b, -c), system.normal))


def _glide_loop(around: Surroundings, generator: Generator) -> Defect:
    crystal = around.crystal
    return loop_on(
        crystal.lattice, around.system(generator), centre=around.point(generator, 0.4),
        radius=_loop_radius(around, generator), orientation=crystal.orientation,
    )  # fmt: skip


def _curved(around: Surroundings, generator: Generator) -> Defect:
    """A line bowed out in its slip plane by up to its half length, as between two pinning points."""
    crystal, reach = around.crystal, 2.5 * around.radius
    system = around.system(generator)
    straight = dislocation_on(
        crystal.lattice, system, character_deg=generator.uniform(-90, 90), point=around.point(generator, 0.4),
        orientation=crystal.orientation,
    )  # fmt: skip
    along, up = straight.direction.numpy(), straight.normal.numpy()
    t = np.linspace(-1, 1, 13)[:, None]
    bow = generator.choice([-1, 1]) * generator.uniform(0.3, 1.0) * around.radius
    # A bump about the crystal's middle: flat at the far ends, where the line goes on straight.
    points = straight.point.numpy() + reach * t * along + bow * np.exp(-((2.5 * t) ** 2)) * np.cross(up, along)
    return curved_line(
        points, straight.burgers, up, poisson_ratio=crystal.lattice.poisson_ratio, far=FAR * around.radius
    )


def _junction(around: Surroundings, generator: Generator) -> Defect:
    crystal = around.crystal
    pairs = [
        (first, second)
        for first in around.systems
        for second in crystal.lattice.slip_systems()
        if first.normal != second.normal and _react(crystal, first, second)
    ]
    return junction_on(
        crystal.lattice, pairs[generator.integers(len(pairs))], centre=around.point(generator, 0.3),
        length=generator.uniform(0.3, 0.9) * around.radius, reach=FAR * around.radius,
        orientation=crystal.orientation,
    )  # fmt: skip


def _react(crystal: Crystal, first: SlipSystem, second: SlipSystem) -> bool:
    """Frank's rule: two Burgers vectors join where their sum has a smaller square."""
    b = crystal.lattice.direction([first.burgers, second.burgers])
    return float(b[0] @ b[1]) < -1e-6 and bool(np.abs(b.sum(0)).max() > 1e-6)


def _loop_radius(around: Surroundings, generator: Generator) -> float:
    return float(generator.uniform(*LOOP_RADIUS)) * around.radius


def _is_faulted(crystal: Crystal) -> bool:
    return crystal.lattice.structure in ("fcc", "diamond")


def _always(crystal: Crystal) -> bool:
    return True


Family = Callable[[Surroundings, Generator], Defect]
FAMILIES: dict[str, dict[Family, Callable[[Crystal], bool]]] = {
    PARTIAL_OR_FAULT: {_dissociated: _is_faulted, _stacking_fault: _is_faulted, _partial_loop: _is_faulted},
    LOOP_OR_NETWORK: {_glide_loop: _always, _curved: _always, _junction: lambda c: c.lattice.structure == "fcc"},
}
"""How each class beyond straight lines is drawn, and which crystals can hold it."""
