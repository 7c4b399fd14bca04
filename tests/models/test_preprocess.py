"""Preprocessing: every voxel keeps its q, no photon is lost or invented, sizes are estimated."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cdi.crystal import Crystal
from cdi.detector.counting import photon_counts
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure
from cdi.scattering.model import ScatteringModel
from cdi.scattering.object_amplitude import bragg_amplitude
from cdi.shapes.ball import Ball
from cdi.shapes.polyhedron import truncated_octahedron
from data.recipe import Recipe
from data.sampling import draw_crystal
from models.preprocess import (
    _bin,
    _crop,
    binning_factors,
    features,
    fit_set,
    fit_to_grid,
    oversampling_estimate,
    pattern_set,
)

STEP = 0.004 * (np.eye(3) + np.array([[0, 0.3, 0], [0.1, 0, -0.2], [0, 0.15, 0]]))
GOLD = Lattice.of_material("Au")
COARSE = ScatteringModel(supersampling=1)


def spot(shape: tuple[int, int, int], index: tuple[int, int, int], width: float = 2.0) -> NDArray[np.float32]:
    """A broad peak (the crystal is well oversampled) around ``index``."""
    grids = np.meshgrid(*(np.arange(n) - i for n, i in zip(shape, index, strict=True)), indexing="ij")
    return np.rint(1e4 * np.exp(-sum(g**2 for g in grids) / (2 * width**2))).astype(np.float32)


def brightest_q(exposure: Exposure) -> NDArray[np.float64]:
    assert exposure.grid is not None
    index = np.unravel_index(int(exposure.counts.argmax()), exposure.counts.shape)
    return np.stack(exposure.grid.axes(), -1)[index]


@pytest.mark.parametrize("index", [(12, 12, 8), (7, 9, 4), (16, 20, 12)])
def test_centring_keeps_the_q_of_every_voxel(index: tuple[int, int, int]) -> None:
    """The grid follows the counts: the peak stays at its q and comes to N // 2."""
    grid = QGrid([1.0, -2.0, 3.0], STEP, (24, 28, 18))
    exposure = Exposure(spot(grid.shape, index, 1.0), grid)
    fitted = fit_to_grid(exposure, (24, 28, 18))
    np.testing.assert_allclose(brightest_q(fitted), brightest_q(exposure), atol=1e-12)
    assert np.unravel_index(int(fitted.counts.argmax()), fitted.counts.shape) == (12, 14, 9)
    assert fitted.counts.sum() == pytest.approx(exposure.counts.sum(), rel=1e-3)


def test_centring_a_split_peak_loses_only_what_leaves_the_window() -> None:
    """The brighter of two far lobes is not the centre: both stay in a window that holds both."""
    counts = spot((32, 24, 24), (8, 12, 12), 1.2) + np.rint(0.9 * spot((32, 24, 24), (25, 12, 12), 1.2))
    fitted = fit_to_grid(Exposure(counts), (32, 24, 24))
    assert fitted.counts.sum() == counts.sum()


@pytest.mark.parametrize("shape", [(40, 22, 30), (9, 11, 50), (64, 64, 64)])
def test_any_size_is_fitted_with_its_q(shape: tuple[int, int, int]) -> None:
    """Cropped, padded and binned: the centre of mass of the peak in q stays within half a binned voxel."""
    grid = QGrid([1.0, -2.0, 3.0], STEP, shape)
    index = tuple(n // 2 + k for n, k in zip(shape, (1, -1, 2), strict=True))
    fitted = fit_to_grid(Exposure(spot(shape, index, 1.5), grid), (16, 24, 16))
    assert fitted.counts.shape == (16, 24, 16)
    assert fitted.grid is not None
    q = np.stack(fitted.grid.axes(), -1)
    mean = (q * fitted.counts[..., None]).sum((0, 1, 2)) / fitted.counts.sum()
    expected = np.stack(grid.axes(), -1)[index]
    assert (np.abs((mean - expected) @ np.linalg.inv(fitted.grid.step)) < 0.5).all()


def test_binning_sums_counts_and_averages_q() -> None:
    """Each bin holds the photons of its voxels and lies at the mean of their q, on a sheared grid."""
    rng = np.random.default_rng(0)
    grid = QGrid([1.0, -2.0, 3.0], STEP, (12, 10, 8))
    counts = rng.poisson(5, grid.shape).astype(np.float32)
    measured = np.ones(grid.shape, bool)
    measured[4, 5, 3] = measured[11, 9, 7] = False
    binned, whole, coarse = _bin(counts, measured, grid, (3, 2, 1))
    assert binned.shape == (4, 5, 8)
    assert coarse is not None
    assert binned.sum() == counts.sum()
    assert binned[1, 2, 3] == counts[3:6, 4:6, 3].sum()
    q, coarse_q = np.stack(grid.axes(), -1), np.stack(coarse.axes(), -1)
    np.testing.assert_allclose(coarse_q[1, 2, 3], q[3:6, 4:6, 3].mean((0, 1)))
    np.testing.assert_allclose(coarse_q[3, 4, 7], q[9:12, 8:10, 7].mean((0, 1)))
    # A bin counts as measured where all of its voxels are.
    assert [tuple(index) for index in np.argwhere(~whole)] == [(1, 2, 3), (3, 4, 7)]


def test_cropping_pads_with_zeros_and_moves_the_grid() -> None:
    counts = np.arange(8 * 9 * 10, dtype=np.float32).reshape(8, 9, 10)
    grid = QGrid([1.0, -2.0, 3.0], STEP, (8, 9, 10))
    mask = np.ones(counts.shape, bool)
    mask[2, 4, 9] = False
    out, measured, moved = _crop(counts, mask, grid, np.array([1.2, 4, 8.6]), (6, 5, 4))
    assert out[3, 2, 2] == counts[1, 4, 9]
    assert not out[:2].any()
    # Beyond the edge nothing was measured, nor in the gap.
    assert not measured[:2].any()
    assert not measured[..., 3].any()
    assert measured[2:, :, :3].sum() == measured[2:, :, :3].size - 1
    assert not measured[4, 2, 2]
    assert moved is not None
    np.testing.assert_allclose(moved.centre, np.stack(grid.axes(), -1)[1, 4, 9])


def test_masked_voxels_count_as_nothing() -> None:
    """A hot pixel under the mask moves neither the centre nor the counts."""
    counts = spot((24, 24, 24), (11, 13, 12), 1.5)
    hot = counts.copy()
    hot[2, 2, 2] = np.nan
    mask = np.ones(counts.shape, bool)
    mask[2, 2, 2] = False
    clean, fitted = fit_to_grid(Exposure(counts), (16, 24, 16)), fit_to_grid(Exposure(hot, None, mask), (16, 24, 16))
    np.testing.assert_array_equal(clean.counts, fitted.counts)
    assert fitted.grid is None
    assert clean.mask is not None  # the window reaches beyond the edge
    np.testing.assert_array_equal(clean.mask, fitted.mask)


def test_a_gap_follows_its_voxels_through_crop_bin_and_centring() -> None:
    """Every voxel of the fitted exposure that counts as measured lies at a q where all was measured, and no other."""
    grid = QGrid([1.0, -2.0, 3.0], STEP, (44, 60, 36))
    counts = spot(grid.shape, (20, 33, 17), 1.5)
    mask = np.ones(grid.shape, bool)
    mask[:, 34:36] = False
    fitted = fit_to_grid(Exposure(counts, grid, mask), (16, 24, 16), (2, 2, 2))
    assert fitted.grid is not None
    assert fitted.mask is not None
    index = (np.stack(fitted.grid.axes(), -1) - grid.centre) @ np.linalg.inv(STEP) + np.asarray(grid.shape) // 2
    low = np.rint(index - 0.5).astype(int)  # of the two voxels of each bin along each axis
    np.testing.assert_allclose(low + 0.5, index, atol=1e-6)
    corners = np.stack([low + np.array(k) for k in np.ndindex(2, 2, 2)])
    inside = ((corners >= 0) & (corners < grid.shape)).all(-1)
    there = np.clip(corners, 0, np.asarray(grid.shape) - 1)
    seen = inside & mask[tuple(np.moveaxis(there, -1, 0))]
    np.testing.assert_array_equal(fitted.mask, seen.all(0))
    summed = np.where(seen, counts[tuple(np.moveaxis(there, -1, 0))], 0).sum(0)
    np.testing.assert_array_equal(fitted.counts, np.where(inside.all(0), summed, 0))


def reflections(*shapes: tuple[int, int, int], step: NDArray[np.float64] = STEP) -> list[Exposure]:
    """Broad peaks off the middle, each on a grid about its own G."""
    centres = [[1.0, -2.0, 3.0], [2.0, 2.0, -1.0], [-3.0, 0.5, 0.5]]
    return [
        Exposure(spot(shape, (shape[0] // 2 + k, shape[1] // 2 - k, shape[2] // 2 + 1)), QGrid(centre, step, shape))
        for k, (shape, centre) in enumerate(zip(shapes, centres, strict=False))
    ]


def test_a_set_is_binned_alike_and_centred_each() -> None:
    """By the least that any of them asks for: real-space voxels stay common, and every peak keeps its q."""
    wide, narrow = Exposure(spot((64, 64, 64), (31, 33, 32), 8.0)), spot((64, 64, 64), (30, 35, 33), 3.0)
    grids = [QGrid([1.0, -2.0, 3.0], STEP, (64, 64, 64)), QGrid([2.0, 2.0, -1.0], STEP, (64, 64, 64))]
    exposures = [Exposure(wide.counts, grids[0]), Exposure(narrow, grids[1])]
    factors = [binning_factors(exposure.counts, (16, 24, 16)) for exposure in exposures]
    assert factors[0] != factors[1]
    fitted = fit_set(exposures, (16, 24, 16))
    steps = [exposure.grid.step for exposure in fitted if exposure.grid is not None]
    np.testing.assert_array_equal(*steps)
    np.testing.assert_allclose(steps[0], STEP * np.min(factors, axis=0)[:, None])
    for before, after in zip(exposures, fitted, strict=True):
        assert after.counts.shape == (16, 24, 16)
        assert (np.abs((brightest_q(after) - brightest_q(before)) @ np.linalg.inv(steps[0])) <= 0.5).all()
        assert np.unravel_index(int(after.counts.argmax()), (16, 24, 16)) == (8, 12, 8)


def test_one_exposure_is_a_set() -> None:
    """Fitted as if it came alone, with a grid or without."""
    for exposure in (reflections((40, 40, 40))[0], Exposure(spot((40, 40, 40), (20, 20, 20)))):
        (fitted,), alone = fit_set([exposure], (16, 24, 16)), fit_to_grid(exposure, (16, 24, 16))
        np.testing.assert_array_equal(fitted.counts, alone.counts)
        assert (fitted.grid is None) == (exposure.grid is None)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match="a crystal must have at least one exposure, got none"):
        fit_set([], (16, 24, 16))


def test_a_set_without_grids_is_refused() -> None:
    """One without is enough: nothing tells how its voxels lie to the others'."""
    first, second = reflections((24, 24, 24), (24, 24, 24))
    with pytest.raises(ValueError, match="must each come with their q-grid, got one without"):
        fit_set([first, replace(second, grid=None)], (16, 24, 16))


def test_a_set_on_different_voxels_is_refused() -> None:
    first = reflections((24, 24, 24))[0]
    second = reflections((24, 24, 24), (24, 24, 24), step=STEP * 1.001)[1]
    with pytest.raises(ValueError, match=r"must share their q steps, got steps that differ by .* bring them"):
        fit_set([first, second], (16, 24, 16))


def test_a_batch_of_sets_is_filled_up_to_the_longest() -> None:
    """Counts, masks, G and voxels stand where they belong; what is filled up is absent, empty and without G."""
    sets = [fit_set(reflections((24, 24, 24), (24, 30, 24)), (16, 24, 16)), fit_set([Exposure(
        spot((16, 24, 16), (8, 12, 8)), None, spot((16, 24, 16), (8, 12, 8)) != 0)], (16, 24, 16))]  # fmt: skip
    patterns = pattern_set(sets)
    assert patterns.present.tolist() == [[True, True], [True, False]]
    assert patterns.known.tolist() == [True, False]
    for r, exposure in enumerate(sets[0]):
        assert exposure.grid is not None
        np.testing.assert_array_equal(patterns.counts[0, r], exposure.counts)
        np.testing.assert_array_equal(patterns.G[0, r], exposure.grid.centre)
        np.testing.assert_array_equal(patterns.voxel[0], exposure.grid.voxel)
        np.testing.assert_array_equal(patterns.measured[0, r], True if exposure.mask is None else exposure.mask)
    np.testing.assert_array_equal(patterns.measured[1, 0], sets[1][0].mask)
    assert not patterns.counts[1, 1].any()
    assert not patterns.G[1].any()
    assert patterns.counts.dtype == torch.float32
    assert patterns.G.dtype == patterns.voxel.dtype == torch.float64


@pytest.mark.parametrize("ratio", [2.2, 3.0, 5.0, 8.0, 12.0])
@pytest.mark.parametrize("form", ["ball", "cube", "truncated octahedron"])
def test_oversampling_is_estimated_for_perfect_crystals(ratio: float, form: str) -> None:
    """Within [0.75, 1.33] of the truth from the photons alone."""
    turn = np.asarray(Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix())
    shape = {
        "ball": Ball.of_diameter(500),
        "cube": truncated_octahedron(500, np.eye(3), ratio=0.5),
        "truncated octahedron": truncated_octahedron(500, turn, ratio=1.2),
    }[form]
    G = turn @ GOLD.reflection_vector((1, 1, 1))
    grid = QGrid.orthogonal(G, shape.extent(np.eye(3)), ratio, (64, 64, 64))
    F = bragg_amplitude([Crystal(GOLD, shape, turn)], [grid], [(1, 1, 1)], model=COARSE)[0]
    counts = photon_counts(F.abs().square().double().numpy(), peak_counts=1e4, generator=np.random.default_rng(0))
    found = oversampling_estimate(counts) / ratio
    assert (found > 0.75).all()
    assert (found < 1.33).all()


def test_oversampling_is_estimated_for_drawn_crystals() -> None:
    """Any shape, strain, dislocations and photons: 90 % of the axes within [0.75, 1.33], 98 % within [0.6, 1.6].

    Dislocations and tips fade the autocorrelation before it ends, so the estimate is not sharper.
    """
    found = []
    for i, ratio in enumerate(np.tile([2.2, 4.0, 7.0, 11.0], 5)):
        recipe = Recipe("estimate", 1, shape=(48, 48, 48), oversampling=(ratio, ratio))
        drawn = draw_crystal(recipe, np.random.default_rng([5, i]))
        ((reflection, grid),) = drawn.peaks
        F = bragg_amplitude([drawn.crystal], [grid], [reflection], model=COARSE)[0]
        intensity = F.abs().square().double().numpy()
        peak_counts = drawn.views[0].detector.peak_counts or 0.0
        counts = photon_counts(intensity, peak_counts=peak_counts, generator=np.random.default_rng(i))
        found.append(oversampling_estimate(counts) / ratio)
    values = np.concatenate(found)
    inside = ((values > 0.75) & (values < 1.33)).mean()
    print(f"oversampling estimate / truth: {values.min():.2f} to {values.max():.2f}, {inside:.0%} in [0.75, 1.33]")
    assert inside > 0.9
    assert ((values > 0.6) & (values < 1.6)).mean() >= 0.98
    assert values.min() > 0.5
    assert values.max() < 2.0


def test_patterns_of_the_networks_shape_are_not_binned() -> None:
    assert binning_factors(spot((16, 24, 16), (8, 12, 8), 4.0), (16, 24, 16)) == (1, 1, 1)


@pytest.mark.parametrize("photons", [1, 3, 1_000_000])
def test_features_are_finite_for_sparse_counts(photons: int) -> None:
    """Down to a single photon; √I and log are relative to their maxima."""
    counts = torch.zeros(2, 16, 24, 16)
    counts[0, 8, 12, 8] = photons
    counts[1, 3, 4, 5] = photons
    found = features(counts)
    assert found.shape == (2, 4, 16, 24, 16)
    assert found.isfinite().all()
    assert found[:, :2].amax() == 1
    assert found[:, 2:].abs().amax() < 1 + 1e-5


def test_the_autocorrelation_is_that_of_the_counts() -> None:
    """Real and imaginary part of Σ I exp(−iq·r) / Σ I: 1 at the origin, conjugate under inversion."""
    counts = torch.as_tensor(np.random.default_rng(0).poisson(3.0, (1, 16, 24, 16)), dtype=torch.float32)
    real, imaginary = features(counts)[0, 2:]
    assert real[8, 12, 8] == pytest.approx(1)
    assert imaginary[8, 12, 8] == pytest.approx(0, abs=1e-6)
    assert real[9, 10, 5] == pytest.approx(float(real[7, 14, 11]), abs=1e-6)
    assert imaginary[9, 10, 5] == pytest.approx(-float(imaginary[7, 14, 11]), abs=1e-6)
