"""Charge sharing: photons counted by a neighbour of the pixel that they hit.

The charge of a photon reaches the electrodes as a Gaussian cloud of width σ. A photon that falls
anywhere in its pixel with equal chance leaves in the pixel k further on the share

    w(k) = δ_k0 + g(k + 1) − 2 g(k) + g(k − 1),    g(x) = σ φ(x/σ) − |x| Φ(−|x|/σ),

the exact integral over both pixels (φ, Φ: normal density and distribution). Counting pixels give
each photon to one of them, so the expected photons are spread before they are counted.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cdi.requirements import require_positive
from cdi.shapes.shape import as_parameter


@dataclass(frozen=True)
class PointSpread:
    """Charge cloud of ``sigma_pixels`` (standard deviation in pixels), positive."""

    sigma_pixels: float

    def __post_init__(self) -> None:
        require_positive(self, "sigma_pixels")


def shared_charge(pixels: Tensor, sigma: Tensor | float) -> Tensor:
    """Share w of the photons of a pixel that is counted ``pixels`` (whole numbers) further on; sums to 1."""
    width = as_parameter(sigma).to(pixels.device)
    shared = _excess(pixels + 1, width) - 2 * _excess(pixels, width) + _excess(pixels - 1, width)
    # Far off rounding leaves less than nothing, of which no dark voxel can be counted.
    return (shared + (pixels == 0).to(shared.dtype)).clamp_min(0)


def point_spread(intensity: Tensor, sigma: Tensor | float) -> Tensor:
    """Expected photons ``(..., frames, rows, columns)`` after charge sharing within each frame.

    Rows and columns of one detector frame share, frames of the rocking axis do not. The window's
    edges mirror: as much comes in from outside as leaves, so that every frame keeps its sum.
    Differentiable in both tensors; ``sigma`` (scalar) in pixels.
    """
    rows, columns = (_mirrored_spread(n, sigma, intensity) for n in intensity.shape[-2:])
    spread: Tensor = rows @ intensity @ columns.mT
    return spread


def _excess(distance: Tensor, sigma: Tensor) -> Tensor:
    """g(x): without the ramp max(x, 0), whose second difference would cancel only to rounding."""
    x = distance.abs()
    density = torch.exp(-((x / sigma) ** 2) / 2) / math.sqrt(2 * math.pi)
    tail: Tensor = torch.special.erfc(x / (sigma * math.sqrt(2))) / 2
    return sigma * density - x * tail


def _mirrored_spread(n: int, sigma: Tensor | float, like: Tensor) -> Tensor:
    """Matrix ``(n, n)`` from hit to counting pixel, each column's sum 1."""
    share = shared_charge(torch.arange(2 * n, dtype=torch.float64, device=like.device), sigma)
    index = torch.arange(n, device=like.device)
    to, hit = index[:, None], index
    spread = share[(to - hit).abs()] + share[to + hit + 1] + share[2 * n - 1 - to - hit]
    normalised: Tensor = spread / spread.sum(0)
    return normalised.to(like.dtype)
