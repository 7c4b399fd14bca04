"""Targets: the object asked for is the one that makes the pattern shown, and its lines are where its phase winds."""

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdi.fourier import amplitude_from_object, centre_crop, centre_pad
from cdi.grid import QGrid
from cdi.pattern import Exposure
from cdi.retrieval.residues import residues
from data.drawn_batches import choose, make_batch
from data.recipe import Recipe
from data.sample import Sample
from data.sampling import draw_samples
from models.prediction import CLASSES, MOST_LINES
from models.preprocess import fit_to_grid
from training.targets import LINE_WIDTH, Targets, centred, line_volumes, targets_of_batch, targets_of_samples

# Volumes here are small and cores are shared: threads would wait for each other.
torch.set_num_threads(1)

RECIPE = Recipe(
    "targets", 100, seed=5, shape=(24, 32, 24), reflection_count=2, peak_counts=(1e6, 1e6),
    class_fractions=(0.1, 1, 1, 1), oversampling=(2.2, 2.6), elements=("Au", "Cu"), reflections=((1, 1, 1),),
)  # fmt: skip
NUMBER = 6
Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def drawn() -> Targets:
    return targets_of_batch(make_batch([choose(RECIPE, index) for index in range(NUMBER)], "cpu"))


@pytest.fixture(scope="module")
def stored() -> list[tuple[Sample, ...]]:
    return [draw_samples(RECIPE, index) for index in range(NUMBER)]


def correlation_with_object(targets: Targets, ramp: float = 0.0) -> NDArray[np.float64]:
    """Pearson correlation ``(crystal, reflection)`` of √counts and |F(s e^{iφ})| over the inner 3/4 of each axis.

    Centring pushes voxels that were never measured, zeros, into the rest.
    """
    along = torch.arange(targets.phase.shape[-3])[:, None, None] * ramp
    density = torch.polar(targets.support, targets.phase + along)
    shape = (24, 32, 24)
    amplitude = amplitude_from_object(centre_pad(density, shape)).abs()
    seen, expected = (centre_crop(v, (18, 24, 18)).flatten(2) for v in (targets.patterns.counts.sqrt(), amplitude))
    found = [[np.corrcoef(a, b)[0, 1] for a, b in zip(*pair, strict=True)] for pair in zip(seen, expected, strict=True)]
    return np.array(found)


def test_the_object_of_the_targets_makes_the_counts(drawn: Targets) -> None:
    """|F|, from support and phase, against √counts: correlation > 0.95 in every reflection."""
    assert (correlation_with_object(drawn) > 0.95).all()


def test_without_the_ramp_of_centring_they_would_not(drawn: Targets) -> None:
    """The phase must follow the shift of the peak to the middle: a foreign ramp of two voxels is seen."""
    assert (correlation_with_object(drawn, 4 * np.pi / 24) < correlation_with_object(drawn) - 0.1).all()


def test_drawn_and_stored_crystals_are_asked_for_the_same(drawn: Targets, stored: list[tuple[Sample, ...]]) -> None:
    """Everything but the phase where nothing scatters, which no store keeps."""
    found = targets_of_samples(stored)
    for field in fields(drawn.patterns):
        torch.testing.assert_close(getattr(found.patterns, field.name), getattr(drawn.patterns, field.name))
    for name in ("defect", "determined", "count"):
        assert torch.equal(getattr(found, name), getattr(drawn, name))
    for name in ("line", "winding", "support"):
        torch.testing.assert_close(getattr(found, name), getattr(drawn, name), atol=1e-5, rtol=1e-4)
    inside = drawn.support > 0
    torch.testing.assert_close(found.phase[inside], drawn.phase[inside], atol=1e-4, rtol=1e-5)
    for one, other in zip(found.truths, drawn.truths, strict=True):
        assert (one.defect, one.determined, len(one.lines)) == (other.defect, other.determined, len(other.lines))


def test_patterns_are_those_that_the_predictor_would_see(drawn: Targets, stored: list[tuple[Sample, ...]]) -> None:
    """Counts, gaps and G after centring are ``fit_to_grid``'s."""
    patterns = drawn.patterns
    assert patterns.present.all()
    moved = 0
    for i, samples in enumerate(stored):
        for r, sample in enumerate(samples):
            fitted = fit_to_grid(sample.exposure, RECIPE.shape)
            assert fitted.grid is not None
            np.testing.assert_array_equal(patterns.counts[i, r], fitted.counts)
            np.testing.assert_array_equal(patterns.measured[i, r], True if fitted.mask is None else fitted.mask)
            np.testing.assert_allclose(patterns.G[i, r], fitted.grid.centre, atol=1e-12)
            np.testing.assert_allclose(patterns.voxel[i], fitted.grid.voxel)
            moved += not np.allclose(fitted.grid.centre, sample.exposure.grid.centre)  # type: ignore[union-attr]
    assert moved > 2


def test_gaps_go_with_their_counts() -> None:
    """What comes in from beyond the edge is neither counted nor measured."""
    counts = torch.zeros(1, 2, 16, 18, 20)
    counts[0, 0, 10, 7, 9], counts[0, 1, 8, 9, 10] = 5, 7
    mask = torch.ones_like(counts, dtype=torch.bool)
    mask[0, 0, 12, 7, 9] = False
    moved, seen, shift = centred(counts, mask)
    assert shift.tolist() == [[[2, -2, -1], [0, 0, 0]]]
    assert moved[0, 0, 8, 9, 10] == 5
    assert moved[0, 1, 8, 9, 10] == 7
    assert seen[0, 1].all()
    assert not seen[0, 0, -2:].any()
    assert not seen[0, 0, :, :2].any()
    assert not seen[0, 0, :, :, :1].any()
    gaps = (~seen[0, 0, :-2, 2:, 1:]).nonzero().tolist()
    assert gaps == [[10, 7, 9]]
    assert counts[0, 0, 10, 7, 9] == 5


def brute_force(lines: list[tuple[Array, Array]], voxel: Array, shape: tuple[int, int, int]) -> tuple[Array, Array]:
    """Density and winding voxel by voxel, segment by segment."""
    density, flux = np.zeros(shape), np.zeros((2, 3, *shape))
    for index in np.ndindex(*shape):
        here = np.array(index) - np.array(shape) // 2
        for points, windings in lines:
            corners = np.linalg.solve(voxel.T, points.T).T
            best, tangent = np.inf, np.zeros(3)
            for start, end in pairwise(corners):
                along = end - start
                t = np.clip((here - start) @ along / (along @ along), 0, 1)
                distance = np.linalg.norm(here - start - t * along)
                if distance < best:
                    best, tangent = distance, along / np.linalg.norm(along)
            height = np.exp(-(best**2) / (2 * LINE_WIDTH**2))
            density[index] = max(density[index], height)
            flux[(slice(None), slice(None), *index)] += windings[:, None] * tangent * height
    return density, flux


@pytest.mark.parametrize("hand", [1, -1])
def test_lines_are_tubes_with_their_winding(hand: int) -> None:
    """A bent and a straight line on sheared voxels, against every voxel by hand; mirrored voxels turn the winding."""
    voxel = np.array([[9.0, 0, 0], [1.5, 10.0, 0], [-0.7, 1.2, 11.0 * hand]])
    bent = np.array([[-3.2, -2.1, -3], [0.3, 0.4, -1.2], [1.1, 2.6, 2.9]]) @ voxel
    straight = np.array([[2.2, -2, -2.4], [2.7, -2.2, 3]]) @ voxel
    lines = [(bent, np.array([1.0, -2])), (straight, np.array([0.0, 1]))]
    density, winding = line_volumes(lines, voxel, 2, (7, 8, 9))
    expected, flux = brute_force(lines, voxel, (7, 8, 9))
    np.testing.assert_allclose(density, expected, atol=1e-4)
    # On the plane between two segments either tangent is right.
    away = np.abs(winding.numpy() - hand * flux).max((0, 1)) > 1e-3
    assert away.mean() < 0.02


def inner(support: torch.Tensor) -> torch.Tensor:
    """Voxels with all of their neighbours in the crystal."""
    outside = (support < 0.999).float()[None, None]
    return torch.nn.functional.max_pool3d(outside, 3, 1, 1)[0, 0] == 0


RING = np.array(
    [(-1, -1), (0, -1), (1, -1), (2, -1), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (-1, 2), (-1, 1), (-1, 0)]
)
"""Voxels of a right-handed circuit around the plaquette (0, 0) to (1, 1)."""


def circulation(phase: NDArray[np.float32], line: Array, axis: int) -> float:
    """Turns of ``phase`` once around ``line`` (start and end in voxels) across ``axis``, near its middle."""
    others, origin = [(axis + 1) % 3, (axis + 2) % 3], np.array(phase.shape) // 2
    height = np.rint(line.mean(0)[axis])
    crossing = line[0] + (line[1] - line[0]) * (height - line[0, axis]) / (line[1, axis] - line[0, axis])
    places = np.tile(origin + int(height), (len(RING), 1))
    places[:, others] = origin[others] + np.floor(crossing[others]).astype(int) + RING
    around = phase[tuple(places.T)]
    return float(np.angle(np.exp(1j * np.diff(np.append(around, around[0])))).sum() / (2 * np.pi))


def test_windings_are_those_of_the_phase(drawn: Targets) -> None:
    """A Burgers circuit: wrapped phase steps around a line sum to its winding, in the sense of its direction.

    In every reflection, about lines alone in their crystal; the voxels are right-handed.
    """
    circuits = []
    for i, truth in enumerate(drawn.truths):
        voxel = drawn.patterns.voxel[i].numpy()
        assert np.linalg.det(voxel) > 0
        for points, windings in truth.lines if len(truth.lines) == 1 else ():
            line = points[[0, -1]] @ np.linalg.inv(voxel)
            axis = int(np.abs(line[1] - line[0]).argmax())
            for r, winding in enumerate(windings):
                found = circulation(drawn.phase[i, r].numpy(), line, axis)
                assert found == pytest.approx(np.sign(line[1, axis] - line[0, axis]) * winding, abs=1e-3)
                circuits.append(round(found))
    assert len(set(circuits)) > 1
    assert np.abs(circuits).sum() > 3


def test_the_flux_of_windings_is_that_of_residues(drawn: Targets) -> None:
    """Σ J over the crystal has the direction of the phase's residues, which know no line (cosine > 0.9)."""
    compared = 0
    for phase, support, winding in zip(
        *(v.flatten(0, 1) for v in (drawn.phase, drawn.support, drawn.winding)), strict=True
    ):
        inside = inner(support)
        counted = []
        for axis, residue in enumerate(residues(torch.polar(torch.ones_like(phase), phase))):
            corner = inside
            for other in {0, 1, 2} - {axis}:
                corner = corner.narrow(other, 0, corner.shape[other] - 1)
            counted.append(float((residue * corner).sum()))
        found = np.array(counted)
        expected = (winding * inside).sum((1, 2, 3)).numpy()
        if np.linalg.norm(found) > 3.5:
            assert found @ expected > 0.9 * np.linalg.norm(found) * np.linalg.norm(expected)
            compared += 1
    assert compared > 2


def test_lines_lie_within_the_crystal_and_are_counted(drawn: Targets) -> None:
    """Nothing outside what scatters in any reflection; the count is that of the lines that a reflection sees."""
    outside = drawn.support.amax(1) == 0
    assert not drawn.line[outside].any()
    assert not drawn.winding.movedim((1, 2), (-2, -1))[outside].any()
    for i, truth in enumerate(drawn.truths):
        assert drawn.count[i] == min(len(truth.visible), MOST_LINES)
        assert CLASSES[int(drawn.defect[i])] == truth.defect
        assert bool(drawn.line[i].amax() > 0.5) == bool(truth.visible)


def test_hidden_lines_are_not_asked_for() -> None:
    """Every line with g·b = 0: undetermined, no line, no winding, no count; a further reflection uncovers them."""
    recipe = replace(
        RECIPE, hidden_fraction=0.999, elements=("Au",), reflections=((1, 1, 1),), class_fractions=(0, 1, 1, 1),
        reflection_count=1,
    )  # fmt: skip
    alone, more = (
        targets_of_batch(make_batch([choose(replace(recipe, reflection_count=n), i) for i in range(3)], "cpu"))
        for n in (1, 3)
    )
    assert not alone.determined.any()
    assert not alone.line.any()
    assert not alone.winding.any()
    assert not alone.count.any()
    assert (alone.defect > 0).all()
    assert more.determined.all()
    assert (more.count > 0).all()
    assert more.winding[:, 0].abs().amax() < 1e-6
    assert more.winding[:, 1:].flatten(1).any(1).all()


def test_a_batch_moves_as_a_whole(drawn: Targets) -> None:
    moved = drawn.to("cpu")
    assert len(moved) == NUMBER
    assert moved.truths is drawn.truths
    assert moved.proposal is None
    assert torch.equal(moved.patterns.counts, drawn.patterns.counts)


def test_a_sample_without_its_grid_is_refused(stored: list[tuple[Sample, ...]]) -> None:
    sample = stored[0][0]
    lost = replace(sample, exposure=Exposure(sample.exposure.counts))
    with pytest.raises(ValueError, match="exposure of sample 0 must come with its q-grid, got none"):
        targets_of_samples([[lost]])
    assert isinstance(sample.exposure.grid, QGrid)
