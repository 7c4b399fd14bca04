"""The kernel of partial coherence: its form, and that a fit finds it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cdi.detector.coherence import partial_coherence
from cdi.fourier import SPATIAL, amplitude_from_object, origin_to_centre, origin_to_corner
from cdi.retrieval.coherence_kernel import blurred_intensity, fitted_kernel, gaussian_kernel, kernel_widths
from cdi.retrieval.config import CoherenceFit

SHAPE = (18, 21, 20)
SIGMA = torch.tensor([0.9, 1.2, 1.0], dtype=torch.float64)


@pytest.fixture
def intensity() -> Tensor:
    """Pattern of an uneven cuboid, origin at index 0."""
    density = torch.zeros(SHAPE, dtype=torch.complex128)
    density[5:11, 6:13, 8:13] = 1
    return origin_to_corner(amplitude_from_object(density).abs().square())


def test_the_transform_of_the_kernel_can_be_given(intensity: Tensor) -> None:
    kernel = gaussian_kernel(SIGMA, SHAPE, 4)
    given = blurred_intensity(intensity, kernel, torch.fft.rfftn(kernel, dim=SPATIAL))
    torch.testing.assert_close(given, blurred_intensity(intensity, kernel))


def test_dark_voxels_stay_above_what_they_send_to_themselves(intensity: Tensor) -> None:
    """In single precision the rounding of the peak exceeds them."""
    kernel = gaussian_kernel(SIGMA, SHAPE, 4).float()
    bright = intensity.float() + 1e12 * (torch.arange(SHAPE[2]) == 0) * (torch.arange(SHAPE[1]) == 0)[:, None]
    assert bool((blurred_intensity(bright, kernel) >= kernel[0, 0, 0] * bright).all())


def test_a_gaussian_kernel_has_its_widths_and_sum_one() -> None:
    kernel = gaussian_kernel(SIGMA, SHAPE, 8)
    assert float(kernel.sum()) == pytest.approx(1)
    torch.testing.assert_close(kernel_widths(kernel), SIGMA, rtol=5e-3, atol=0)
    assert float(gaussian_kernel(SIGMA, SHAPE, 2)[3].sum()) == 0


def test_the_blur_is_that_of_the_detector_model(intensity: Tensor) -> None:
    """σ voxels of the pattern are a coherence length ξ = N a / 2πσ of the beam (cdi.detector.coherence)."""
    voxel = torch.diag(torch.tensor([10.0, 12.0, 9.0], dtype=torch.float64))
    lengths = torch.tensor(SHAPE) * voxel.diagonal() / (2 * torch.pi * SIGMA)
    centred = origin_to_centre(intensity)
    expected = origin_to_corner(partial_coherence(centred, voxel, lengths))
    found = blurred_intensity(intensity, gaussian_kernel(SIGMA, SHAPE, 8))
    assert float((found - expected).abs().max()) < 2e-3 * float(expected.max())


def test_the_true_kernel_is_a_fixed_point(intensity: Tensor) -> None:
    kernel = gaussian_kernel(SIGMA, SHAPE, 4)
    measured = blurred_intensity(intensity, kernel)
    loose = torch.zeros(SHAPE, dtype=torch.float64)
    fitted = fitted_kernel(kernel, intensity, measured, loose, CoherenceFit("richardson-lucy", updates=3))
    torch.testing.assert_close(fitted, kernel, rtol=0, atol=1e-4)


@pytest.mark.parametrize("form", ["richardson-lucy", "gaussian"])
def test_a_fit_finds_the_blur_whatever_lies_on_loose_voxels(intensity: Tensor, form: str) -> None:
    """Its widths and what it makes of the pattern; its shape within a fringe is hardly seen."""
    truth = gaussian_kernel(SIGMA, SHAPE, 4)
    loose = torch.as_tensor(np.random.default_rng(0).random(SHAPE) < 0.05).double()
    measured = torch.where(loose > 0, 0.0, blurred_intensity(intensity, truth))
    first = gaussian_kernel(torch.full((3,), 0.4, dtype=torch.float64), SHAPE, 4)
    fitted = fitted_kernel(first, intensity, measured, loose, CoherenceFit(form, updates=150))
    found, expected = (blurred_intensity(intensity, kernel) for kernel in (fitted, truth))
    assert float((found - expected).norm()) < 0.04 * float(expected.norm())
    torch.testing.assert_close(kernel_widths(fitted), kernel_widths(truth), rtol=0.06, atol=0)


def test_a_fit_raises_the_likelihood_at_every_update(intensity: Tensor) -> None:
    """As an expectation maximisation must."""
    measured = blurred_intensity(intensity, gaussian_kernel(SIGMA, SHAPE, 4))
    loose, settings = torch.zeros(SHAPE, dtype=torch.float64), CoherenceFit("richardson-lucy", updates=1)
    kernel = gaussian_kernel(torch.full((3,), 0.4, dtype=torch.float64), SHAPE, 4)
    heights = []
    for _ in range(6):
        model = blurred_intensity(intensity, kernel).clamp(min=1e-12)
        heights.append(float((torch.xlogy(measured, model) - model).sum()))
        kernel = fitted_kernel(kernel, intensity, measured, loose, settings)
    assert (np.diff(heights) > 0).all()
