"""From raw frames to a pattern for phasing: what is marked, what is moved, and that the geometry goes along."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from cdi.grid import QGrid
from cdi.pattern import Exposure
from data.preparation.aliens import AlienConfig, aliens, clusters
from data.preparation.bad_voxels import background_level, hot_pixels, zingers
from data.preparation.orthogonal import orthogonal
from data.preparation.prepared import AUTOMATIC, Preparation, prepared

SHAPE = (40, 36, 44)
STEP = np.array([[0.0012, 0.0003, 0.0], [0.0, 0.001, 0.0002], [0.0001, 0.0, 0.0011]])
GRID = QGrid(np.array([1.0, 2.0, 0.5]), STEP, SHAPE)
CENTRE = (21, 17, 23)


def slab_pattern(peak: float = 50_000.0, sampling: float = 3.0) -> np.ndarray:
    """|F|² of a brick, oversampled ``sampling`` times, about a voxel off the middle: centrosymmetric, with fringes."""
    axes = np.meshgrid(*(np.arange(n) - c for n, c in zip(SHAPE, CENTRE, strict=True)), indexing="ij")
    return peak * np.prod([np.sinc(axis / sampling) ** 2 for axis in axes], axis=0)


def counted(rng: np.random.Generator, background: float = 0.05) -> np.ndarray:
    return rng.poisson(slab_pattern() + background).astype(np.float32)


def test_clusters_are_those_of_dbscan() -> None:
    """cohere runs scikit-learn's DBSCAN with a reach of 1.1 voxels and 5 neighbours; sparse and dense volumes."""
    for seed, share in ((1, 0.35), (2, 0.55), (3, 0.75)):
        found = np.random.default_rng(seed).random((14, 15, 16)) < share
        labels, number = clusters(found, 5)
        wanted = DBSCAN(eps=1.1, min_samples=5).fit_predict(np.argwhere(found).astype(np.float32)) + 1
        assert number == wanted.max()
        assert len(set(zip(labels[found].tolist(), wanted.tolist(), strict=True))) == number + 1
        assert not labels[~found].any()


def test_an_alien_is_marked_and_the_crystal_s_own_fringes_are_not() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(slab_pattern()).astype(np.float32)
    counts[30:33, 25:28, 36:39] += 60
    config = AlienConfig(size=0.5)
    found = aliens(counts, config)
    inside = np.zeros(SHAPE, bool)
    inside[30:33, 25:28, 36:39] = True
    assert found[inside].all()
    assert found.sum() < inside.sum() + 12
    twin = counts.copy()
    twin[2 * 21 - 32 : 2 * 21 - 29, 2 * 17 - 27 : 2 * 17 - 24, 2 * 23 - 38 : 2 * 23 - 35] += 60
    assert not aliens(twin, config)[inside].any()


def test_hot_pixels_and_spikes_are_found_and_peaks_are_not() -> None:
    """A hot pixel counts in every frame, a pair of them does not hide itself; no voxel of the pattern is called bad."""
    rng = np.random.default_rng(1)
    counts = counted(rng)
    assert not hot_pixels(counts).any()
    assert not zingers(counts).any()
    counts[:, 5, 6] += rng.poisson(40.0, len(counts))
    counts[:, 30, 40] += rng.poisson(30.0, len(counts))
    counts[:, 30, 41] += rng.poisson(30.0, len(counts))
    counts[7, 20, 9] += 500
    assert sorted(map(tuple, np.argwhere(hot_pixels(counts)))) == [(5, 6), (30, 40), (30, 41)]
    assert zingers(counts)[7, 20, 9]
    done = prepared(Exposure(counts, GRID), Preparation(hot_pixels=True))
    assert done.exposure.mask is not None
    assert not done.exposure.mask[:, 5, 6].any()
    assert not done.exposure.mask[7, 20, 9]
    assert done.exposure.mask.mean() > 0.99
    assert done.steps[0].startswith("hot pixels: ")


@pytest.mark.parametrize("rate", [0.05, 2.0])
def test_the_background_is_measured_where_the_pattern_is_faint(rate: float) -> None:
    counts = counted(np.random.default_rng(2), rate)
    assert background_level(counts) == pytest.approx(rate, rel=0.15, abs=0.01)
    usable = np.ones(SHAPE, bool)
    usable[:20] = False
    assert background_level(counts, usable) == pytest.approx(rate, rel=0.15, abs=0.02)
    done = prepared(Exposure(counts, GRID), Preparation(background=AUTOMATIC))
    assert done.exposure.counts.min() == 0
    np.testing.assert_allclose(done.exposure.counts[CENTRE], counts[CENTRE] - rate, rtol=1e-4)


@pytest.mark.parametrize("centre", ["brightest", "mass"])
def test_the_peak_comes_to_the_middle_with_its_scattering_vector(centre: str) -> None:
    counts = counted(np.random.default_rng(3))
    done = prepared(Exposure(counts, GRID), Preparation(centre=centre, shape=(20, 16, 24))).exposure
    assert done.counts.shape == (20, 16, 24)
    assert np.unravel_index(done.counts.argmax(), done.counts.shape) == (10, 8, 12)
    assert done.grid is not None
    q = GRID.centre + (np.array(CENTRE) - np.array(SHAPE) // 2) @ STEP
    np.testing.assert_allclose(done.grid.centre, q, atol=1e-12)


def test_binning_adds_photons_and_the_window_counts_binned_voxels() -> None:
    """What lies beyond the edge is unmeasured, and the middle of a bin is where its scattering vector is."""
    counts = counted(np.random.default_rng(4))
    done = prepared(Exposure(counts, GRID), Preparation(binning=(2, 1, 2))).exposure
    assert done.counts.shape == (20, 36, 22)
    assert done.counts.sum() == counts.sum()
    assert done.grid is not None
    np.testing.assert_allclose(done.grid.step, STEP * np.array([[2], [1], [2]]))
    np.testing.assert_allclose(done.grid.centre, GRID.centre + 0.5 * STEP[0] + 0.5 * STEP[2], atol=1e-12)
    wide = prepared(Exposure(counts, GRID), Preparation(shape=(30, 40, 22), binning=(2, 1, 2))).exposure
    assert wide.counts.shape == (30, 40, 22)
    assert wide.mask is not None
    assert not wide.mask[0].any()


def test_boxes_and_threshold() -> None:
    counts = counted(np.random.default_rng(5))
    config = Preparation(alien_boxes=((0, 5, 1, 6, 2, 7),), threshold=2.0)
    done = prepared(Exposure(counts, GRID), config).exposure
    assert done.mask is not None
    assert (~done.mask).sum() == 125
    assert not done.mask[:5, 1:6, 2:7].any()
    kept = done.counts[done.mask]
    np.testing.assert_array_equal(kept, np.where(counts > 2, counts, 0)[done.mask])


def test_orthogonal_axes_keep_photons_and_put_the_pattern_where_its_q_is() -> None:
    """Against the formula itself at the new grid's scattering vectors: the density of photons is interpolated."""
    pattern = slab_pattern(sampling=6.0)
    found = orthogonal(Exposure(pattern.astype(np.float32), GRID), step=0.001)
    assert found.grid is not None
    np.testing.assert_array_equal(found.grid.step, np.eye(3) * 0.001)
    assert found.counts.sum() == pytest.approx(pattern.sum(), rel=0.02)
    q = np.stack(found.grid.axes(), -1)
    index = (q - GRID.centre) @ np.linalg.inv(STEP) + np.array(SHAPE) // 2 - np.array(CENTRE)
    density = 50_000 * np.prod(np.sinc(index / 6.0) ** 2, axis=-1) * 0.001**3 / abs(np.linalg.det(STEP))
    measured = found.mask
    assert measured is not None
    assert np.abs(found.counts - density)[measured].max() < 0.01 * density.max()
    middle = tuple(n // 2 for n in found.counts.shape)
    assert measured[middle]
    assert not measured[0, 0, 0]


def test_the_default_does_nothing() -> None:
    exposure = Exposure(counted(np.random.default_rng(6)), GRID)
    done = prepared(exposure, Preparation())
    assert done.steps == ()
    np.testing.assert_array_equal(done.exposure.counts, exposure.counts)
    assert done.exposure.grid is GRID


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"centre": "peak"}, "centre must be one of none, brightest, mass, got 'peak'"),
        ({"background": -2.0}, "background must be at least 0, or -1 to measure it"),
        ({"threshold": float("nan")}, "threshold must be at least 0"),
        ({"shape": (4, 16, 16)}, "shape must have at least 8 voxels a side"),
        ({"binning": (0, 1, 1)}, "binning must be at least 1"),
        ({"alien_boxes": ((5, 3, 0, 1, 0, 1),)}, r"alien_boxes must hold \(first, end\)"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preparation(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1e9}, "background and threshold must leave a photon"),
        ({"binning": (8, 1, 1)}, "binning must leave 8 voxels a side"),
        ({"alien_boxes": ((0, 99, 0, 99, 0, 99),)}, "preparation must leave a voxel"),
    ],
)
def test_a_step_that_leaves_nothing_is_refused(settings: dict[str, object], message: str) -> None:
    exposure = Exposure(counted(np.random.default_rng(7)), None)
    with pytest.raises(ValueError, match=message):
        prepared(exposure, Preparation(**settings))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="orthogonal axes need the geometry"):
        prepared(exposure, Preparation(orthogonal=True))


@pytest.mark.parametrize("settings", [{"threshold": 0.0}, {"size": 2.0}, {"asymmetry": 3.0}, {"least_neighbours": 8}])
def test_settings_of_aliens_out_of_range_are_refused(settings: dict[str, float]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} must"):
        AlienConfig(**settings)  # type: ignore[arg-type]
