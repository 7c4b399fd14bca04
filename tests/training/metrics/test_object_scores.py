"""Support, phase and strain errors are those of cases with a known answer."""

import numpy as np
import pytest
from crystals_to_score import SHAPE, SPANNING, VOXEL, crystal, support, vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from training.metrics import CrystalObject, Line, object_score
from training.metrics.object_scores import core_of, dice, phase_errors, strain_errors
from training.metrics.polylines import nearest
from training.metrics.volumes import grid_points, inverted, wrapped

NOWHERE = np.zeros(SHAPE, bool)


@settings(deadline=None)
@given(offset=st.floats(-10, 10))
def test_a_global_phase_costs_nothing(offset: float) -> None:
    """The truth plus a constant phase scores perfectly."""
    block = np.zeros((8, 8, 8))
    block[2:6, 3:6, 2:7] = 1
    phase = np.random.default_rng(0).uniform(-3, 3, block.shape)
    score = object_score(block, phase + offset, block, phase)
    assert score.dice == 1
    assert score.phase_error == pytest.approx(0, abs=1e-3)
    assert not score.twinned


def test_the_twin_is_as_good_as_the_truth() -> None:
    """Predicting the conjugate inverted object scores perfectly, and says so."""
    phase = crystal(SPANNING, lines=2).volumes.phase
    score = object_score(inverted(support()), -inverted(phase), support(), phase)
    assert score.twinned
    assert score.dice == 1
    assert score.phase_error == pytest.approx(0, abs=1e-5)


def test_support_and_phase_share_one_twin() -> None:
    """Mirroring the support without the phase is an error, not an ambiguity."""
    phase = crystal(SPANNING, lines=2).volumes.phase
    half = object_score(inverted(support()), phase, support(), phase)
    assert half.phase_error > 0.3 or half.dice < 0.9


def test_conjugation_without_inversion_is_an_error() -> None:
    """A vortex of the wrong sign in the right place scores badly."""
    phase = crystal(SPANNING, lines=1).volumes.phase[0]
    assert object_score(support(), -phase, support(), phase).phase_error > 0.3


def test_dice_counts_voxels() -> None:
    """3 and 5 voxels, 2 in common: 2 · 2 / 8. Half a voxel is outside."""
    first, second = np.zeros((2, 5, 6, 7))
    first[1, 2, 2:5], second[1, 2, 3:6], second[3, 3, 2:4], second[0, 0, 0] = 1, 0.6, 1, 0.5
    objects = [CrystalObject(s, np.zeros((1, 5, 6, 7))) for s in (first, second)]
    assert dice(*objects) == pytest.approx(2 * 2 / 8)
    assert np.isnan(dice(*(CrystalObject(np.zeros((5, 6, 7)), np.zeros((1, 5, 6, 7))) for _ in range(2))))


def test_phase_errors_are_taken_on_the_circle_and_over_the_true_support() -> None:
    """3 against −3 rad is 0.28; what is said outside the crystal is not asked for."""
    inside = np.zeros((5, 6, 7))
    inside[1:4, 2:4, 1:6] = 1
    true, given_ = np.full((2, 2, 5, 6, 7), -3.0)
    given_[0] = 3.0
    given_[1, 0] = 1.0
    errors = phase_errors(CrystalObject(np.ones((5, 6, 7)), given_), CrystalObject(inside, true))
    assert errors == pytest.approx([2 * np.pi - 6, 0])


def test_a_known_strain_is_found_on_a_sheared_grid() -> None:
    """u = ε r adds the uniform strain Ĝ·ε·Ĝ in every reflection, whatever wraps, and no ramp of q does."""
    G, at = vectors(SPANNING), grid_points(SHAPE) @ VOXEL
    strain = np.array([[2e-3, 5e-4, 0], [-1e-3, -3e-3, 2e-4], [0, 7e-4, 1e-3]])
    true = crystal(SPANNING).volumes
    said = CrystalObject(true.support, wrapped(true.phase + np.einsum("rj,xyzj->rxyz", G, at @ strain.T)))
    unit = G / np.linalg.norm(G, axis=1, keepdims=True)
    expected = np.abs(np.einsum("ri,ij,rj->r", unit, strain, unit))
    assert strain_errors(said, true, G, VOXEL, NOWHERE) == pytest.approx(expected, rel=1e-6)
    # A core is left out, and only where all six neighbours are inside is there a gradient.
    assert np.isnan(strain_errors(said, true, G, VOXEL, ~NOWHERE)).all()
    thin = CrystalObject(np.where(grid_points(SHAPE)[..., 0] == 0, support(), 0), true.phase)
    assert np.isnan(strain_errors(said, thin, G, VOXEL, NOWHERE)).all()


def test_the_gradient_is_central() -> None:
    """Of a phase error q n² along an axis it is 2 q n, to the last digit."""
    x = grid_points(SHAPE)[..., 0]
    true = CrystalObject(support(), np.zeros((1, *SHAPE)))
    said = CrystalObject(support(), 0.02 * (x**2)[None])
    G = 2 * np.pi * np.linalg.inv(VOXEL)[:, 0][None]  # 2π a voxel along x, nothing along y and z.
    inside = support() > 0.5
    neighbours = [np.roll(inside, by, axis) for axis in range(3) for by in (1, -1)]
    where = inside & np.logical_and.reduce(neighbours)
    reciprocal = (G @ np.linalg.inv(VOXEL))[0, 0] / (G**2).sum()
    expected = np.abs(0.04 * x[where] * reciprocal).mean()
    assert strain_errors(said, true, G, VOXEL, NOWHERE) == pytest.approx([expected])


def test_a_core_is_all_within_two_voxels_of_a_line() -> None:
    """Distances in the index space of a sheared grid, to the whole polyline."""
    corners = np.array([[-3.0, -2, -4], [0.5, 1, 0], [2, -2.5, 5]])
    core = core_of([Line(corners @ VOXEL, np.ones(1))], SHAPE, VOXEL)
    distance = nearest(grid_points(SHAPE).reshape(-1, 3), corners)[0].reshape(SHAPE)
    assert core[distance < 1.97].all()
    assert not core[distance > 2].any()
    assert not core_of([], SHAPE, VOXEL).any()
