"""The whole detector: order, masks, grids, batches, and a configuration that reads back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cdi.config import read_config, read_object, to_dict, write_config
from cdi.detector.background import Alien, Background
from cdi.detector.coherence import Coherence, partial_coherence
from cdi.detector.model import DetectorModel, detect_each
from cdi.detector.photons import poisson_counts, torch_generator
from cdi.detector.pixels import Beamstop, DeadPixels, Gaps, HotPixels, Saturation
from cdi.detector.point_spread import PointSpread, point_spread
from cdi.detector.rocking import RockingError
from cdi.grid import QGrid

SHAPE = (10, 12, 9)
STEP = 0.013 * (np.eye(3) + np.array([[0, 0.2, -0.1], [0.05, 0, 0.15], [-0.12, 0.07, 0]]))
GRID = QGrid([1.3, -2.1, 0.8], STEP, SHAPE)
INTENSITY = torch.as_tensor(np.random.default_rng(0).exponential(5e3, (2, *SHAPE)))
EVERYTHING = DetectorModel(
    peak_counts=3e3,
    coherence=Coherence((300.0, 500.0, 400.0), "exponential"),
    rocking=RockingError(0.1, 0.02, 0.05),
    point_spread=PointSpread(0.4),
    background=Background(0.3, (0.2, -0.3), 0.1, 20.0, 35.0),
    alien=Alien(2, 0.05, 0.8, 0.9, 3.0),
    hot=HotPixels(0.02, 500.0, masked=False),
    saturation=Saturation(1500.0),
    dead=DeadPixels(0.03),
    gaps=Gaps((5, 20), (2, 1)),
    beamstop=Beamstop(1.0, (1, 0)),
    crop=(8, 12, 9),
    binning=(2, 1, 3),
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_effects_the_intensity_is_counted() -> None:
    counts, mask = DetectorModel().detect(INTENSITY, generator(3))
    torch.testing.assert_close(counts, poisson_counts(INTENSITY, generator(3)).float())
    assert mask.all()
    assert (counts.dtype, mask.dtype) == (torch.float32, torch.bool)


def test_the_peak_is_that_of_the_blurred_crystal() -> None:
    """Background comes on top; the blur before the level does not lower it."""
    model = DetectorModel(peak_counts=700.0, point_spread=PointSpread(0.6))
    assert float(model.expected(INTENSITY, generator()).amax((1, 2, 3))[1]) == pytest.approx(700)
    lit = replace(model, background=Background(flat=5.0)).expected(INTENSITY, generator())
    assert float(lit.amax((1, 2, 3))[1]) == pytest.approx(705)
    total = replace(model, peak_counts=None, total_counts=2e4).expected(INTENSITY, generator())
    assert float(total[0].sum()) == pytest.approx(2e4)


def test_coherence_then_point_spread_then_level() -> None:
    model = DetectorModel(total_counts=1e5, coherence=EVERYTHING.coherence, point_spread=PointSpread(0.4))
    voxel = torch.as_tensor(GRID.voxel)
    lengths = torch.tensor([300.0, 500.0, 400.0], dtype=torch.float64)
    blurred = point_spread(partial_coherence(INTENSITY, voxel, lengths, "exponential"), 0.4)
    expected = blurred * (1e5 / blurred.sum((1, 2, 3), keepdim=True))
    torch.testing.assert_close(model.expected(INTENSITY, generator(), voxel), expected)


def test_noise_of_neighbouring_pixels_is_independent() -> None:
    """Point spread first: charge sharing and counting do not commute. Swapped, neighbours share their noise."""

    def neighbours(counts: Tensor) -> float:
        left, right = counts[..., 2:-3].flatten(), counts[..., 3:-2].flatten()
        return float(torch.corrcoef(torch.stack([left, right]))[0, 1])

    flat = torch.full((60, 20, 20), 50.0, dtype=torch.float64)
    in_order, _ = DetectorModel(point_spread=PointSpread(0.6)).detect(flat, generator())
    swapped = point_spread(poisson_counts(flat, generator()), 0.6)
    assert abs(neighbours(in_order)) < 5 / 18000**0.5
    assert neighbours(swapped) > 0.3


def test_gaps_dead_pixels_and_beamstop_hold_no_count_and_are_masked() -> None:
    """Also where a hot pixel lies beneath: the electronics come last."""
    model = DetectorModel(hot=HotPixels(1.0, 50.0, masked=False), gaps=Gaps((5, 20), (2, 1)), beamstop=Beamstop(1.5))
    counts, mask = model.detect(INTENSITY, generator())
    closed = torch.zeros(SHAPE[1:], dtype=torch.bool)
    closed[5:7] = True
    closed[5:8, 3:6] = True
    torch.testing.assert_close(~mask, closed.expand_as(mask))
    assert not counts[~mask].any()
    assert counts[mask].all()


def test_known_bad_pixels_are_masked_and_unknown_ones_are_not() -> None:
    for masked in (True, False):
        model = DetectorModel(hot=HotPixels(0.2, 1e6, masked), dead=DeadPixels(0.1, masked))
        counts, mask = model.detect(INTENSITY, generator(1))
        bad = (counts > 5e5) | (counts == 0).all(-3, keepdim=True)
        assert bad.any(-3).float().mean() > 0.15
        assert (mask == ~bad).all() if masked else mask.all()


def test_what_a_hot_pixel_adds_saturates_too() -> None:
    model = DetectorModel(hot=HotPixels(0.2, 1e6, masked=False), saturation=Saturation(2e4, masked=True))
    counts, mask = model.detect(INTENSITY, generator(1))
    assert counts.max() == 2e4
    torch.testing.assert_close(mask, counts < 2e4)


def test_the_same_seed_gives_the_same_exposure() -> None:
    model = replace(EVERYTHING, crop=None, binning=(1, 1, 1))
    one, same, other = (model.expose(INTENSITY[0], GRID, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.counts, same.counts)
    assert one.mask is not None
    assert same.mask is not None
    np.testing.assert_array_equal(one.mask, same.mask)
    assert (one.counts != other.counts).any()


def test_an_exposure_is_the_tensor_form_of_one_pattern() -> None:
    model = replace(EVERYTHING, crop=None, binning=(1, 1, 1))
    exposure = model.expose(INTENSITY[0].numpy(), GRID, np.random.default_rng(7))
    counts, mask = model.detect(INTENSITY[0], torch_generator(np.random.default_rng(7)), torch.as_tensor(GRID.voxel))
    np.testing.assert_array_equal(exposure.counts, counts.numpy())
    np.testing.assert_array_equal(exposure.mask, mask.numpy())
    assert exposure.grid is not None
    np.testing.assert_array_equal(exposure.grid.step, GRID.step)
    assert DetectorModel().expose(INTENSITY[0], GRID, np.random.default_rng(7)).mask is None


def test_crop_and_binning_take_the_grid_along() -> None:
    """A voxel of the exposure lies at the intensity-weighted q of the voxels that it adds up."""
    model = replace(EVERYTHING, crop=(9, 12, 8), binning=(3, 2, 1))
    grid = model.grid(GRID)
    counts, mask = model.detect(INTENSITY, generator(), torch.as_tensor(GRID.voxel).expand(2, 3, 3))
    assert counts.shape == mask.shape == (2, *grid.shape) == (2, 3, 6, 8)
    q = np.stack(GRID.axes(), -1)[1:10, 0:12, 0:8]
    middle = q.reshape(3, 3, 6, 2, 8, 1, 3).mean((1, 3, 5))
    np.testing.assert_allclose(np.stack(grid.axes(), -1), middle, rtol=0, atol=1e-12)


def test_expected_photons_of_a_batch_are_those_of_its_members() -> None:
    model = DetectorModel(
        peak_counts=500.0, coherence=EVERYTHING.coherence, point_spread=PointSpread(0.4), background=Background(0.2)
    )
    voxels = torch.as_tensor(np.stack([GRID.voxel, 1.3 * GRID.voxel.T]))
    together = model.expected(INTENSITY, generator(), voxels)
    alone = [model.expected(one, generator(), voxel) for one, voxel in zip(INTENSITY, voxels, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone))


def test_each_pattern_of_a_batch_by_its_own_detector_is_that_pattern_alone() -> None:
    """Whatever stands beside it in the batch: noise comes from the sample's own generator."""
    models = [EVERYTHING, replace(EVERYTHING, coherence=None, peak_counts=50.0)]
    voxels = torch.as_tensor(np.stack([GRID.voxel, 1.3 * GRID.voxel.T]))
    counts, mask = detect_each(models, INTENSITY, [generator(8), generator(9)], voxels)
    for number, (model, seed) in enumerate(zip(models, (8, 9), strict=True)):
        alone, measured = model.detect(INTENSITY[number], generator(seed), voxels[number])
        torch.testing.assert_close(counts[number], alone, rtol=0, atol=0)
        torch.testing.assert_close(mask[number], measured, rtol=0, atol=0)


def test_patterns_of_one_batch_have_pixels_of_their_own() -> None:
    """Hot and dead pixels, jitter and stray spots differ, so that a batch teaches no single detector."""
    model = DetectorModel(peak_counts=1e3, dead=DeadPixels(0.2))
    _, mask = model.detect(INTENSITY[:1].expand(2, *SHAPE), generator())
    assert not torch.equal(mask[0], mask[1])


def test_single_precision_stays_single() -> None:
    model = replace(EVERYTHING, crop=None, binning=(1, 1, 1))
    voxel = torch.as_tensor(GRID.voxel)
    assert model.expected(INTENSITY.float(), generator(), voxel).dtype == torch.float32


def test_derivatives_of_the_expected_photons() -> None:
    model = DetectorModel(
        peak_counts=9.0,
        coherence=EVERYTHING.coherence,
        rocking=RockingError(0.1, 0.02, 0.1),
        point_spread=PointSpread(0.4),
        background=EVERYTHING.background,
        alien=Alien(),
    )
    intensity = (1 + INTENSITY[0, :3, :4, :2] / 1e4).requires_grad_()
    voxel = torch.as_tensor(GRID.voxel)
    assert torch.autograd.gradcheck(lambda i: model.expected(i, generator(), voxel), [intensity])


@pytest.mark.parametrize("model", [DetectorModel(), EVERYTHING])
def test_the_configuration_reads_back(model: DetectorModel, tmp_path: Path) -> None:
    write_config(model, tmp_path / "detector.yaml")
    assert read_config(DetectorModel, tmp_path / "detector.yaml") == model
    assert read_object(DetectorModel, to_dict(model), origin="test") == model


def test_an_unknown_key_of_an_effect_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown key 'hot.fracton'; did you mean 'hot.fraction'"):
        read_object(DetectorModel, {"hot": {"fracton": 0.1, "counts": 3}}, origin="test")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peak_counts": 0.0}, "peak_counts must be positive and finite, got 0.0"),
        ({"total_counts": float("nan")}, "total_counts must be positive and finite, got nan"),
        ({"peak_counts": 1.0, "total_counts": 2.0}, "peak_counts and total_counts must not both be given"),
        ({"crop": (8, 0, 8)}, r"crop must be three positive integers or None, got \(8, 0, 8\)"),
        ({"binning": (1, 0, 1)}, r"binning must be three positive integers, got \(1, 0, 1\)"),
    ],
)
def test_an_impossible_detector_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DetectorModel(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), -1.0, float("inf")])
def test_a_broken_intensity_is_refused(value: float) -> None:
    broken = INTENSITY[0].clone()
    broken[1, 2, 3] = value
    with pytest.raises(ValueError, match="intensity must be finite, not negative and hold a photon"):
        DetectorModel().expose(broken, GRID, np.random.default_rng(0))


def test_an_intensity_has_the_shape_of_its_grid() -> None:
    with pytest.raises(ValueError, match=r"intensity must have the grid's shape \(10, 12, 9\), got"):
        DetectorModel().expose(INTENSITY, GRID, np.random.default_rng(0))


def test_coherence_needs_the_voxels() -> None:
    with pytest.raises(ValueError, match="voxel must be given where coherence is set, got None"):
        EVERYTHING.detect(INTENSITY, generator())


def test_one_model_and_generator_a_pattern() -> None:
    with pytest.raises(ValueError, match=r"models and generators must be as many as the 2 patterns, got \(2, 1\)"):
        detect_each([EVERYTHING, EVERYTHING], INTENSITY, [generator()])
