"""Targets: the object asked for is the one that makes the pattern shown."""

from dataclasses import fields, replace
from itertools import permutations, product

import numpy as np
import pytest
import torch

from cdi.fourier import amplitude_from_object, centre_crop, centre_pad
from data.recipe import Recipe
from data.sampling import draw_sample
from data.symmetry import AxisSymmetry
from models.prediction import CLASSES
from training.targets import LINE_WIDTH, Targets, collate, segment_distance, targets

RECIPE = Recipe("targets", 100, seed=5, shape=(24, 32, 24), peak_counts=(1e6, 1e6), class_fractions=(0.1, 1, 1, 1))
SYMMETRIES = [
    AxisSymmetry(order, flips) for order in permutations(range(3)) for flips in product((False, True), repeat=3)
]  # type: ignore[arg-type]


def correlation_with_object(target: Targets) -> float:
    """Pearson correlation of √counts and |F(s e^{iφ})| over the inner 3/4 of each axis.

    Centring pushes voxels that were never measured, zeros, into the rest.
    """
    density = torch.polar(target.support, target.phase)
    shape = tuple(int(n) for n in target.counts.shape)
    amplitude = amplitude_from_object(centre_pad(density, shape)).abs()  # type: ignore[arg-type]
    inner = (shape[0] * 3 // 4, shape[1] * 3 // 4, shape[2] * 3 // 4)
    seen, expected = (centre_crop(volume, inner).flatten() for volume in (target.counts.sqrt(), amplitude))
    return float(np.corrcoef(expected, seen)[0, 1])


@pytest.mark.parametrize("index", [0, 2, 3, 4, 5])
def test_the_object_of_the_targets_makes_the_counts(index: int) -> None:
    """|F|, from support and phase, against √counts: correlation > 0.95, in any orientation of the axes.

    Where the phase winds at most once about a line: single voxels do not resolve the core of g·b = 2.
    """
    sample = draw_sample(RECIPE, index)
    assert all(abs(line.g_dot_b) <= 1 for line in sample.truth.lines)
    assert correlation_with_object(targets(sample)) > 0.95
    for symmetry in SYMMETRIES[index::13]:
        assert correlation_with_object(targets(sample, symmetry)) > 0.95


def test_without_the_ramp_of_centring_they_would_not() -> None:
    """The phase must follow the shift of the peak to the middle: a foreign ramp of two voxels is seen."""
    target = targets(draw_sample(RECIPE, 2))
    ramp = 4 * np.pi * torch.arange(-6, 6)[:, None, None] / 24
    assert correlation_with_object(replace(target, phase=target.phase + ramp)) < 0.9


def test_the_line_density_peaks_on_visible_lines_within_the_crystal() -> None:
    """exp(−d²/2σ²) of the distance in voxels to the nearest visible line, 0 outside the support."""
    checked = 0
    for index in range(6):
        sample = draw_sample(RECIPE, index)
        grid = sample.exposure.grid
        assert grid is not None
        target = targets(sample)
        lines = [line.points @ np.linalg.inv(grid.voxel) for line in sample.truth.lines if line.visible]
        voxels = np.stack(np.meshgrid(*(np.arange(n // 2) - n // 4 for n in grid.shape), indexing="ij"), -1)
        inside = target.support.numpy() > 0
        assert not target.line.numpy()[~inside].any()
        if not lines:
            assert not target.line.any()
            continue
        distance = np.min([segment_distance(voxels.astype(float), line[0], line[-1]) for line in lines], axis=0)
        expected = np.exp(-(distance**2) / (2 * LINE_WIDTH**2))
        np.testing.assert_allclose(target.line.numpy()[inside], expected[inside], atol=1e-5)
        checked += 1
    assert checked > 2


def test_hidden_lines_are_not_asked_for() -> None:
    """Every line with g·b = 0: undetermined, and an empty line volume."""
    recipe = replace(
        RECIPE, hidden_fraction=0.999, elements=("Au",), reflections=((1, 1, 1),), class_fractions=(0, 1, 1, 1)
    )
    target = targets(draw_sample(recipe, 0))
    assert target.determined == 0
    assert not target.line.any()
    assert CLASSES[int(target.defect)] != "none"


def test_geometry_follows_the_symmetry_and_can_be_withheld() -> None:
    """Relabelled axes relabel the direction of G; withheld, all features are 0."""
    sample = draw_sample(RECIPE, 2)
    plain = targets(sample).geometry
    moved = targets(sample, AxisSymmetry((2, 0, 1), (True, False, False))).geometry
    torch.testing.assert_close(moved[:3], torch.stack([-plain[2], plain[0], plain[1]]))
    assert not targets(sample, hide_geometry=True).geometry.any()


def test_a_batch_stacks_and_moves() -> None:
    items = [targets(draw_sample(RECIPE, i)) for i in range(2)]
    batch = collate(items).to("cpu")
    for field in fields(Targets):
        assert torch.equal(getattr(batch, field.name)[1], getattr(items[1], field.name))


def test_distance_to_a_segment() -> None:
    """To the nearest point, ends included."""
    points = np.array([[0, 3.0, 0], [5, 0, 0], [-3, 4, 0], [14, 3, 0]])
    np.testing.assert_allclose(segment_distance(points, np.zeros(3), np.array([10.0, 0, 0])), [3, 0, 5, 5])
