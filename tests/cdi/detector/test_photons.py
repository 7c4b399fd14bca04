"""Expected photons and their counts."""

import numpy as np
import pytest
import torch

from cdi.detector.photons import expected_photons, poisson_counts, require_photons, torch_generator

INTENSITY = torch.as_tensor(np.random.default_rng(0).exponential(5e7, (2, 5, 6, 7)))


def test_counts_have_the_variance_of_their_mean() -> None:
    expected = expected_photons(INTENSITY[0], peak=200.0)
    many = poisson_counts(expected.expand(4000, *expected.shape), torch.Generator().manual_seed(1))
    assert ((many.mean(0) - expected).abs() < 5 * (expected / 4000).sqrt()).all()
    bright = expected > 10
    ratio = many.var(0)[bright] / expected[bright]
    assert ((ratio - 1).abs() < 6 * np.sqrt(2 / 4000)).all()
    torch.testing.assert_close(many, many.round(), rtol=0, atol=0)


def test_each_pattern_has_the_peak_or_the_total_that_was_asked_for() -> None:
    peak, total = expected_photons(INTENSITY, peak=300.0), expected_photons(INTENSITY, total=1e4)
    torch.testing.assert_close(peak.amax((1, 2, 3)), torch.full((2,), 300.0, dtype=torch.float64))
    torch.testing.assert_close(total.sum((1, 2, 3)), torch.full((2,), 1e4, dtype=torch.float64))
    torch.testing.assert_close(peak / peak.sum((1, 2, 3), keepdim=True), total / 1e4)
    assert expected_photons(INTENSITY) is INTENSITY


def test_the_counted_total_is_poisson_too() -> None:
    """Mean and variance of the sum over the volume are the total."""
    expected = expected_photons(INTENSITY[0], total=500.0)
    sums = poisson_counts(expected.expand(3000, *expected.shape), torch.Generator().manual_seed(2)).sum((1, 2, 3))
    assert abs(float(sums.mean()) - 500) < 5 * np.sqrt(500 / 3000)
    assert abs(float(sums.var()) / 500 - 1) < 6 * np.sqrt(2 / 3000)


def test_the_sample_s_generator_decides_the_counts() -> None:
    one, same, other = (poisson_counts(INTENSITY, torch_generator(np.random.default_rng(seed))) for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("level", ["peak", "total"])
def test_derivatives_of_the_scaled_intensity(level: str) -> None:
    intensity = (INTENSITY[0, :2, :3, :2] / 1e8).requires_grad_()
    scaled = {"peak": lambda i: expected_photons(i, peak=7.0), "total": lambda i: expected_photons(i, total=7.0)}
    assert torch.autograd.gradcheck(scaled[level], [intensity])


@pytest.mark.parametrize(
    "spoilt",
    [
        {"value": float("nan")},
        {"value": float("inf")},
        {"value": -1e-9},
    ],
)
def test_a_broken_intensity_is_refused(spoilt: dict[str, float]) -> None:
    intensity = INTENSITY.clone()
    intensity[1, 2, 3, 4] = spoilt["value"]
    with pytest.raises(ValueError, match="intensity must be finite, not negative and hold a photon in every pattern"):
        require_photons(intensity)


def test_a_dark_pattern_in_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="intensity must be finite, not negative and hold a photon in every pattern"):
        require_photons(torch.stack([INTENSITY[0], torch.zeros_like(INTENSITY[0])]))


def test_an_intensity_has_three_axes() -> None:
    with pytest.raises(ValueError, match=r"intensity must have shape \(..., frames, rows, columns\), got \(6, 7\)"):
        require_photons(INTENSITY[0, 0])


def test_one_level_at_most() -> None:
    with pytest.raises(ValueError, match=r"peak and total must not both be given, got \(1.0, 2.0\)"):
        expected_photons(INTENSITY, peak=1.0, total=2.0)


def test_the_generator_lives_where_the_intensity_does() -> None:
    with pytest.raises(ValueError, match="generator must live on the intensity's device meta, got cpu"):
        poisson_counts(INTENSITY.to("meta"), torch.Generator())
