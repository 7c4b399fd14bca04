"""A few iterations of phase retrieval from a network's proposal: an object that agrees with the measured moduli.

The proposal says where the crystal is and guesses its phase; alternating projections (Fienup, Appl. Opt. 21, 2758,
1982) do the rest. No derivative passes through them: proposal and reader each have their own loss.
"""

import torch
from torch import Tensor

from cdi.ambiguity import inverted
from cdi.fourier import centre_crop, centre_pad, origin_to_centre, origin_to_corner
from cdi.retrieval.projections import (
    corner_amplitude,
    corner_object,
    outside_weights,
    project_modulus_,
    squared_modulus,
    update_,
)

HYBRID_SHARE = 0.2
"""Share of the iterations that are hybrid input-output (β = 0.9); the rest is error reduction, which does not drift
away from a good proposal where the pattern is blurred or noisy."""
BETA = 0.9
SUPPORT_LEVEL = 0.35
"""Of the proposed support's probability: rather a voxel too many than one too few."""


@torch.no_grad()
def data_consistent(
    counts: Tensor,
    measured: Tensor,
    support: Tensor,
    phasor: Tensor,
    iterations: int,
    hybrid_share: float = HYBRID_SHARE,
) -> Tensor:
    """Complex densities ``(n, x/2, y/2, z/2)``, of unit mean modulus within the support, global phase taken off.

    ``counts`` and ``measured`` ``(n, x, y, z)``; ``support`` (probability) and ``phasor`` (complex)
    ``(n, x/2, y/2, z/2)`` of the proposal. Voxels not measured are free. The first ``hybrid_share`` of the
    iterations is hybrid input-output, the rest error reduction.
    """
    shape = (counts.shape[-3], counts.shape[-2], counts.shape[-1])
    box = (phasor.shape[-3], phasor.shape[-2], phasor.shape[-1])
    inside = support > SUPPORT_LEVEL
    # A proposal without a crystal leaves the whole half to the iterations.
    inside = inside | ~inside.flatten(-3).any(-1)[..., None, None, None]
    full_support = origin_to_corner(centre_pad(inside.to(counts.dtype), shape))
    start = torch.polar(support, phasor.angle()) * inside
    start = start / start.abs().square().sum((-3, -2, -1), keepdim=True).sqrt().clamp_min(1e-12)
    density = origin_to_corner(centre_pad(start, shape))
    loose = origin_to_corner((~measured).to(counts.dtype))
    root = origin_to_corner((counts * measured).clamp_min(0).sqrt())
    root = root / root.square().mean((-3, -2, -1), keepdim=True).sqrt().clamp_min(1e-12)
    hybrid, reduction = (outside_weights(name, BETA, full_support) for name in ("HIO", "ER"))
    for step in range(iterations):
        amplitude = corner_amplitude(density)
        projected = corner_object(project_modulus_(amplitude, root, loose, squared_modulus(amplitude)))
        density = update_(density, projected, hybrid if step < hybrid_share * iterations else reduction)
    found = centre_crop(origin_to_centre(density), box) * inside
    power = found.abs().sum((-3, -2, -1), keepdim=True) / inside.sum((-3, -2, -1), keepdim=True).clamp_min(1)
    mean = found.sum((-3, -2, -1), keepdim=True)
    return found / power.clamp_min(1e-12) * torch.polar(torch.ones_like(mean.abs()), -mean.angle())


@torch.no_grad()
def twins_to_align(shown: Tensor, present: Tensor) -> Tensor:
    """Which reflections ``(batch, reflections)`` bool lie over the first one better when inverted.

    Each pattern by itself leaves its twin open, a set has but one. ``shown`` (batch, reflections, channels, x, y, z)
    are volumes alike in all reflections: line density, support, modulus. Where crystal and lines have an inversion
    centre nothing tells, and nothing is inverted.
    """
    centred = shown - shown.mean((-3, -2, -1), keepdim=True)
    centred = centred / centred.square().sum((-3, -2, -1), keepdim=True).sqrt().clamp_min(1e-6)
    first = centred[:, :1]
    straight = (first * centred).sum((-4, -3, -2, -1))
    turned = (first * inverted(centred)).sum((-4, -3, -2, -1))
    return (turned > straight + 1e-4) & present


def twin_where(volume: Tensor, chosen: Tensor) -> Tensor:
    """``volume`` ``(batch, reflections, …, x, y, z)`` inverted, and conjugated where complex, where ``chosen``."""
    other = inverted(volume)
    other = torch.conj_physical(other) if volume.is_complex() else other
    return torch.where(chosen.reshape(*chosen.shape, *[1] * (volume.dim() - 2)), other, volume)
