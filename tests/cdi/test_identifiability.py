"""What g·b tells of a line is what the phase and the pattern show of it."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdi.crystal import Crystal
from cdi.defects.line import DislocationLine
from cdi.defects.straight_dislocation import StraightDislocation, dislocation_on
from cdi.grid import QGrid
from cdi.identifiability import (
    candidate_burgers,
    equivalent_burgers,
    fault_contrast,
    identifiability,
    line_identifiability,
    twin,
)
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SlipSystem
from cdi.pattern import Reflection
from cdi.scattering.object_amplitude import bragg_amplitude
from cdi.shapes.polyhedron import Polyhedron, truncated_octahedron

Array = NDArray[np.float64]
GOLD, TUNGSTEN, MAGNESIUM = (Lattice.of_material(name) for name in ("Au", "W", "Mg"))
SLIP = SlipSystem((0.5, -0.5, 0.0), (1, 1, 1))
EDGE_ALONG: Reflection = (2, 2, -4)
"""Along the line of an edge dislocation of ``SLIP``."""


def dislocated(
    rotation: Array, character: float, system: SlipSystem = SLIP, lattice: Lattice = GOLD, *offset: float
) -> Crystal:
    point = np.array(offset or (8.0, -5.0, 11.0))
    line = dislocation_on(lattice, system, character_deg=character, point=point, orientation=rotation)
    return Crystal(lattice, truncated_octahedron(100, rotation, ratio=1.2), rotation, (line,))


def intensities(crystals: list[Crystal], reflection: Reflection) -> torch.Tensor:
    """On one sheared uneven grid that holds them all."""
    skew = np.eye(3) + np.array([[0, 0.15, -0.1], [0, 0, 0.12], [0, 0, 0]])
    shape = (20, 24, 22)
    reach = max((np.abs(np.stack(c.shape.reach(np.linalg.inv(skew).T))).max() for c in crystals), default=0.0)
    voxel = skew * (2 * reach * 2.2 / np.asarray(shape))[:, None]
    step = 2 * np.pi * np.linalg.inv(voxel).T / np.asarray(shape)[:, None]
    grid = QGrid(crystals[0].reflection_vector(reflection) + 0.3 * step[1], step, shape)
    n = len(crystals)
    return bragg_amplitude(crystals, [grid] * n, [reflection] * n).abs().square()


def phase_turns(crystal: Crystal, line: DislocationLine, reflection: Reflection) -> float:
    """Turns of exp(iG·u) on a right-handed circle about ξ at the middle of a straight line."""
    (along,) = line.tangents
    x = np.cross(along, [0.3, -0.8, 0.5])
    x /= np.linalg.norm(x)
    angle = np.linspace(0, 2 * np.pi, 400)[:, None]
    circle = line.points.mean(0) + 9 * (np.cos(angle) * x + np.sin(angle) * np.cross(along, x))
    u = crystal.displacement(torch.as_tensor(circle)).numpy()
    density = np.exp(1j * u @ crystal.reflection_vector(reflection))
    return float(np.angle(density[1:] / density[:-1]).sum() / (2 * np.pi))


@pytest.mark.parametrize("reflection", [(1, 1, 1), (1, -1, 1), (2, 0, 0), (-2, 2, 0), (3, 1, 1)])
@pytest.mark.parametrize("number", [0, 7, 16, 23])
def test_windings_are_the_turns_of_the_phase(number: int, reflection: Reflection, rotation: Array) -> None:
    """For any line sense and character: the circuit of exp(iG·u) closes to g·b turns."""
    crystal = dislocated(rotation, (0.0, 90.0, 60.0, -35.0)[number % 4], GOLD.slip_systems()[number])
    (line,) = crystal.lines()
    told = identifiability(crystal, [reflection]).lines[0]
    assert told.windings[0] == pytest.approx(phase_turns(crystal, line, reflection), abs=1e-9)
    assert told.visible[0] == (abs(np.dot(GOLD.slip_systems()[number].burgers, reflection)) > 0.1)


@pytest.mark.parametrize(
    ("character", "reflection", "strained", "residual"),
    [
        # |b × ξ| times the component of G along the plane's normal, over 2π: a/√2 · √3/a.
        (0.0, (1, 1, 1), False, 0.0),
        (90.0, (1, 1, 1), True, 1.5**0.5),
        (60.0, (1, 1, 1), True, 1.5**0.5 * np.sin(np.radians(60))),
        (90.0, EDGE_ALONG, False, 0.0),
        # G·b = 0 and G·(b × ξ) = 0, but G·b_e ≠ 0: a mixed line never vanishes.
        (60.0, EDGE_ALONG, True, 0.0),
    ],
)
def test_where_nothing_winds_the_pattern_changes_only_where_strain_remains(
    character: float, reflection: Reflection, strained: bool, residual: float, rotation: Array
) -> None:
    """g·b = 0: a strained line leaves a trace in the intensity, another none, to rounding."""
    crystal = dislocated(rotation, character)
    told = identifiability(crystal, [reflection]).lines[0]
    assert not told.visible.any()
    assert bool(told.strained[0]) == strained
    assert told.residuals[0] == pytest.approx(residual, abs=1e-9)
    with_line, without = intensities([crystal, Crystal(GOLD, crystal.shape, rotation)], reflection)
    change = float((with_line - without).norm() / without.norm())
    assert (change > 1e-3) == strained
    assert strained or change < 1e-5


def test_the_residual_is_the_largest_over_the_segments(rotation: Array) -> None:
    """A bent line: screw in its first half, edge in its second."""
    along, across = (rotation @ v / np.linalg.norm(v) for v in (np.array([1.0, -1, 0]), np.array([1.0, 1, -2])))
    burgers = rotation @ GOLD.direction(SLIP.burgers)
    bent = DislocationLine(np.cumsum([-40 * along, 30 * along, 25 * across], axis=0), burgers)
    told = line_identifiability(bent, GOLD, rotation, [(1, 1, 1), (2, 0, 0)])
    assert told.residuals[0] == pytest.approx(1.5**0.5)
    assert told.windings == pytest.approx([0, 1])


@pytest.mark.parametrize(
    ("reflections", "count", "rank"),
    [
        # ½⟨110⟩ with h·b = 1 for 200: four of twelve; 020 as well, h·b = −1: one left; 111: g·b = 0, six in all.
        ([(2, 0, 0)], 4, 1),
        ([(1, 1, 1)], 6, 1),
        ([(2, 0, 0), (0, 2, 0)], 1, 2),
        ([(2, 0, 0), (-4, 0, 0)], 4, 1),
        ([(1, 1, 1), (1, 1, -1), (0, 0, 2)], 2, 2),
        ([(1, 1, 1), (1, -1, 1), (-1, 1, 1)], 1, 3),
    ],
)
def test_burgers_vectors_that_wind_alike(reflections: list[Reflection], count: int, rank: int, rotation: Array) -> None:
    """b = ½[1-10] of gold among the twelve ½⟨110⟩: counted by hand."""
    told = identifiability(dislocated(rotation, 60.0), reflections)
    (line,) = told.lines
    assert line.candidates[0] == pytest.approx([0.5, -0.5, 0])
    assert len(line.candidates) == count
    assert np.ptp(line.candidates @ np.asarray(reflections).T, axis=0) == pytest.approx(0, abs=1e-9)
    assert told.rank == rank
    assert told.determined == line.determined == (count == 1)
    assert told.visible_lines == ((0,) if np.abs(line.windings).max() > 0.5 else ())


@pytest.mark.parametrize("lattice", [GOLD, TUNGSTEN, MAGNESIUM], ids=lambda lattice: lattice.formula)
def test_three_reflections_that_span_space_fix_every_burgers_vector(lattice: Lattice) -> None:
    """And the candidates are those of the slip systems, both senses of each."""
    reflections = [h for h in np.ndindex(3, 3, 3) if lattice.allows((h[0], h[1], h[2]))]
    spanning = next(
        [a, b, c] for a in reflections for b in reflections for c in reflections if abs(np.linalg.det([a, b, c])) > 0.5
    )
    systems = {tuple(np.round(s.burgers, 6)) for s in lattice.slip_systems()}
    for burgers in systems:
        assert {tuple(np.round(c, 6)) for c in candidate_burgers(burgers, lattice)} == systems
        assert len(equivalent_burgers(burgers, lattice, spanning)) == 1
        assert len(equivalent_burgers(burgers, lattice, [(0, 0, 2)])) > 1


def test_partials_are_told_among_partials_and_junction_products_among_their_kind() -> None:
    """12 Shockley pairs ±, 4 Frank ±, stair-rods 6 ± + 3 ± + 6 ± of fcc; ⟨100⟩ beside ½⟨111⟩ in bcc."""
    partials = candidate_burgers((1 / 6, 1 / 6, -1 / 3), GOLD)
    assert len(partials) == 24 + 8 + 12 + 6 + 12
    assert not any(GOLD.is_lattice_vector(b) for b in partials)
    found = equivalent_burgers((1 / 6, 1 / 6, -1 / 3), GOLD, [(1, 1, 1), (2, 0, 0), (0, 2, 0)])
    np.testing.assert_allclose(found, [[1 / 6, 1 / 6, -1 / 3]])
    assert len(candidate_burgers((1, 0, 0), TUNGSTEN)) == 8 + 6
    shockley = candidate_burgers((1 / 3, -1 / 3, 0), MAGNESIUM)
    assert {round(float(np.linalg.norm(MAGNESIUM.direction(b))), 3) for b in shockley} == {
        round(x, 3) for x in (3.21 / 3**0.5, 5.21 / 2, float(np.hypot(3.21 / 3**0.5, 5.21 / 2)))
    }


@pytest.mark.parametrize(
    ("shift", "reflection", "turns"),
    [
        # Hirth & Lothe ch. 10; Williams & Carter ch. 25: α = 2π g·R is ±120° or 0 in fcc.
        ((1 / 6, 1 / 6, -1 / 3), (1, 1, 1), 0.0),
        ((1 / 6, 1 / 6, -1 / 3), (1, 1, -1), -1 / 3),
        ((1 / 6, 1 / 6, -1 / 3), (2, 0, 0), 1 / 3),
        ((-1 / 6, -1 / 6, 1 / 3), (2, 0, 0), -1 / 3),
        ((1 / 6, 1 / 6, -1 / 3), (2, 2, 0), -1 / 3),
        ((1 / 6, 1 / 6, -1 / 3), (0, 0, 6), 0.0),
        ((0, 0, 1 / 2), (0, 0, 3), 0.5),
        ((0, 0, -1 / 2), (0, 0, 3), 0.5),
    ],
)
def test_a_fault_steps_the_phase_by_g_dot_r_modulo_one(
    shift: tuple[float, float, float], reflection: Reflection, turns: float
) -> None:
    assert fault_contrast(shift, [reflection, reflection]) == pytest.approx([turns, turns], abs=1e-9)


def test_a_lattice_vector_makes_no_fault() -> None:
    reflections: list[Reflection] = [(1, 1, 1), (2, 0, 0), (3, -1, 1)]
    for system in GOLD.slip_systems():
        np.testing.assert_array_equal(fault_contrast(system.burgers, reflections), 0)


def of_line(line: DislocationLine, normal: Array, like: StraightDislocation) -> StraightDislocation:
    return StraightDislocation(line.burgers, line.tangents[0], normal, line.points[0], like.medium)  # type: ignore[arg-type]


@pytest.mark.parametrize("reflection", [(2, 0, 0), (1, -1, 1)])
def test_the_twin_lines_scatter_as_the_lines(reflection: Reflection, rotation: Array) -> None:
    """Two lines at once; inverting one alone, or b alone, or the corners alone, is another crystal."""
    systems = [SLIP, SlipSystem((0.5, 0.0, 0.5), (1, 1, -1))]
    defects = [
        dislocation_on(GOLD, s, character_deg=a, point=np.array(p), orientation=rotation)
        for s, a, p in zip(systems, (60.0, 90.0), ([8.0, -5, 11], [-14.0, 9, 3]), strict=True)
    ]
    shape = truncated_octahedron(100, rotation, ratio=1.2)
    crystal = Crystal(GOLD, shape, rotation, tuple(defects))
    lines, normals = crystal.lines(), [d.normal.numpy() for d in defects]

    def with_lines(changed: list[DislocationLine]) -> Crystal:
        return Crystal(
            GOLD, shape, rotation, tuple(of_line(*each) for each in zip(changed, normals, defects, strict=True))
        )

    inverted = list(twin(lines))
    np.testing.assert_allclose([line.tangents[0] for line in inverted], [line.tangents[0] for line in lines])
    one_alone = [inverted[0], lines[1]]
    burgers_alone = [DislocationLine(line.points, -line.burgers) for line in lines]
    corners_alone = [DislocationLine(-line.points, -line.burgers) for line in lines]
    original, same, *others = intensities(
        [crystal, *(with_lines(each) for each in (inverted, one_alone, burgers_alone, corners_alone))], reflection
    )
    assert (same - original).norm() < 1e-5 * original.norm()
    for other in others:
        assert (other - original).norm() > 1e-2 * original.norm()


def test_the_twin_of_a_loop_is_of_the_same_nature() -> None:
    """Opposite corners run the same way, so the area A = ½ Σ r × dr turns round; b·A, its nature, stays."""
    loop = DislocationLine(np.array([[5.0, 0, 1], [0, 7, 2], [-3, -4, 1], [5, 0, 1]]), np.array([1.0, 2.0, -0.5]))
    (mirrored,) = twin([loop])
    (again,) = twin([mirrored])

    def area(line: DislocationLine) -> Array:
        return np.asarray(sum(np.cross(a, b) for a, b in pairwise(line.points)) / 2)

    assert mirrored.is_closed
    np.testing.assert_allclose(area(mirrored), -area(loop))
    assert mirrored.burgers @ area(mirrored) == pytest.approx(loop.burgers @ area(loop))
    np.testing.assert_array_equal(again.points, loop.points)
    np.testing.assert_array_equal(again.burgers, loop.burgers)


def test_a_crystal_without_lines_is_determined(rotation: Array) -> None:
    told = identifiability(Crystal(GOLD, Polyhedron.centred(np.concatenate([np.eye(3), -np.eye(3)]), np.full(6, 40.0)),
                                   rotation), [(1, 1, 1)])  # fmt: skip
    assert told.determined
    assert told.visible_lines == ()


def test_reflections_must_be_given_and_allowed(rotation: Array) -> None:
    crystal = dislocated(rotation, 60.0)
    with pytest.raises(ValueError, match="reflections must hold at least one, got none"):
        identifiability(crystal, [])
    with pytest.raises(ValueError, match="reflection must be allowed in fcc"):
        identifiability(crystal, [(1, 0, 0)])
