"""Partial coherence: blur in q, visibility in real space, and what neither changes."""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.detector.coherence import DECAY, Coherence, partial_coherence
from cdi.fourier import amplitude_from_object, object_from_amplitude
from cdi.grid import QGrid

LENGTHS = torch.tensor([180.0, 280.0, 150.0], dtype=torch.float64)
FORMS = sorted(DECAY)


def degree(separation: Tensor, form: str) -> Tensor:
    """γ as the docstring of ``Coherence`` writes it."""
    ratio = separation / LENGTHS
    return torch.exp(-(ratio**2).sum(-1) / 2) if form == "gaussian" else torch.exp(-ratio.abs().sum(-1))


def relative_q(grid: QGrid) -> Tensor:
    return torch.as_tensor(np.stack(grid.axes(), -1) - grid.centre)


def pattern_of(sites: Tensor, weights: Tensor, q: Tensor) -> Tensor:
    return (weights * torch.exp(1j * (q @ sites.T))).sum(-1).abs().square()


@pytest.fixture
def sites(sheared_grid: QGrid) -> Tensor:
    """Voxels of the central half of the field of view: what the grid oversamples by two."""
    index = torch.tensor([[-2, 1, 0], [1, -2, 1], [0, 2, -1], [2, 0, 1], [-1, -1, -1.0]], dtype=torch.float64)
    return index @ torch.as_tensor(sheared_grid.voxel)


@pytest.fixture
def weights() -> Tensor:
    return torch.tensor([1.0, 0.7 + 0.4j, -0.5, 0.9j, 1.2], dtype=torch.complex128)


@pytest.mark.parametrize("form", FORMS)
def test_a_fully_coherent_beam_leaves_the_pattern(
    form: str, sheared_grid: QGrid, sites: Tensor, weights: Tensor
) -> None:
    pattern = pattern_of(sites, weights, relative_q(sheared_grid))
    coherent = torch.full((3,), math.inf, dtype=torch.float64)
    blurred = partial_coherence(pattern, torch.as_tensor(sheared_grid.voxel), coherent, form)
    torch.testing.assert_close(blurred, pattern, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_fringes_keep_the_visibility_that_the_coherence_has_at_their_separation(form: str, sheared_grid: QGrid) -> None:
    """Two points Δ apart give 2 + 2 cos(q·Δ); a partially coherent beam makes it 2 + 2 γ(Δ) cos(q·Δ)."""
    voxel, q = torch.as_tensor(sheared_grid.voxel), relative_q(sheared_grid)
    for index in ([1.0, 2, -1], [-2, 1, 1], [3, -1, 2]):
        separation = torch.tensor(index, dtype=torch.float64) @ voxel
        phase = q @ separation
        blurred = partial_coherence(2 + 2 * torch.cos(phase), voxel, LENGTHS, form)
        visibility = degree(separation, form)
        assert 0.02 < visibility < 0.9
        torch.testing.assert_close(blurred, 2 + 2 * visibility * torch.cos(phase), rtol=0, atol=1e-12)


def test_a_gaussian_peak_widens_by_the_inverse_coherence_lengths() -> None:
    """exp(−½ q·S⁻¹q) becomes √(|S|/|S + Σ|) exp(−½ q·(S + Σ)⁻¹q) with Σ = diag(1/ξ²), on a sheared grid too."""
    step = 0.004 * (np.eye(3) + np.array([[0, 0.2, -0.1], [0.05, 0, 0.15], [-0.12, 0.07, 0]]))
    grid = QGrid([1.3, -2.1, 0.8], step, (32, 35, 30))
    q = np.stack(grid.axes(), -1) - grid.centre
    before = 0.0075**2 * np.array([[1.3, 0.2, 0], [0.2, 0.9, -0.1], [0, -0.1, 1.1]])
    after = before + np.diag(1 / np.array([160.0, 260.0, 200.0]) ** 2)
    gaussian = [np.exp(-np.einsum("...i,ij,...j", q, np.linalg.inv(s), q) / 2) for s in (before, after)]
    lengths = torch.tensor([160.0, 260.0, 200.0], dtype=torch.float64)
    blurred = partial_coherence(torch.as_tensor(gaussian[0]), torch.as_tensor(grid.voxel), lengths)
    expected = np.sqrt(np.linalg.det(before) / np.linalg.det(after)) * gaussian[1]
    assert expected.max() < 0.8  # the blur is no trifle
    np.testing.assert_allclose(blurred.numpy(), expected, rtol=0, atol=2e-5)


def test_the_blur_is_the_sum_over_an_incoherent_source(sheared_grid: QGrid, sites: Tensor, weights: Tensor) -> None:
    """A source point in direction k shifts the pattern by k: the Gaussian average of the shifted patterns."""
    q = relative_q(sheared_grid)
    nodes, shares = (torch.as_tensor(a) for a in np.polynomial.hermite_e.hermegauss(7))
    averaged = torch.zeros(sheared_grid.shape, dtype=torch.float64)
    for i, j, k in itertools.product(range(7), repeat=3):
        shift = torch.stack([nodes[i], nodes[j], nodes[k]]) / LENGTHS
        averaged += shares[i] * shares[j] * shares[k] * pattern_of(sites, weights, q - shift)
    blurred = partial_coherence(pattern_of(sites, weights, q), torch.as_tensor(sheared_grid.voxel), LENGTHS)
    torch.testing.assert_close(blurred, averaged / shares.sum() ** 3, rtol=0, atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_no_photon_is_gained_or_lost(form: str, sheared_grid: QGrid, sites: Tensor, weights: Tensor) -> None:
    pattern = pattern_of(sites, weights, relative_q(sheared_grid))
    blurred = partial_coherence(pattern, torch.as_tensor(sheared_grid.voxel), LENGTHS, form)
    assert blurred.min() >= 0
    assert (blurred - pattern).abs().max() > 0.1 * pattern.max()
    torch.testing.assert_close(blurred.sum(), pattern.sum(), rtol=1e-12, atol=0)


def test_each_pattern_of_a_batch_has_its_own_grid_and_lengths(rotation: NDArray[np.float64]) -> None:
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand((2, 5, 6, 7), dtype=torch.float64, generator=generator)
    voxels = torch.as_tensor(np.stack([20 * rotation, 30 * rotation.T]))
    lengths = torch.stack([LENGTHS, LENGTHS.flip(0)])
    together = partial_coherence(patterns, voxels, lengths)
    alone = [partial_coherence(*each) for each in zip(patterns, voxels, lengths, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone))


@pytest.mark.parametrize("form", FORMS)
def test_derivatives_with_respect_to_pattern_voxels_and_lengths(form: str, rotation: NDArray[np.float64]) -> None:
    generator = torch.Generator().manual_seed(1)
    pattern = 1 + torch.rand((3, 4, 2), dtype=torch.float64, generator=generator)
    voxel = torch.as_tensor(25 * rotation)
    inputs = [tensor.clone().requires_grad_() for tensor in (pattern, voxel, LENGTHS)]
    assert torch.autograd.gradcheck(lambda *tensors: partial_coherence(*tensors, form), inputs)


@pytest.mark.parametrize(
    ("lengths", "form", "message"),
    [
        ((1.0, 0.0, 2.0), "gaussian", "lengths_A must be positive, got"),
        ((1.0, math.nan, 2.0), "gaussian", "lengths_A must be positive, got"),
        ((1.0, 3.0, 2.0), "lorentz", "form must be one of gaussian, exponential, got 'lorentz'"),
    ],
)
def test_impossible_coherence_is_refused(lengths: tuple[float, float, float], form: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Coherence(lengths, form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(9, 8, 11), (8, 10, 12)])
def test_half_of_the_autocorrelation_gives_what_all_of_it_gives(form: str, shape: tuple[int, int, int]) -> None:
    """Real transforms equal the centred complex ones to 10⁻¹², on even and odd shapes and sheared voxels."""
    generator = torch.Generator().manual_seed(0)
    crystal = torch.rand(tuple(n // 2 for n in shape), generator=generator, dtype=torch.float64)
    pattern = torch.fft.fftshift(torch.fft.fftn(crystal, s=shape).abs().square())
    voxel = torch.tensor([[21.0, 3, -4], [2, 19, 5], [-3, 1, 23]], dtype=torch.float64)
    index = torch.stack(torch.meshgrid(*(torch.arange(n) - n // 2 for n in shape), indexing="ij"), -1).double()
    factor = degree(index @ voxel, form)
    expected = amplitude_from_object(object_from_amplitude(pattern) * factor).real
    torch.testing.assert_close(
        partial_coherence(pattern, voxel, LENGTHS, form), expected, rtol=0, atol=1e-12 * float(pattern.max())
    )
