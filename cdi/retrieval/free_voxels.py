"""Held-out voxels of a pattern, by which runs are chosen.

A run fits its own voxels the better the looser its support; what it says of voxels that it never saw has no such
freedom (Favre-Nicolin, Leake & Chushkin, Sci. Rep. 10, 2664, 2020; after the free R of Brünger, Nature 355, 472, 1992).
"""

import torch
from torch import Tensor

from cdi.fourier import SPATIAL

PEAK_REACH = 2
"""No voxel this near to the brightest is held out: without its peak a pattern says little of the object's volume."""
DARK_COUNTS = 0.01
"""Least expected count of a model, in photons: one stray photon in a dark voxel must not reject a run."""


def free_voxels(counts: Tensor, measured: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """Bool ``(..., x, y, z)``: a random ``fraction`` of the ``measured`` voxels away from the peak of ``counts``.

    The same draw for every leading index; at least one voxel of each pattern.

    Raises
    ------
    ValueError
        If no voxel of a pattern is left to hold out.
    """
    shape = counts.shape[-3:]
    order = torch.rand(shape, generator=generator, dtype=torch.float64)
    allowed = measured & ~_near_peak(counts, measured)
    if not bool(allowed.flatten(-3).any(-1).all()):
        raise ValueError(f"mask must leave voxels to hold out beside the peak, got {int(measured.sum())} measured")
    drawn = torch.where(allowed, order, 2.0)
    least = drawn.amin(SPATIAL, keepdim=True)
    return (drawn < fraction) | (drawn == least)


def poisson_deviance(counts: Tensor, model: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the ``chosen`` voxels of ``2 (m − n + n ln(n/m))``: twice the negative log-likelihood ratio.

    ``counts`` n, ``model`` m and ``chosen`` broadcast as ``(..., x, y, z)``; 1 on average where the model is the
    truth and counts are many. Float64.
    """
    n, m = counts.double(), model.double().clamp(min=DARK_COUNTS)
    terms = 2 * (m - n + torch.xlogy(n, n.clamp(min=DARK_COUNTS) / m))
    weight = chosen.double()
    return (terms * weight).sum(SPATIAL) / weight.sum(SPATIAL)


def _near_peak(counts: Tensor, measured: Tensor) -> Tensor:
    shape = counts.shape[-3:]
    flat = torch.where(measured, counts, -1).flatten(-3).argmax(-1)
    near = torch.ones(counts.shape, dtype=torch.bool)
    stride = 1
    for axis in (2, 1, 0):
        n = shape[axis]
        place = (flat // stride) % n
        stride *= n
        distance = (torch.arange(n) - place[..., None]).abs()
        sides = [1, 1, 1]
        sides[axis] = n
        near = near & (distance <= PEAK_REACH).reshape(*flat.shape, *sides)
    return near
