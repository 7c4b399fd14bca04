"""Held-out voxels: which are drawn, and what their likelihood says."""

import numpy as np
import pytest
import torch

from cdi.fourier import amplitude_from_object
from cdi.retrieval.free_voxels import deviance_terms, free_voxels, poisson_deviance

SHAPE = (13, 16, 15)


def drawn(counts: torch.Tensor, measured: torch.Tensor, fraction: float = 0.05) -> torch.Tensor:
    return free_voxels(counts, measured, fraction, torch.Generator().manual_seed(3))


def test_held_out_voxels_are_measured_ones_away_from_the_peak() -> None:
    rng = np.random.default_rng(0)
    counts = torch.as_tensor(rng.poisson(3.0, (2, *SHAPE)).astype(float))
    counts[0, 4, 5, 6] = counts[1, 11, 2, 9] = 1000
    measured = torch.as_tensor(rng.random((2, *SHAPE)) < 0.8)
    free = drawn(counts, measured)
    assert not bool((free & ~measured).any())
    assert not bool(free[0, 2:7, 3:8, 4:9].any())
    assert not bool(free[1, 9:13, 0:5, 7:12].any())
    share = free.flatten(1).double().mean(1) / measured.flatten(1).double().mean(1)
    torch.testing.assert_close(share, torch.full((2,), 0.05, dtype=torch.float64), rtol=0.3, atol=0)
    assert torch.equal(free, drawn(counts, measured))


def test_the_neighbourhood_of_a_peak_goes_on_at_the_other_end() -> None:
    """Where the origin is at index 0, so is the peak: its neighbours there are the last voxels."""
    counts, measured = torch.ones(1, *SHAPE, dtype=torch.float64), torch.ones(1, *SHAPE, dtype=torch.bool)
    counts[0, 0, 1, 0] = 1000
    free = drawn(counts, measured, 0.9)[0]
    near = [[-2, -1, 0, 1, 2], [-1, 0, 1, 2, 3], [-2, -1, 0, 1, 2]]
    assert not bool(free[np.ix_(*near)].any())
    assert int(free.sum()) > 0.8 * (free.numel() - 125)


def test_a_tiny_fraction_still_holds_one_voxel_out() -> None:
    counts, measured = torch.ones(1, *SHAPE, dtype=torch.float64), torch.ones(1, *SHAPE, dtype=torch.bool)
    assert int(drawn(counts, measured, 1e-9).sum()) == 1


def test_nothing_left_to_hold_out_is_one_line() -> None:
    counts, measured = torch.zeros(1, *SHAPE, dtype=torch.float64), torch.zeros(1, *SHAPE, dtype=torch.bool)
    counts[0, 6, 6, 6], measured[0, 5:8, 5:8, 5:8] = 9, True
    with pytest.raises(ValueError, match="mask must leave voxels to hold out beside the peak, got 27 measured"):
        drawn(counts, measured)


def test_the_deviance_of_the_truth_is_one_a_voxel_and_less_than_of_anything_else() -> None:
    """Chi-square's mean where counts are many."""
    rng = np.random.default_rng(1)
    truth = torch.as_tensor(rng.uniform(20, 60, (1, *SHAPE)))
    counts = torch.as_tensor(rng.poisson(truth.numpy()).astype(float))
    everywhere = torch.ones(1, *SHAPE, dtype=torch.bool)
    best = float(poisson_deviance(counts, truth, everywhere))
    assert best == pytest.approx(1, abs=0.06)
    assert float(poisson_deviance(counts, 1.1 * truth, everywhere)) > best
    assert float(poisson_deviance(counts, 0.9 * truth, everywhere)) > best


def test_deviance_terms_are_zero_for_the_counts_themselves_and_positive_elsewhere() -> None:
    counts = torch.tensor([0.0, 1.0, 7.0, 300.0], dtype=torch.float64)
    torch.testing.assert_close(deviance_terms(counts[1:], counts[1:]), torch.zeros(3).double(), atol=1e-10, rtol=0)
    assert bool((deviance_terms(counts, counts * 1.3 + 0.2) > 0).all())


def test_deviance_terms_are_twice_the_log_likelihood_ratio() -> None:
    counts, model = torch.tensor([0.0, 3.0, 12.0]).double(), torch.tensor([0.4, 5.0, 10.0]).double()
    poisson = torch.distributions.Poisson
    ratio = poisson(counts.clamp_min(1e-12)).log_prob(counts) - poisson(model).log_prob(counts)
    torch.testing.assert_close(deviance_terms(counts, model), 2 * ratio, atol=1e-9, rtol=0)


def test_the_deviance_looks_at_the_chosen_voxels_alone() -> None:
    counts, model = torch.full((1, *SHAPE), 5.0), torch.full((1, *SHAPE), 5.0)
    model[0, 0] = 900
    chosen = torch.ones(1, *SHAPE, dtype=torch.bool)
    chosen[0, 0] = False
    assert float(poisson_deviance(counts, model, chosen)) == 0


def test_the_deviance_of_a_dark_model_is_finite() -> None:
    counts = amplitude_from_object(torch.ones(1, *SHAPE, dtype=torch.complex128)).abs().square()
    assert np.isfinite(float(poisson_deviance(counts, torch.zeros_like(counts), torch.ones_like(counts) > 0)))
