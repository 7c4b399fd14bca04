"""Vortex lines: conserved residues, known dislocations found with their sense, nothing invented."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.ambiguity import inverted, twin
from cdi.crystal import Crystal
from cdi.defects.defect import Defect, DislocationLine
from cdi.defects.dissociated_dislocation import dissociated_on
from cdi.defects.loop_shapes import circular_loop, curved_line
from cdi.defects.smooth_strain import SmoothStrain
from cdi.defects.solid_angle import solid_angle
from cdi.defects.stacking_fault import stacking_fault_on
from cdi.defects.straight_dislocation import StraightDislocation, dislocation_on
from cdi.fourier import amplitude_from_object, centre_crop, centre_pad, object_from_amplitude
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.line_sets import curve_distance, relative_sense
from cdi.retrieval.flux_paths import flux_paths
from cdi.retrieval.residues import crossings, residues
from cdi.retrieval.vortex_lines import VortexCriteria, VortexLine, vortex_lines
from cdi.scattering.bragg_object import bragg_object
from cdi.shapes.polyhedron import truncated_octahedron

Array = NDArray[np.float64]
Reflection = tuple[int, int, int]
GOLD = Lattice.of_material("Au")
SHEAR = np.eye(3) + np.array([[0, 0.15, -0.1], [0, 0, 0.12], [0, 0, 0]])
MIRROR = np.diag([1.0, 1, -1])
SMALL, LARGE = (34, 36, 40), (64, 70, 60)
LEFT_APART = VortexCriteria(merged_within=0)


def crystal_with(rotation: Array, *defects: Defect) -> Crystal:
    """A rotated, uneven gold crystal of 600 Å."""
    return Crystal(GOLD, truncated_octahedron(540, rotation, ratio=1.2), rotation, defects)


def line_on(rotation: Array, system: int, character: float, point: tuple[float, float, float]) -> StraightDislocation:
    chosen = GOLD.slip_systems()[system]
    return dislocation_on(GOLD, chosen, character_deg=character, point=np.array(point), orientation=rotation)


def system_with(winding: float, reflection: Reflection) -> int:
    """The first slip system whose g·b is ``winding``."""
    return next(
        i for i, system in enumerate(GOLD.slip_systems()) if abs(np.dot(system.burgers, reflection) - winding) < 1e-9
    )


def grid_for(crystal: Crystal, reflection: Reflection, shape: tuple[int, int, int]) -> QGrid:
    """Sheared, with uneven voxels, oversampling every axis by 2.3."""
    voxel = SHEAR * (crystal.shape.extent(np.linalg.inv(SHEAR).T) * 2.3 / np.asarray(shape))[:, None]
    step = 2 * np.pi * np.linalg.inv(voxel).T / np.asarray(shape)[:, None]
    return QGrid(crystal.reflection_vector(reflection), step, shape)


def noisy(density: Tensor, amplitude: float, seed: int = 0) -> Tensor:
    """Complex normal noise of root mean square ``amplitude`` on every voxel."""
    parts = np.random.default_rng(seed).normal(size=(2, *density.shape)) * amplitude / np.sqrt(2)
    return density + torch.complex(*torch.as_tensor(parts))


def found_in(
    crystal: Crystal,
    reflection: Reflection,
    shape: tuple[int, int, int],
    *,
    noise: float = 0.0,
    criteria: VortexCriteria | None = None,
) -> tuple[tuple[VortexLine, ...], Array]:
    """Lines in the object of ``crystal``, and the voxel vectors."""
    grid = grid_for(crystal, reflection, shape)
    obj = bragg_object([crystal], [grid], [reflection])
    density = noisy(obj.density[0], noise)
    return vortex_lines(density, obj.support[0] > 0.5, voxel=grid.voxel, criteria=criteria), grid.voxel


def median_gap(line: VortexLine, truth: DislocationLine, voxel: Array) -> float:
    """Median distance in mean voxel widths between points of ``line`` and ``truth``, the worse of both ways."""
    corners = truth.points
    fine = np.concatenate([np.linspace(a, b, 200) for a, b in pairwise(corners)])
    gaps = np.linalg.norm(line.points[:, None] - fine, axis=-1)
    return float(max(np.median(gaps.min(0)), np.median(gaps.min(1))) / np.abs(np.linalg.det(voxel)) ** (1 / 3))


def check_all_found(crystal: Crystal, found: tuple[VortexLine, ...], reflection: Reflection, voxel: Array) -> None:
    """One line for each that winds, within a voxel, with its g·b and sense, and no other."""
    G = crystal.reflection_vector(reflection)
    windings = [round(float(G @ line.burgers) / (2 * np.pi)) for line in crystal.lines()]
    wanted = [(line, winding) for line, winding in zip(crystal.lines(), windings, strict=True) if winding]
    assert len(found) == len(wanted)
    left = list(found)
    for truth, winding in wanted:
        best = min(left, key=lambda line: median_gap(line, truth, voxel))
        left.remove(best)
        assert median_gap(best, truth, voxel) < 1
        assert best.winding * relative_sense(best.dislocation(G), truth) == winding
        assert best.is_closed == truth.is_closed


# Residues and paths.


def test_no_line_ends_within_the_volume() -> None:
    """What enters a cell leaves it: the divergence of the residues is 0 in every cell of a random volume."""
    parts = torch.as_tensor(np.random.default_rng(2).normal(size=(2, 5, 6, 7)))
    flux = residues(torch.complex(*parts))
    assert [tuple(part.shape) for part in flux] == [(5, 5, 6), (4, 6, 6), (4, 5, 7)]
    divergence = sum(torch.diff(part, dim=axis) for axis, part in enumerate(flux))
    assert isinstance(divergence, Tensor)
    assert not divergence.any()
    assert set(torch.cat([part.flatten() for part in flux]).tolist()) == {-1, 0, 1}


def test_a_residue_is_the_sum_of_wrapped_steps() -> None:
    """Against the definition, written naively, in every plaquette of an uneven batch."""
    density = torch.complex(*torch.as_tensor(np.random.default_rng(3).normal(size=(2, 2, 4, 5, 3))))
    values = density.numpy()
    for axis, flux in enumerate(residues(density)):
        for batch, *corner in product(*map(range, flux.shape)):
            b, c = np.eye(3, dtype=int)[(axis + 1) % 3], np.eye(3, dtype=int)[(axis + 2) % 3]
            ring = [values[(batch, *(np.array(corner) + step))] for step in (0 * b, b, b + c, c, 0 * b)]
            turns = sum(np.angle(end / start) for start, end in pairwise(ring)) / (2 * np.pi)
            assert flux[(batch, *corner)] == pytest.approx(turns, abs=1e-9)


def test_the_zero_of_a_linear_field_is_met_exactly() -> None:
    """Bilinear interpolation holds a field linear in r without error: points lie on its line of zeros."""
    index = np.stack(np.meshgrid(*map(np.arange, (7, 8, 9)), indexing="ij"), -1)
    point, along = np.array([3.2, 3.9, 4.1]), np.array([0.3, -0.5, 0.8])
    first = np.cross(along, [1.0, 0.2, 0.1])
    second = np.cross(along, first)
    density = (index - point) @ first + 1j * ((index - point) @ second)
    pierced = crossings(torch.as_tensor(density), torch.ones(density.shape, dtype=torch.bool))
    away = np.cross(pierced.positions(density) - point, along / np.linalg.norm(along))
    assert len(away) > 6
    assert np.abs(away).max() < 1e-10


def test_every_plaquette_lies_on_one_path() -> None:
    """Even in pure noise, where lines meet in many cells; each path goes from cell to cell."""
    density = torch.complex(*torch.as_tensor(np.random.default_rng(4).normal(size=(2, 8, 7, 9))))
    pierced = crossings(density, torch.ones(density.shape, dtype=torch.bool))
    left, entered = pierced.cells
    paths = flux_paths(left, entered, pierced.positions(density.numpy()))
    assert sorted(np.concatenate([path.faces for path in paths])) == list(range(len(left)))
    for path in paths:
        onward = np.roll(path.faces, -1) if path.closed else path.faces[1:]
        np.testing.assert_array_equal(entered[path.faces[: len(onward)]], left[onward])
    within = [path for path in paths if not path.closed]
    ends = np.concatenate([entered[path.faces[-1:]] for path in within])
    assert ((ends < 0) | (ends >= np.array(density.shape) - 1)).any(1).all()


def test_lines_that_meet_in_a_cell_go_straight_on() -> None:
    """Two rows of unit flux along x and y through one cell stay two rows."""
    steps = np.arange(6)
    cells = np.concatenate([np.insert(np.full((6, 2), 3), 0, steps, 1), np.insert(np.full((6, 2), 3), 1, steps, 1)])
    ahead = np.repeat(np.eye(3, dtype=np.int64)[:2], 6, 0)
    order = np.random.default_rng(5).permutation(12)
    paths = flux_paths(cells[order], (cells + ahead)[order], (cells + ahead / 2)[order])
    rows = sorted(sorted(order[path.faces].tolist()) for path in paths)
    assert rows == [list(range(6)), list(range(6, 12))]
    assert flux_paths(cells[:0], cells[:0], np.zeros((0, 3))) == []


# Known lines.

THREE = ((3, 60.0, (20, -30, 40)), (8, 0.0, (-80, 90, -60)), (15, 90.0, (90, 50, -100)))


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_straight_lines_are_found_with_their_sense(number: int, noise: float, rotation: Array) -> None:
    """g·b = 1, −1, 1 of mixed, screw and edge lines in 220; each of both ends lies at the surface."""
    crystal = crystal_with(rotation, *(line_on(rotation, *line) for line in THREE[:number]))
    found, voxel = found_in(crystal, (2, 2, 0), LARGE, noise=noise)
    check_all_found(crystal, found, (2, 2, 0), voxel)
    width = np.linalg.norm(voxel, axis=1).max()
    for line in found:
        depth = -crystal.shape.signed_distance(torch.as_tensor(line.points[[0, -1]])).numpy()
        assert depth.max() < 2 * width
        assert line.confidence > 0.8


def test_a_coarse_object_is_enough(rotation: Array) -> None:
    """A line in 17 × 18 × 20 voxels, within one of them."""
    crystal = crystal_with(rotation, line_on(rotation, *THREE[0]))
    for noise in (0.0, 0.4):
        found, voxel = found_in(crystal, (2, 2, 0), SMALL, noise=noise)
        check_all_found(crystal, found, (2, 2, 0), voxel)


def test_a_line_with_g_dot_b_zero_is_not_there(rotation: Array) -> None:
    """Of the three the 111 reflection sees two."""
    crystal = crystal_with(rotation, *(line_on(rotation, *line) for line in THREE))
    found, voxel = found_in(crystal, (1, 1, 1), LARGE)
    assert len(found) == 2
    check_all_found(crystal, found, (1, 1, 1), voxel)
    assert found_in(crystal, (2, 0, 0), LARGE, noise=0.4)[0] == ()


@pytest.mark.parametrize(("reflection", "winding"), [((2, 2, 0), 2), ((3, 3, 1), 3), ((2, 2, 0), -2)])
def test_a_winding_above_one_is_a_bundle_and_merged(reflection: Reflection, winding: int, rotation: Array) -> None:
    """m = |g·b| lines side by side; merged they are one line with that winding."""
    crystal = crystal_with(rotation, line_on(rotation, system_with(winding, reflection), 60.0, (20, -30, 40)))
    for noise in (0.0, 0.3):
        apart, _ = found_in(crystal, reflection, LARGE, noise=noise, criteria=LEFT_APART)
        assert [line.winding for line in apart] == [1] * abs(winding)
        found, voxel = found_in(crystal, reflection, LARGE, noise=noise)
        check_all_found(crystal, found, reflection, voxel)
        assert found[0].length == pytest.approx(crystal.lines()[0].length, rel=0.12)


@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_a_loop_is_closed(flip: int, noise: float, rotation: Array) -> None:
    """A loop of 150 Å radius: one closed line of its length, in its sense."""
    burgers = flip * rotation @ GOLD.direction(GOLD.slip_systems()[system_with(1, (2, 0, 0))].burgers)
    loop = circular_loop([20, 10, -15], 150, rotation @ np.ones(3), burgers, poisson_ratio=GOLD.poisson_ratio)
    crystal = crystal_with(rotation, loop)
    found, voxel = found_in(crystal, (2, 0, 0), LARGE, noise=noise)
    check_all_found(crystal, found, (2, 0, 0), voxel)
    assert found[0].length == pytest.approx(2 * np.pi * 150, rel=0.03)


def test_a_curved_line_is_followed(rotation: Array) -> None:
    """A bow of 120 Å across the crystal, every point of both curves within two voxels of the other."""
    system = GOLD.slip_systems()[system_with(1, (2, 0, 0))]
    normal = rotation @ np.asarray(system.normal)
    along = rotation @ GOLD.direction(system.burgers)
    along, normal = along / np.linalg.norm(along), normal / np.linalg.norm(normal)
    s = np.linspace(-1, 1, 30)[:, None]
    bow = 500 * s * along + 120 * np.cos(np.pi * s) * np.cross(normal, along)
    burgers = rotation @ GOLD.direction(system.burgers)
    crystal = crystal_with(rotation, curved_line(bow, burgers, normal, poisson_ratio=0.4, far=1e5))
    found, voxel = found_in(crystal, (2, 0, 0), LARGE, noise=0.2)
    check_all_found(crystal, found, (2, 0, 0), voxel)
    inside = found[0].dislocation(crystal.reflection_vector((2, 0, 0)))
    assert curve_distance(inside, crystal.lines()[0]) < 2 * np.linalg.norm(voxel, axis=1).max()


def test_twin_and_conjugate_turn_the_line_as_they_should(rotation: Array) -> None:
    """Conjugate: same place, opposite sense. Inverted: −r, same sense. Twin: −r, opposite sense."""
    crystal = crystal_with(rotation, line_on(rotation, *THREE[0]))
    grid = grid_for(crystal, (2, 2, 0), LARGE)
    obj = bragg_object([crystal], [grid], [(2, 2, 0)])
    density, support = obj.density[0], obj.support[0] > 0.5

    def points(volume: Tensor, inside: Tensor) -> Array:
        (line,) = vortex_lines(volume, inside, voxel=grid.voxel)
        return line.points

    drawn, other = points(density, support), inverted(support)
    np.testing.assert_allclose(points(density.conj(), support), drawn[::-1], atol=1e-6)
    np.testing.assert_allclose(points(inverted(density), other), -drawn[::-1], atol=1e-6)
    np.testing.assert_allclose(points(twin(density), other), -drawn, atol=1e-6)


@pytest.mark.parametrize("voxel", [SHEAR, SHEAR * np.array([[1.0], [2.5], [0.6]]), MIRROR @ SHEAR])
def test_points_and_sense_are_those_of_space_not_of_the_grid(voxel: Array) -> None:
    """exp(iθ) about ξ winds by +1 about ξ in sheared, flat and left-handed voxels; counted from N // 2."""
    shape, point = (16, 17, 19), np.array([0.7, -1.1, 0.4])
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij"), -1)
    xi = np.array([0.3, 0.4, 0.866])
    xi /= np.linalg.norm(xi)
    x = np.cross([0, 1.0, 0], xi)
    away = index @ voxel - point
    density = away @ x + 1j * (away @ np.cross(xi, x) * np.linalg.norm(x))
    (line,) = vortex_lines(density / np.abs(density), np.ones(shape, bool), voxel=voxel)
    offset = np.cross(line.points - point, xi)
    assert np.linalg.norm(offset, axis=1).max() < 0.5 * np.linalg.norm(voxel, axis=1).max()
    assert (line.points[-1] - line.points[0]) @ xi > 0.9 * line.length
    in_voxels = vortex_lines(density / np.abs(density), np.ones(shape, bool))[0].points
    expected = in_voxels @ voxel
    np.testing.assert_allclose(line.points, expected if np.linalg.det(voxel) > 0 else expected[::-1])


def test_a_line_at_finite_resolution_is_dark_and_found(rotation: Array) -> None:
    """Where the pattern fades towards the edge of the detector, amplitudes of all phases mix at the core."""
    crystal = crystal_with(rotation, line_on(rotation, *THREE[0]))
    grid = grid_for(crystal, (2, 2, 0), LARGE)
    offset = np.stack(np.meshgrid(*((np.arange(n) - n // 2) / n for n in LARGE), indexing="ij"), -1)
    fading = torch.as_tensor(np.exp(-((np.linalg.norm(offset, axis=-1) / 0.25) ** 2)))
    exact = bragg_object([crystal], [grid], [(2, 2, 0)])
    amplitude = amplitude_from_object(centre_pad(exact.density[0], LARGE))
    half = (LARGE[0] // 2, LARGE[1] // 2, LARGE[2] // 2)
    density = centre_crop(object_from_amplitude(amplitude * fading), half)
    found = vortex_lines(density, exact.support[0] > 0.5, voxel=grid.voxel)
    check_all_found(crystal, found, (2, 2, 0), grid.voxel)
    assert found[0].amplitude_depth > 0.25
    assert abs(found_in(crystal, (2, 2, 0), LARGE)[0][0].amplitude_depth) < 0.05


# Nothing invented.


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.5])
def test_smooth_strain_is_no_line(noise: float, rotation: Array) -> None:
    """However far the phase runs: here over more than three turns, by less than a quarter a voxel."""
    k = torch.tensor([[0.004, 0.002, -0.001], [-0.001, 0.003, 0.004]])
    strain = SmoothStrain(torch.tensor([[3.0, -1, 2], [-1, 2.5, 1.5]]), k, torch.tensor([1.1, -0.6]))
    crystal = crystal_with(rotation, strain)
    obj = bragg_object([crystal], [grid_for(crystal, (2, 2, 0), LARGE)], [(2, 2, 0)])
    inside = obj.phase[obj.support > 0.5]
    assert float(inside.max() - inside.min()) > 6 * np.pi
    assert max(float(torch.diff(obj.phase[0], dim=axis).abs().max()) for axis in range(3)) < np.pi / 2
    assert found_in(crystal, (2, 2, 0), LARGE, noise=noise)[0] == ()
    assert found_in(crystal_with(rotation), (2, 2, 0), LARGE, noise=noise)[0] == ()


def test_what_noise_tears_open_is_not_taken_for_lines(rotation: Array) -> None:
    """At a noise of 0.7 of the amplitude there are hundreds of residues, and no line; without the criteria dozens."""
    crystal = crystal_with(rotation)
    lax = VortexCriteria(length=0, confidence=0, amplitude=0)
    assert len(found_in(crystal, (1, 1, 1), LARGE, noise=0.7, criteria=lax)[0]) > 20
    assert found_in(crystal, (1, 1, 1), LARGE, noise=0.7)[0] == ()


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_a_stacking_fault_is_no_line(noise: float, rotation: Array) -> None:
    """A phase step of 2π/3 (g·R = ±1/3, ±2/3) is no vortex."""
    crystal = crystal_with(rotation, stacking_fault_on(GOLD, (1, 1, 1), point=np.ones(3), orientation=rotation))
    for reflection, steps in (((2, 0, 0), 2 / 3), ((2, 2, 0), 1 / 3)):
        shift = crystal.defects[0].fault_shifts[0] @ crystal.reflection_vector(reflection) / (2 * np.pi)
        assert abs(shift) == pytest.approx(steps)
        assert found_in(crystal, reflection, LARGE, noise=noise)[0] == ()


def test_a_dissociated_dislocation_is_one_line_at_one_partial(rotation: Array) -> None:
    """g·b = 2/3 + 1/3: the whole turn lies at the partial of 2/3; ±1/3 and ∓1/3 give none."""
    seen, hidden = (
        crystal_with(
            rotation,
            dissociated_on(
                GOLD, GOLD.slip_systems()[i], character_deg=60, point=np.ones(3), orientation=rotation, width=100.0
            ),
        )
        for i in (15, 3)
    )
    (line,), voxel = found_in(seen, (1, 1, 1), LARGE, noise=0.2)
    G = seen.reflection_vector((1, 1, 1))
    shares = [float(G @ partial.burgers) / (2 * np.pi) for partial in seen.lines()]
    assert sorted(shares) == pytest.approx([1 / 3, 2 / 3])
    assert line.winding == 1
    assert median_gap(line, seen.lines()[int(np.argmax(shares))], voxel) < 1
    assert found_in(hidden, (1, 1, 1), LARGE, noise=0.2)[0] == ()


def box_with_line(depth: float) -> tuple[Array, NDArray[np.bool_]]:
    """Phase and support of a box with a straight line along x, ``depth`` voxels below its face of low y."""
    shape = (24, 22, 20)
    support = np.zeros(shape, bool)
    support[4:20, 3:19, 4:16] = True
    _, y, z = np.meshgrid(*map(np.arange, shape), indexing="ij")
    return np.arctan2(z - 9.6, y - (2.5 + depth)), support


def test_a_line_along_the_surface_is_an_artefact() -> None:
    """Within a voxel of the boundary all along: rejected, and kept where the criterion allows it."""
    phase, support = box_with_line(0.7)
    assert vortex_lines(np.exp(1j * phase), support) == ()
    assert len(vortex_lines(np.exp(1j * phase), support, criteria=VortexCriteria(edge=0))) == 1
    phase, support = box_with_line(3.2)
    assert len(vortex_lines(np.exp(1j * phase), support)) == 1


def test_a_line_in_the_dark_is_an_artefact_but_a_dark_core_is_none() -> None:
    phase, support = box_with_line(6.4)
    y, z = (np.arange(n) for n in (22, 20))
    radius = np.hypot(y[:, None] - 8.9, z - 9.6)
    hole, core = np.where(radius < 4, 0.1, 1.0), 1 - 0.95 * np.exp(-((radius / 1.2) ** 2))
    assert vortex_lines(hole * np.exp(1j * phase), support) == ()
    (line,) = vortex_lines(core * np.exp(1j * phase), support)
    assert line.amplitude_depth > 0.4
    assert line.confidence == 1


@pytest.mark.parametrize(("low", "number"), [(3.1, 2), (6.4, 1)])
def test_lines_that_the_surface_joins_are_told_apart(low: float, number: int) -> None:
    """A frame whose two short sides run along the faces is two lines across, not a loop; a smaller one is a loop."""
    shape = (22, 26, 20)
    support = np.zeros(shape, bool)
    support[3:19, 3:23, 4:16] = True
    index = torch.as_tensor(np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1), dtype=torch.float64)
    high = 25 - low
    frame = torch.tensor(
        [[9, low, 9.6], [5.6, 12.5, 9.6], [9, high, 9.6], [16, high, 9.6], [16, low, 9.6]], dtype=torch.float64
    )
    phase = -solid_angle(index, frame) / 2
    found = vortex_lines(torch.polar(torch.ones_like(phase), phase), torch.as_tensor(support))
    assert [line.is_closed for line in found] == [number == 1] * number
    assert {line.winding for line in found} == {1}
    if number == 2:
        across = sorted(float(line.points[-1, 1] - line.points[0, 1]) for line in found)
        assert across[0] < -15
        assert across[1] > 15


def test_lines_of_opposite_sense_are_never_merged() -> None:
    """A dipole of 3 voxels: two lines of 1, one each way, though merging reaches further; circuits doubt it."""
    away, support = box_with_line(5.4)
    back, _ = box_with_line(8.4)
    density = np.exp(1j * (away - back))
    found = vortex_lines(density, support, criteria=VortexCriteria(merged_within=4))
    assert [line.winding for line in found] == [1, 1]
    assert sum(np.sign(line.points[-1, 0] - line.points[0, 0]) for line in found) == 0
    closer = np.exp(1j * (away - box_with_line(6.9)[0]))
    assert vortex_lines(closer, support) == ()


def test_a_found_line_is_a_dislocation_as_the_reflection_tells(rotation: Array) -> None:
    """Its Burgers vector winds by 2π m in G and has no part beside G."""
    G = GOLD.reflection_vector((2, 2, 0)) @ rotation
    line = VortexLine(np.array([[0.0, 0, 0], [1, 2, 3]]), 2, 0.0, 1.0).dislocation(G)
    assert G @ line.burgers == pytest.approx(4 * np.pi)
    np.testing.assert_allclose(np.cross(G, line.burgers), 0, atol=1e-12)


# What is refused.

FLAT = np.ones((4, 5, 6), complex)
WHOLE = np.ones((4, 5, 6), bool)


def test_a_real_density_is_refused() -> None:
    with pytest.raises(ValueError, match="density must be complex"):
        vortex_lines(FLAT.real, WHOLE)  # type: ignore[arg-type]


def test_a_density_with_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="density must be finite"):
        vortex_lines(FLAT * np.nan, WHOLE)


def test_a_support_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"support must be bool of shape \(4, 5, 6\)"):
        vortex_lines(FLAT, WHOLE[1:])


def test_an_empty_support_is_refused() -> None:
    with pytest.raises(ValueError, match="support must hold at least one voxel"):
        vortex_lines(FLAT, ~WHOLE)


def test_voxels_in_a_plane_are_refused() -> None:
    with pytest.raises(ValueError, match="voxel must be three independent vectors"):
        vortex_lines(FLAT, WHOLE, voxel=[[1, 0, 0], [0, 1, 0], [1, 1, 0]])


@pytest.mark.parametrize("name", ["edge", "amplitude", "length", "confidence", "merged_within"])
def test_a_negative_criterion_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be finite and not negative, got -1"):
        VortexCriteria(**{name: -1.0})


@pytest.mark.parametrize("name", ["amplitude", "confidence"])
def test_a_share_above_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at most 1, got 1.5"):
        VortexCriteria(**{name: 1.5})


def test_a_support_of_one_voxel_holds_no_line() -> None:
    alone = np.zeros_like(WHOLE)
    alone[1, 2, 3] = True
    assert vortex_lines(FLAT, alone) == ()
