"""Charge sharing: within a frame, to the last photon."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from cdi.detector.point_spread import PointSpread, point_spread, shared_charge

PIXELS = torch.arange(-9.0, 10, dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.1])
def test_shares_are_the_integral_over_both_pixels_and_sum_to_one(sigma: float) -> None:
    """A photon anywhere in its pixel, its charge spread normally: Gauss–Legendre over the former."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    edges = PIXELS.numpy()[:, None] - nodes / 2
    integral = (norm.cdf((edges + 0.5) / sigma) - norm.cdf((edges - 0.5) / sigma)) @ weights / 2
    shares = shared_charge(PIXELS, sigma)
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.numpy(), integral, rtol=0, atol=1e-6)
    assert float(shares.sum()) == pytest.approx(1, abs=1e-14)


def test_a_wide_cloud_adds_its_variance_to_that_of_two_pixels() -> None:
    """Hit and counting pixel are each 1/12 wide in variance: σ² + 1/6 in all."""
    shares = shared_charge(PIXELS, 0.9)
    assert float((shares * PIXELS**2).sum()) == pytest.approx(0.81 + 1 / 6, abs=1e-6)


def test_a_photon_spreads_within_its_frame_alone() -> None:
    hit = torch.zeros((5, 17, 15), dtype=torch.float64)
    hit[2, 8, 6] = 3.0
    spread = point_spread(hit, 0.5)
    rows = shared_charge(torch.arange(17.0, dtype=torch.float64) - 8, 0.5)
    columns = shared_charge(torch.arange(15.0, dtype=torch.float64) - 6, 0.5)
    torch.testing.assert_close(spread[2], 3 * rows[:, None] * columns, rtol=0, atol=1e-12)
    assert not spread[[0, 1, 3, 4]].any()


def test_the_edges_of_the_window_mirror() -> None:
    """What would be counted before the first or after the last row is counted as far behind it."""
    hit = torch.zeros((2, 9, 8), dtype=torch.float64)
    hit[0, 1, 7] = 1.0
    rows, columns = torch.arange(9.0, dtype=torch.float64), torch.arange(8.0, dtype=torch.float64)
    folded_rows = shared_charge(rows - 1, 0.7) + shared_charge(rows + 2, 0.7)
    folded_columns = shared_charge(columns - 7, 0.7) + shared_charge(columns - 8, 0.7)
    torch.testing.assert_close(point_spread(hit, 0.7)[0], folded_rows[:, None] * folded_columns, rtol=0, atol=1e-12)


def test_every_frame_keeps_its_photons() -> None:
    frames = torch.rand((2, 5, 6, 7), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    spread = point_spread(frames, 0.8)
    assert (spread - frames).abs().max() > 0.1
    torch.testing.assert_close(spread.sum((-2, -1)), frames.sum((-2, -1)))


def test_a_narrow_cloud_leaves_the_frames() -> None:
    """Only photons within σ of an edge are shared: a fraction 2σφ(0) each way."""
    frames = torch.rand((3, 6, 7), dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(point_spread(frames, 1e-4), frames, rtol=0, atol=4e-4)


def test_a_batch_is_its_members() -> None:
    frames = torch.rand((2, 3, 5, 6, 7), dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    alone = torch.stack([torch.stack([point_spread(one, 0.4) for one in row]) for row in frames])
    torch.testing.assert_close(point_spread(frames, 0.4), alone)


def test_derivatives_with_respect_to_frames_and_width() -> None:
    frames = torch.rand((2, 4, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    sigma = torch.tensor(0.6, dtype=torch.float64)
    assert torch.autograd.gradcheck(point_spread, [frames.requires_grad_(), sigma.requires_grad_()])


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan")])
def test_the_cloud_must_have_a_width(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma_pixels must be positive and finite, got"):
        PointSpread(sigma)


def test_no_share_is_less_than_nothing() -> None:
    """The second difference that it is rounds below zero far off, and no dark voxel can be counted of that."""
    pixels = torch.arange(64, dtype=torch.float64)
    for sigma in torch.linspace(0.02, 1.5, 300, dtype=torch.float64):
        shares = shared_charge(pixels, sigma)
        assert shares.min() >= 0
        assert float(shares.sum() + shares[1:].sum()) == pytest.approx(1)
    lit = torch.zeros(1, 64, 64, dtype=torch.float64)
    lit[0, 5, 5] = 4e13
    assert point_spread(lit, 0.130387550765162).min() >= 0
