"""The support: a first one from the autocorrelation, then shrink-wrap; origins at index 0.

Marchesini, He, Chapman, Hau-Riege, Noy, Howells, Weierstall & Spence, Phys. Rev. B 68, 140101 (2003).
"""

import numpy as np
import torch
from torch import Tensor

from cdi.fourier import SPATIAL, origin_to_centre, origin_to_corner


def autocorrelation(intensity: Tensor) -> Tensor:
    """|autocorrelation| of the object behind ``intensity`` (..., x, y, z), relative to its greatest value.

    The origin is at ``N // 2`` in the result and at index 0 in ``intensity``.
    """
    modulus = torch.fft.fftn(intensity, dim=SPATIAL).abs()
    return origin_to_centre(modulus / modulus.amax(SPATIAL, keepdim=True))


def autocorrelation_extent(level: Tensor, threshold: float | Tensor) -> Tensor:
    """Voxels ``(..., 3)`` along each axis over which ``level`` (origin at ``N // 2``) stays above ``threshold``.

    Counted outward from the origin over the shadow along the other axes: noise beyond a gap does not count.
    """
    above = level > threshold
    return torch.stack([_central_run(_shadow(above, axis)) for axis in range(3)], -1)


def first_support(level: Tensor, threshold: float | Tensor, scale: float) -> Tensor:
    """Where ``level``, an autocorrelation about ``N // 2``, exceeds ``threshold``, drawn together by ``scale``.

    Bool, origin at index 0.
    """
    above = level > threshold
    for axis, n in zip(SPATIAL, level.shape[-3:], strict=True):
        place = torch.round((torch.arange(n) - n // 2) / scale).long() + n // 2
        inside = (place >= 0) & (place < n)
        taken = above.index_select(axis, place.clamp(0, n - 1).to(level.device))
        sides = [1, 1, 1]
        sides[axis] = n
        above = taken & inside.to(level.device).reshape(sides)
    return origin_to_corner(above)


def blurred(modulus: Tensor, sigma: float) -> Tensor:
    """``modulus`` convolved with a Gaussian of ``sigma`` voxels, periodic at the edge."""
    shape = tuple(modulus.shape[-3:])
    spectrum = torch.fft.rfftn(modulus, dim=SPATIAL)
    for axis, n in zip(SPATIAL, shape, strict=True):
        turns = np.fft.rfftfreq(n) if axis == SPATIAL[-1] else np.fft.fftfreq(n)
        factor = torch.as_tensor(np.exp(-2 * (np.pi * sigma * turns) ** 2), dtype=modulus.dtype, device=modulus.device)
        sides = [1, 1, 1]
        sides[axis] = len(turns)
        spectrum = spectrum * factor.reshape(sides)
    smooth: Tensor = torch.fft.irfftn(spectrum, s=shape, dim=SPATIAL)
    return smooth


def shrunk_support(smooth: Tensor, threshold: float) -> Tensor:
    """Bool: where a blurred modulus exceeds ``threshold`` of its greatest value."""
    return smooth > threshold * smooth.amax(SPATIAL, keepdim=True)


def joined_support(smooth: Tensor, threshold: float, join: str, weight: Tensor) -> Tensor:
    """One support for every reflection (first axis) of ``smooth``; ``join`` is a key of ``cdi.retrieval.config.JOINS``.

    Moduli are compared relative to their greatest values, since reflections differ in strength and not in shape;
    their mean counts each by its ``weight``, of a shape that broadcasts.
    """
    relative = smooth / smooth.amax(SPATIAL, keepdim=True)
    if join == "mean":
        share = weight / weight.sum(0, keepdim=True)
        one = shrunk_support((share * relative).sum(0, keepdim=True), threshold)
    else:
        one = (relative > threshold).any(0, keepdim=True)
    return one.expand_as(smooth)


def _shadow(above: Tensor, axis: int) -> Tensor:
    others = [number - 3 for number in range(3) if number != axis]
    return above.any(others[0], keepdim=True).any(others[1], keepdim=True).flatten(-3)


def _central_run(line: Tensor) -> Tensor:
    """Length ``(...)`` of the run of True around the middle of ``line`` (..., n)."""
    middle = line.shape[-1] // 2
    right = line[..., middle:].long().cumprod(-1).sum(-1)
    left = line[..., :middle].flip(-1).long().cumprod(-1).sum(-1)
    return left + right
