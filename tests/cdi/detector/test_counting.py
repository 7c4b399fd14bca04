"""Counting: Poisson statistics at the wanted level."""

import numpy as np
import pytest

from cdi.detector.counting import photon_counts

INTENSITY = np.random.default_rng(0).exponential(5e7, (7, 6, 5))


def test_counts_scale_to_the_peak_and_have_poisson_variance() -> None:
    """Over many exposures each voxel's mean is I · peak_counts / max I, and its variance equals its mean."""
    generator = np.random.default_rng(1)
    many = np.stack([photon_counts(INTENSITY, peak_counts=200, generator=generator) for _ in range(4000)])
    expected = INTENSITY * 200 / INTENSITY.max()
    error = np.sqrt(expected / 4000)
    assert (np.abs(many.mean(0, dtype=np.float64) - expected) < 5 * error).all()
    bright = expected > 10
    ratio = many.var(0, dtype=np.float64)[bright] / expected[bright]
    assert (np.abs(ratio - 1) < 6 * np.sqrt(2 / 4000)).all()


def test_counts_are_whole_numbers_and_repeat_with_the_generator() -> None:
    one, same, other = (
        photon_counts(INTENSITY, peak_counts=1e6, generator=np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, np.rint(one))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize("intensity", [np.zeros((3, 4, 5)), np.full((3, 4, 5), np.nan), np.full((3, 4, 5), np.inf)])
def test_a_dark_or_broken_intensity_is_refused(intensity: np.ndarray) -> None:
    with pytest.raises(ValueError, match="intensity must have a positive finite maximum"):
        photon_counts(intensity, peak_counts=100, generator=np.random.default_rng(0))


@pytest.mark.parametrize("peak", [0.0, -1.0, np.nan, np.inf])
def test_the_peak_must_expect_photons(peak: float) -> None:
    with pytest.raises(ValueError, match="peak_counts must be positive"):
        photon_counts(INTENSITY, peak_counts=peak, generator=np.random.default_rng(0))
