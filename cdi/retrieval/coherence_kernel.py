"""The blur of a partially coherent beam, fitted to a pattern while its object is retrieved.

Clark, Huang, Harder & Robinson, Nat. Commun. 3, 993 (2012): the measured intensity is the coherent one
convolved with a positive kernel k of sum 1, and k follows from both by Richardson–Lucy updates

    k ← k · [(I_measured / (I ⊗ k)) ⋆ I] / Σ I,

which raise the Poisson likelihood at every step (Shepp & Vardi, IEEE Trans. Med. Imaging 1, 113, 1982). k is kept
even, as for a field whose coherence depends on separation alone; an odd part would only shift the pattern.
Origins are at index 0.
"""

import numpy as np
import torch
from torch import Tensor

from cdi.fourier import SPATIAL
from cdi.retrieval.config import CoherenceFit

Shape = tuple[int, int, int]

DARK = 1e-6
"""Model intensity, relative to the brightest voxel, below which a ratio to it says nothing."""
LEAST_WIDTH = 0.25
"""Narrowest Gaussian in voxels that a fit returns: a narrower one is sampled as no blur, and would stay so."""
ROUNDS = 20
"""Of the search for a Gaussian of given widths; each brings it several times nearer."""


def gaussian_kernel(sigma: Tensor, shape: Shape, reach: int) -> Tensor:
    """Gaussian ``(..., x, y, z)`` of sum 1 and widths ``sigma`` (..., 3) in voxels, zero beyond ``reach`` voxels."""
    kernel = torch.ones((), dtype=sigma.dtype, device=sigma.device)
    for axis, n in enumerate(shape):
        place = _places(n, sigma)
        profile = torch.exp(-((place / sigma[..., axis, None]) ** 2) / 2) * (place.abs() <= reach)
        sides = [1, 1, 1]
        sides[axis] = n
        kernel = kernel * profile.reshape(*sigma.shape[:-1], *sides)
    return kernel / kernel.sum(SPATIAL, keepdim=True)


def kernel_widths(kernel: Tensor) -> Tensor:
    """Root-mean-square widths ``(..., 3)`` in voxels of an even ``kernel`` (..., x, y, z)."""
    widths = []
    for axis in range(3):
        others = tuple(number - 3 for number in range(3) if number != axis)
        profile = kernel.sum(others)
        place = _places(profile.shape[-1], kernel)
        widths.append(((profile * place**2).sum(-1) / profile.sum(-1)).sqrt())
    return torch.stack(widths, -1)


def gaussian_widths(kernel: Tensor, shape: Shape, reach: int) -> Tensor:
    """Widths ``(..., 3)`` of the ``gaussian_kernel`` that has the root-mean-square widths of ``kernel``.

    A Gaussian sampled on voxels and cut off is narrower than its name, the more so the narrower it is.
    """
    wanted = kernel_widths(kernel).square()
    variance = wanted.clamp(min=LEAST_WIDTH**2)
    for _ in range(ROUNDS):
        short = wanted - kernel_widths(gaussian_kernel(variance.sqrt(), shape, reach)).square()
        variance = (variance + short).clamp(min=LEAST_WIDTH**2, max=float(reach) ** 2)
    return variance.sqrt()


def blurred_intensity(intensity: Tensor, kernel: Tensor, spectrum: Tensor | None = None) -> Tensor:
    """``intensity`` convolved with ``kernel``, periodic; ``spectrum = rfftn(kernel)`` saves its transform."""
    shape = tuple(intensity.shape[-3:])
    factor = torch.fft.rfftn(kernel, dim=SPATIAL) if spectrum is None else spectrum
    convolved: Tensor = torch.fft.irfftn(torch.fft.rfftn(intensity, dim=SPATIAL) * factor, s=shape, dim=SPATIAL)
    # Rounding of the bright voxels drowns the dark ones, and a quotient by it would blow them up: what a
    # voxel sends to itself is a bound from below.
    return torch.maximum(convolved, kernel[..., :1, :1, :1] * intensity)


def fitted_kernel(kernel: Tensor, intensity: Tensor, measured: Tensor, loose: Tensor, settings: CoherenceFit) -> Tensor:
    """``kernel`` (..., x, y, z) after the Richardson–Lucy updates of one fit; zero beyond ``settings.reach``.

    ``intensity`` (..., x, y, z) is |F|² of the object, ``measured`` the counts, which are not looked at where
    ``loose`` is 1. A Gaussian keeps its form by taking the second moments of the updated kernel.
    """
    shape = (intensity.shape[-3], intensity.shape[-2], intensity.shape[-1])
    spectrum = torch.fft.rfftn(intensity, dim=SPATIAL)
    dark = DARK * measured.amax(SPATIAL, keepdim=True)
    for _ in range(settings.updates):
        model = torch.fft.irfftn(spectrum * torch.fft.rfftn(kernel, dim=SPATIAL), s=shape, dim=SPATIAL)
        ratio = measured / torch.maximum(model, dark)
        ratio = torch.where(loose > 0, 1, ratio)
        back = torch.fft.irfftn(torch.fft.rfftn(ratio, dim=SPATIAL) * spectrum.conj(), s=shape, dim=SPATIAL)
        # The kernel is exactly zero beyond its reach, and a product leaves it so.
        kernel = kernel * back.clamp(min=0)
        kernel = kernel + torch.roll(kernel.flip(SPATIAL), (1, 1, 1), SPATIAL)
        kernel = kernel / kernel.sum(SPATIAL, keepdim=True)
    if settings.kernel == "gaussian":
        return gaussian_kernel(gaussian_widths(kernel, shape, settings.reach), shape, settings.reach)
    return kernel


def _places(n: int, like: Tensor) -> Tensor:
    """Voxel numbers ``(n,)`` counted from index 0, negative in the upper half."""
    return torch.as_tensor(np.fft.fftfreq(n, 1 / n), dtype=like.dtype, device=like.device)
