"""Modes and correlations of aligned runs."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cdi.fourier import amplitude_from_object
from cdi.retrieval.averaging import RadialCurve, principal_mode, shell_correlation, transfer_function

SHAPE = (12, 15, 14)


def random_densities(count: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.normal(size=(count, *SHAPE)) + 1j * rng.normal(size=(count, *SHAPE)))


def test_equal_runs_are_their_own_mode() -> None:
    density = random_densities(2)
    mode, weight = principal_mode(density.expand(4, *density.shape))
    torch.testing.assert_close(mode, density)
    torch.testing.assert_close(weight, torch.ones(2, dtype=torch.float64))


def test_orthogonal_runs_share_the_weight_by_their_power() -> None:
    """Two runs without overlap of power 4 and 1: the mode is the stronger, with 4/5 of the power."""
    first, second = torch.zeros(2, 1, *SHAPE, dtype=torch.complex128)
    first[0, :6], second[0, 6:] = 2.0, 1.0j
    mode, weight = principal_mode(torch.stack([first, second * (6 / 6) ** 0.5]))
    assert float(weight) == pytest.approx(0.8)
    torch.testing.assert_close(mode, first / 2**0.5)


def test_the_mode_of_noisy_runs_is_nearer_to_the_truth_than_any_run() -> None:
    truth = random_densities(1)
    runs = truth + 0.5 * random_densities(6, seed=1)[:, None]
    mode, _ = principal_mode(runs)
    assert float((mode - truth).norm()) < 0.6 * min(float((run - truth).norm()) for run in runs)


def test_the_transfer_function_is_one_for_agreeing_and_low_for_random_phases() -> None:
    """1/√runs for random phases (Chapman et al. 2006); unmeasured voxels do not enter."""
    density = random_densities(1)
    root = amplitude_from_object(density).abs()
    measured = torch.as_tensor(np.random.default_rng(2).random((1, *SHAPE)) < 0.7)
    same = transfer_function(density.expand(3, *density.shape), torch.where(measured, root, 0), measured)
    np.testing.assert_allclose(same.values[0], 1)
    spread = transfer_function(random_densities(16, seed=3)[:, None], root, measured)
    scale = np.nanmean(spread.values[0, 1:]) * 4
    assert 0.8 < scale < 1.6


def test_the_shell_correlation_counts_what_two_halves_share() -> None:
    """1 with itself whatever its scale, about s/(s + n) for signal and noise of known power."""
    density = random_densities(1)
    np.testing.assert_allclose(shell_correlation(density, 3j * density).values, 1)
    first, second = (density + random_densities(1, seed) for seed in (5, 6))
    assert np.nanmean(shell_correlation(first, second).values[0, 2:]) == pytest.approx(0.5, abs=0.08)


def test_a_resolution_is_the_half_period_of_the_first_shell_below_the_level() -> None:
    curve = RadialCurve(np.array([0.0, 0.1, 0.2, 0.3]), np.array([[0.1, 0.9, 0.8, 0.2], [1, 0.9, 0.9, 0.9]]))
    np.testing.assert_allclose(curve.resolution(0.5), [0.5 / 0.3, 1])
