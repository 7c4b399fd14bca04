"""Small crystals whose truth is known, for the tests of refinements: uneven arrays, strain, and a line or none."""

import numpy as np
import torch
from torch import Tensor

from cdi.fourier import amplitude_from_object
from cdi.pattern import Exposure
from cdi.refinement.line_phase import Track, winding_phase

SHAPE = (20, 18, 22)
LINE = torch.tensor([[-0.6, 0.8, -4.0], [0.4, 1.2, 4.0]], dtype=torch.float64)


def points() -> Tensor:
    """Voxel numbers ``(*SHAPE, 3)`` from the origin."""
    x, y, z = (torch.arange(n, dtype=torch.float64) - n // 2 for n in SHAPE)
    return torch.stack(torch.meshgrid(x, y, z, indexing="ij"), -1)


def support() -> Tensor:
    """A lopsided ellipsoid: not its own twin."""
    r = points()
    inside = (r / torch.tensor([4.4, 4.0, 4.9], dtype=torch.float64)).square().sum(-1) <= 1
    return inside & (r @ torch.tensor([0.6, 0.3, 0.5], dtype=torch.float64) <= 2.6)


def density(line: Tensor | None, strain: float = 0.6) -> Tensor:
    """Complex ``(1, *SHAPE)`` of a strained crystal, with a line of winding 1 about ``line`` or none."""
    r = points()
    phase = strain * torch.cos(0.35 * r[..., 0] + 0.2 * r[..., 2] + 0.4)
    if line is not None:
        phase = phase + winding_phase(Track(line), r.reshape(-1, 3)).reshape(SHAPE)
    return torch.polar(support().double(), phase)[None]


def exposure(object_: Tensor, peak: float = 2e4, background: float = 0.05, seed: int = 3) -> Exposure:
    """Counts of ``object_`` (1, *SHAPE)."""
    intensity = amplitude_from_object(object_[0]).abs().square().numpy()
    mean = intensity * peak / intensity.max() + background
    return Exposure(np.random.default_rng(seed).poisson(mean).astype(np.float32))
