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

    The same draw for every leading index; at least one voxel of each pattern. The draw follows the array's own order:
    patterns with their origin at index 0 and at ``N // 2`` differ in it (``cdi.retrieval.measured.measured_patterns``).

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


def deviance_terms(counts: Tensor, model: Tensor) -> Tensor:
    """``2 (m − n + n ln(n/m))`` of each voxel: twice its negative log-likelihood, counted from a perfect model's.

    ``counts`` n and a positive ``model`` m broadcast.
    """
    return 2 * (model - counts + torch.xlogy(counts, counts.clamp(min=1e-300)) - torch.xlogy(counts, model))


def poisson_deviance(counts: Tensor, model: Tensor, chosen: Tensor) -> Tensor:
    """Mean of ``deviance_terms`` over the ``chosen`` voxels, of a model that expects ``DARK_COUNTS`` or more.

    All broadcast as ``(..., x, y, z)``; 1 on average where the model is the truth and counts are many. Float64.
    """
    terms = deviance_terms(counts.double(), model.double().clamp(min=DARK_COUNTS))
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
        # An array whose origin is at index 0 has its peak's neighbours at both ends.
        distance = (torch.arange(n) - place[..., None]).abs()
        distance = distance.minimum(n - distance)
        sides = [1, 1, 1]
        sides[axis] = n
        near = near & (distance <= PEAK_REACH).reshape(*flat.shape, *sides)
    return near
