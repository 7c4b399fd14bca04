"""The two projections of phase retrieval and the transforms between them, for many iterations.

Volumes ``(..., x, y, z)`` have their origin at index 0 (``cdi.fourier.origin_to_corner``): no iteration shifts.
Functions whose name ends in ``_`` change their first argument: no derivative is taken here.
"""

import torch
from torch import Tensor

from cdi.fourier import SPATIAL
from cdi.retrieval.schedule import ALGORITHMS

LEAST_INTENSITY = 1e-30
"""Keeps a quotient finite: in single precision as well its inverse root is."""


def corner_amplitude(density: Tensor) -> Tensor:
    """``F(m) = Σ_n density(n) exp(+2πi m·n/N)``, both origins at index 0."""
    transformed: Tensor = torch.fft.ifftn(density, dim=SPATIAL, norm="forward")
    return transformed


def corner_object(amplitude: Tensor) -> Tensor:
    """The inverse of ``corner_amplitude`` times the number of voxels N, which a later factor takes off for nothing."""
    transformed: Tensor = torch.fft.fftn(amplitude, dim=SPATIAL, norm="backward")
    return transformed


def squared_modulus(volume: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``|volume|²``: several times faster than through the modulus, which guards against overflow."""
    parts = torch.view_as_real(volume)
    return torch.mul(parts[..., 0], parts[..., 0], out=out).addcmul_(parts[..., 1], parts[..., 1])


def project_modulus_(amplitude: Tensor, root: Tensor, loose: Tensor, intensity: Tensor) -> Tensor:
    """Give ``amplitude`` the modulus ``root`` where it was measured and leave it free elsewhere, in place.

    ``loose`` is 1 on the voxels left free, where ``root`` is 0, and 0 on the others. ``intensity`` is the model's
    |F|², blurred where coherence is partial, and is used up. A voxel without any model amplitude keeps it at 0: its
    phase is open.
    """
    inverse = intensity.clamp_(min=LEAST_INTENSITY).rsqrt_()
    ratio = torch.addcmul(loose, inverse, root, out=inverse)
    return torch.mul(amplitude, ratio, out=amplitude)


def outside_weights(algorithm: str, beta: float, support: Tensor) -> tuple[Tensor, Tensor]:
    """Factors ``(..., x, y, z, 2)`` of ``N P x`` and of ``x`` in one iteration of ``algorithm``.

    The same number for real and imaginary part: products of one shape run at the speed of the memory, those of a
    complex and a real volume do not. ``support`` (..., x, y, z) is of 0 and 1.
    """
    outside = ALGORITHMS[algorithm]
    voxels = support.shape[-3] * support.shape[-2] * support.shape[-1]
    projected, previous = outside.projected(beta), outside.previous(beta)
    return _pairs((support + (1 - support) * projected) / voxels), _pairs((1 - support) * previous)


def update_(density: Tensor, projected: Tensor, weights: tuple[Tensor, Tensor]) -> Tensor:
    """One iteration's ``density`` from ``N P x``, in place."""
    of_projected, of_previous = weights
    torch.view_as_real(density).mul_(of_previous).addcmul_(torch.view_as_real(projected), of_projected)
    return density


def _pairs(weight: Tensor) -> Tensor:
    return weight[..., None].expand(*weight.shape, 2).contiguous()
