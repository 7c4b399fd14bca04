"""The Bragg object: analytic transform, agreement with atoms, and what it must not see."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdi.ambiguity import inverted, twin
from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import StraightDislocation, dislocation_on
from cdi.fourier import amplitude_from_object, centre_pad
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.scattering import object_amplitude
from cdi.scattering.amplitude import amplitude
from cdi.scattering.bragg_object import bragg_object
from cdi.scattering.object_amplitude import bragg_amplitude
from cdi.scattering.structure_factor import structure_factor
from cdi.shapes.ball import Ball
from cdi.shapes.polyhedron import Polyhedron, truncated_octahedron
from data.recipe import Recipe
from data.sampling import draw_crystal

Array = NDArray[np.float64]
GOLD = Lattice.of_material("Au")
SHEAR = np.eye(3) + np.array([[0, 0.15, -0.1], [0, 0, 0.12], [0, 0, 0]])


def grid_for(crystal: Crystal, reflection: tuple[int, int, int], *, offset: float = 0.0, ratio: float = 2.6) -> QGrid:
    """Sheared and uneven, oversampling every axis by at least ``ratio``, its centre ``offset`` voxels beside G."""
    shape = (20, 24, 22)
    voxel = SHEAR * (crystal.shape.extent(np.linalg.inv(SHEAR).T) * ratio / np.asarray(shape))[:, None]
    step = 2 * np.pi * np.linalg.inv(voxel).T / np.asarray(shape)[:, None]
    return QGrid(crystal.reflection_vector(reflection) + offset * (step[0] - step[2]), step, shape)


def overlap(a: NDArray[np.complexfloating], b: NDArray[np.complexfloating]) -> float:
    """|⟨a, b⟩| / ‖a‖‖b‖."""
    return float(abs(np.vdot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b))


def dislocated(rotation: Array, character: float, *, system: int = 3, diameter: float = 120.0) -> Crystal:
    line = dislocation_on(
        GOLD, GOLD.slip_systems()[system], character_deg=character, point=np.array([8.0, -5, 11]), orientation=rotation
    )
    return Crystal(GOLD, truncated_octahedron(0.9 * diameter, rotation, ratio=1.2), rotation, (line,))


def test_a_ball_scatters_as_a_ball() -> None:
    """F_cell(|Q|)/V_cell · 3 V (sin x − x cos x)/x³, x = qR: within 1 % of the peak everywhere, in electrons."""
    crystal = Crystal(GOLD, Ball.of_diameter(400))
    grid = grid_for(crystal, (1, 1, 1), ratio=2.5)
    found = bragg_amplitude([crystal], [grid], [(1, 1, 1)])[0].numpy()
    x = 200 * np.linalg.norm(np.stack(grid.axes(), -1) - grid.centre, axis=-1).clip(1e-6)
    cells = 4 / 3 * np.pi * 200**3 / GOLD.cell_volume
    expected = cells * np.where(x < 1e-2, 1.0, 3 * (np.sin(x) - x * np.cos(x)) / x**3)
    expected = expected * structure_factor(GOLD, (1, 1, 1), grid.modulus())
    assert np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


@pytest.mark.parametrize("character", [0.0, 60.0, 90.0])
def test_agreement_of_the_bragg_object_with_atoms(character: float, rotation: Array) -> None:
    """Normalised overlap of the complex amplitudes ≥ 0.99 at 120 Å, where q·u is largest; printed."""
    crystal = dislocated(rotation, character)
    grid = grid_for(crystal, (1, 1, 1), offset=0.7)
    atoms = amplitude(crystal.atoms(), grid)
    value = overlap(bragg_amplitude([crystal], [grid], [(1, 1, 1)])[0].numpy(), atoms)
    print(f"overlap of atoms and Bragg object, Au 111, 120 Å, {character:.0f}°: {value:.4f}")
    assert value > 0.99


@pytest.mark.parametrize("index", [1, 6, 9])
def test_agreement_for_crystals_as_they_are_drawn(index: int) -> None:
    """The same for crystals of a recipe: any shape, lattice, reflection, strain and number of lines."""
    recipe = Recipe("agreement", 1, shape=(20, 24, 22), diameter_A=(100, 120), class_fractions=(0.1, 0.3, 0.3, 0.3))
    drawn = draw_crystal(recipe, np.random.default_rng([7, index]))
    ((reflection, grid),) = drawn.peaks
    atoms = amplitude(drawn.crystal.atoms(), grid)
    name = f"{drawn.crystal.lattice.formula} {reflection} {drawn.defect}"
    value = overlap(bragg_amplitude([drawn.crystal], [grid], [reflection])[0].numpy(), atoms)
    print(f"overlap of atoms and Bragg object, {name}: {value:.4f}")
    assert value > 0.99


def test_the_phase_is_plus_g_dot_u(rotation: Array) -> None:
    """And a grid centred beside G adds the ramp (centre − G)·r."""
    crystal = dislocated(rotation, 60.0)
    grid = grid_for(crystal, (2, 0, 0), offset=0.4)
    obj = bragg_object([crystal], [grid], [(2, 0, 0)])
    G = crystal.reflection_vector((2, 0, 0))
    index = np.array([7, 3, 6])
    point = (index - np.array([5, 6, 5])) @ grid.voxel
    u = crystal.displacement(torch.as_tensor(point)).numpy()
    assert float(obj.phase[0, 7, 3, 6]) == pytest.approx(G @ u + (grid.centre - G) @ point)


def test_a_screw_with_g_dot_b_zero_is_invisible(rotation: Array) -> None:
    """Its displacement is along b: G·u = 0 and the pattern of the perfect crystal remains, to rounding."""
    system = next(i for i, s in enumerate(GOLD.slip_systems()) if abs(np.dot(s.burgers, (1, 1, 1))) < 1e-9)
    hidden = dislocated(rotation, 0.0, system=system)
    perfect = Crystal(GOLD, hidden.shape, rotation)
    grid = grid_for(hidden, (1, 1, 1))
    with_line, without = bragg_amplitude([hidden, perfect], [grid] * 2, [(1, 1, 1)] * 2)
    assert (with_line - without).norm() < 1e-6 * without.norm()
    edge = dislocated(rotation, 90.0, system=system)
    assert (bragg_amplitude([edge], [grid], [(1, 1, 1)])[0] - without).norm() > 1e-3 * without.norm()


def test_the_twin_has_the_same_intensity(rotation: Array) -> None:
    """|F|² of conj(ρ(−r)) equals that of ρ, on an uneven grid."""
    crystal = dislocated(rotation, 60.0)
    grid = grid_for(crystal, (2, 0, 0), offset=0.3)
    density = centre_pad(bragg_object([crystal], [grid], [(2, 0, 0)]).density[0], grid.shape)
    intensity = amplitude_from_object(density).abs().square()
    torch.testing.assert_close(amplitude_from_object(twin(density)).abs().square(), intensity)
    assert (twin(density) - density).norm() > 0.1 * density.norm()


def test_the_twin_dislocation_lies_opposite_with_opposite_burgers_vector(rotation: Array) -> None:
    """(r₀, b, ξ) → (−r₀, −b, ξ) in a centrosymmetric crystal: equal intensity on the same grid."""
    crystal = dislocated(rotation, 60.0)
    line = crystal.defects[0]
    assert isinstance(line, StraightDislocation)
    mirrored = StraightDislocation(-line.burgers, line.direction, line.normal, -line.point, line.medium)
    other = Crystal(GOLD, crystal.shape, rotation, (mirrored,))
    wrong = Crystal(GOLD, crystal.shape, rotation, (replace(line, point=-line.point),))
    grid = grid_for(crystal, (2, 0, 0))
    first, second, third = bragg_amplitude([crystal, other, wrong], [grid] * 3, [(2, 0, 0)] * 3).abs().square()
    assert (first - second).norm() < 1e-5 * first.norm()
    assert (first - third).norm() > 1e-2 * first.norm()


def test_a_batch_equals_one_by_one(rotation: Array) -> None:
    crystals = [dislocated(rotation, 0.0), dislocated(rotation, 90.0, diameter=200)]
    grids = [grid_for(c, (1, 1, 1), offset=0.2) for c in crystals]
    together = bragg_amplitude(crystals, grids, [(1, 1, 1)] * 2)
    for i in range(2):
        torch.testing.assert_close(together[i], bragg_amplitude(crystals[i : i + 1], grids[i : i + 1], [(1, 1, 1)])[0])


def test_oversampling_below_two_after_rotation_is_refused(rotation: Array) -> None:
    """A cube that fits along its own edges no longer does when it is turned."""
    grid = QGrid.orthogonal([0, 0, 1.0], [50, 50, 50], 2.4, (16, 18, 20))
    cubes = [Crystal(GOLD, truncated_octahedron(100, turn, ratio=0.5), turn) for turn in (np.eye(3), rotation)]
    bragg_object(cubes[:1], [grid], [(1, 1, 1)])
    with pytest.raises(ValueError, match="oversampling must be at least 2 along every axis after rotation"):
        bragg_object(cubes[1:], [grid], [(1, 1, 1)])


def test_a_lopsided_crystal_is_whole_or_refused() -> None:
    """A tetrahedron reaches 3/4 of its height to one side of its centroid: nothing may be cut off."""
    normals = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])
    axes = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2.0]])
    turn = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    shape = Polyhedron.centred(normals @ turn.T, np.full(4, 60.0))
    crystal = Crystal(GOLD, shape)
    grid = QGrid.orthogonal(crystal.reflection_vector((1, 1, 1)), shape.extent(np.eye(3)), 2.1, (24, 24, 24))
    try:
        support = bragg_object([crystal], [grid], [(1, 1, 1)]).support.sum()
    except ValueError:
        return
    wider = QGrid.orthogonal(grid.centre, shape.extent(np.eye(3)), 4.2, (48, 48, 48))
    torch.testing.assert_close(support, bragg_object([crystal], [wider], [(1, 1, 1)]).support.sum())


@pytest.mark.parametrize("shape", [(5, 6, 7), (8, 3, 4)])
def test_inversion_is_an_involution_about_half_the_size(shape: tuple[int, int, int]) -> None:
    """Twice is nothing; index N // 2 + k goes to N // 2 − k."""
    volume = torch.as_tensor(np.random.default_rng(0).normal(size=(2, *shape)))
    torch.testing.assert_close(inverted(inverted(volume)), volume)
    centre = [n // 2 for n in shape]
    flipped = inverted(volume)
    assert flipped[1, centre[0], centre[1], centre[2]] == volume[1, centre[0], centre[1], centre[2]]
    x, y, z = centre
    assert flipped[1, x + 1, y - 1, z + 1] == volume[1, x - 1, y + 1, z - 1]


@pytest.mark.parametrize("shape", [(5, 6, 7), (8, 3, 4)])
def test_the_twins_amplitude_is_the_conjugate(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(1)
    density = torch.as_tensor(rng.normal(size=shape) + 1j * rng.normal(size=shape))
    torch.testing.assert_close(amplitude_from_object(twin(density)), amplitude_from_object(density).conj())
    torch.testing.assert_close(twin(twin(density)), density)


def test_fields_in_slabs_are_the_fields_at_once(rotation: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """A box in slabs of few planes gives the amplitude of the whole box."""
    crystal = dislocated(rotation, 60)
    grid = grid_for(crystal, (1, 1, 1), offset=0.4)
    whole = bragg_amplitude([crystal], [grid], [(1, 1, 1)])
    monkeypatch.setitem(object_amplitude.POINTS_AT_ONCE, "cpu", 1200)
    torch.testing.assert_close(bragg_amplitude([crystal], [grid], [(1, 1, 1)]), whole)
