"""Errors of the rocking curve: frames at angles that were not asked for, in a beam that flickers.

A pattern that its grid oversamples is band-limited along the rocking axis too, so its value between
two frames follows from the Dirichlet kernel Σ_n cos(2πn(p − f)/N)/N without any smoothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cdi.requirements import require_within


@dataclass(frozen=True)
class RockingError:
    """How a rocking curve departs from its plan.

    Parameters
    ----------
    jitter_steps : standard deviation of a frame's angle, in steps of the scan.
    stretch : true step over nominal step, minus 1.
    intensity_rms : relative standard deviation of the beam's intensity from frame to frame.

    Raises
    ------
    ValueError
        For a jitter above 1 step, a stretch beyond ±0.5 or an rms above 1.
    """

    jitter_steps: float = 0.0
    stretch: float = 0.0
    intensity_rms: float = 0.0

    def __post_init__(self) -> None:
        require_within(self, 0, 1, "jitter_steps", "intensity_rms")
        require_within(self, -0.5, 0.5, "stretch")


def frame_positions(
    batch: tuple[int, ...], frames: int, *, jitter: float, stretch: float, generator: torch.Generator
) -> Tensor:
    """True positions ``(*batch, frames)`` of the frames, in steps; frame ``frames // 2`` is the stretch's fixed point.

    Positions beyond the first and last frame stay there: nothing is known outside.
    """
    nominal = torch.arange(frames, dtype=torch.float64, device=generator.device)
    normal = torch.randn((*batch, frames), dtype=torch.float64, device=generator.device, generator=generator)
    middle = frames // 2
    return (middle + (nominal - middle) * (1 + stretch) + jitter * normal).clamp(0, frames - 1)


def rocking_step_error(intensity: Tensor, positions: Tensor) -> Tensor:
    """Pattern ``(..., frames, rows, columns)`` as met at the true ``positions`` ``(..., frames)``, in steps.

    Differentiable in both. Exact for an oversampled pattern that repeats beyond the window.
    """
    frames = intensity.shape[-3]
    index = torch.arange(frames, dtype=positions.dtype, device=positions.device)
    wave = 2 * torch.pi / frames * (index - frames // 2)
    at, plan = positions[..., None] * wave, index[:, None] * wave
    kernel = (torch.cos(at) @ torch.cos(plan).mT + torch.sin(at) @ torch.sin(plan).mT) / frames
    resampled = torch.einsum("...pf,...frc->...prc", kernel.to(intensity.dtype), intensity)
    # Below zero lie only rounding and the ringing of a pattern that the window cuts.
    return resampled.clamp(min=0)


def beam_factors(batch: tuple[int, ...], frames: int, *, rms: float, generator: torch.Generator) -> Tensor:
    """Log-normal factors ``(*batch, frames)`` of mean 1 and relative standard deviation ``rms``."""
    variance = torch.log1p(torch.as_tensor(rms, dtype=torch.float64) ** 2).item()
    normal = torch.randn((*batch, frames), dtype=torch.float64, device=generator.device, generator=generator)
    return torch.exp(variance**0.5 * normal - variance / 2)


def beam_fluctuation(intensity: Tensor, factors: Tensor) -> Tensor:
    """Each frame of ``intensity`` (..., frames, rows, columns) times its factor ``(..., frames)``."""
    return intensity * factors[..., None, None].to(intensity.dtype)
