"""Expected photons of a pattern, and their Poisson counts, on any device.

Volumes are ``(..., frames, rows, columns)``: axis −3 is the rocking axis, as in ``Exposure`` and
``RockingScan``. Randomness comes from a ``torch.Generator`` on the device of the volume, seeded
from the sample's numpy generator; on a CPU the counts are the same whatever the number of workers.
"""

import numpy as np
import torch
from torch import Tensor

from cdi.fourier import SPATIAL
from cdi.requirements import require


def torch_generator(generator: np.random.Generator, device: torch.device | str = "cpu") -> torch.Generator:
    """Generator on ``device``, seeded by one draw from the sample's numpy ``generator``."""
    return torch.Generator(device).manual_seed(int(generator.integers(2**63)))


def require_photons(intensity: Tensor) -> None:
    """Every pattern in ``intensity`` (..., frames, rows, columns) can be counted.

    Raises
    ------
    ValueError
        If it has fewer than three axes, holds NaN, infinity or negatives, or if one of its patterns
        is all zero.
    """
    require(intensity.ndim >= 3, "intensity", "have shape (..., frames, rows, columns)", tuple(intensity.shape))
    peaks = intensity.detach().amax(SPATIAL)
    # One transfer from the device: a NaN passes through minimum and maximum.
    least, dimmest, brightest = torch.stack([intensity.detach().amin(), peaks.amin(), peaks.amax()]).tolist()
    if not (least >= 0 and dimmest > 0 and brightest < float("inf")):
        raise ValueError(
            "intensity must be finite, not negative and hold a photon in every pattern, "
            f"got a minimum of {least} and maxima from {dimmest} to {brightest}"
        )


def expected_photons(intensity: Tensor, *, peak: float | None = None, total: float | None = None) -> Tensor:
    """``intensity`` scaled so that each pattern's brightest voxel expects ``peak`` photons, or all of it ``total``.

    With neither, the intensity is taken as expected photons. Differentiable.

    Raises
    ------
    ValueError
        If both levels are given.
    """
    require(peak is None or total is None, "peak and total", "not both be given", (peak, total))
    if peak is not None:
        return intensity * (peak / intensity.amax(SPATIAL, keepdim=True))
    if total is not None:
        return intensity * (total / intensity.sum(SPATIAL, keepdim=True))
    return intensity


def poisson_counts(expected: Tensor, generator: torch.Generator) -> Tensor:
    """Counted photons with mean and variance ``expected``, in its dtype; cut from the graph of derivatives.

    Raises
    ------
    ValueError
        If the generator lives on another device.
    """
    require(
        generator.device.type == expected.device.type,
        "generator",
        f"live on the intensity's device {expected.device}",
        generator.device,
    )
    return torch.poisson(expected.detach(), generator=generator)
