"""Runs brought together: what intensity hides (global phase, translation, twin) differs from start to start.

Reflections of one crystal are moved as one: twin and translation are common to all of them, phases are not.
Origins are at ``N // 2``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cdi.ambiguity import twin
from cdi.fourier import SPATIAL, amplitude_from_object, axis_matrix, object_from_amplitude, partial_transform

FINE = 20
"""Steps per voxel of the search for the translation."""


@dataclass(frozen=True)
class Alignment:
    """How an object was moved: inverted or not, then by ``shift`` (3,) voxels, then by a phase a reflection.

    ``overlap`` is |⟨a, b⟩| / ‖a‖‖b‖ after it, the mean over the reflections.
    """

    inverted: bool
    shift: tuple[float, float, float]
    overlap: float


def align(density: Tensor, reference: Tensor) -> tuple[Tensor, Alignment]:
    """``density`` (reflections, x, y, z) laid over ``reference`` of the same shape, within what intensity hides.

    The translation is found to 1/20 voxel on a transform evaluated around the correlation's peak (Guizar-Sicairos,
    Thurman & Fienup, Opt. Lett. 33, 156, 2008) and applied as a phase ramp.
    """
    target = amplitude_from_object(reference)
    candidates = []
    for inverted in (False, True):
        amplitude = amplitude_from_object(twin(density) if inverted else density)
        shift, height = _best_shift(target * amplitude.conj())
        candidates.append((height, inverted, shift, amplitude))
    height, inverted, shift, amplitude = max(candidates, key=lambda found: found[0])
    moved = object_from_amplitude(amplitude * _ramp(shift, amplitude))
    inner = (moved.conj() * reference).sum(SPATIAL, keepdim=True)
    moved = moved * torch.sgn(inner)
    norms = moved.abs().square().sum(SPATIAL).sqrt() * reference.abs().square().sum(SPATIAL).sqrt()
    overlap = float((inner.abs().flatten(-4).squeeze() / norms.squeeze()).mean())
    return moved, Alignment(inverted, (float(shift[0]), float(shift[1]), float(shift[2])), overlap)


def _best_shift(cross: Tensor) -> tuple[Tensor, float]:
    """Shift ``(3,)`` in voxels where the moduli of the correlations, spectra ``cross`` (r, x, y, z), sum to most."""
    shape = cross.shape[-3:]
    correlation = object_from_amplitude(cross).abs().sum(0)
    coarse = np.unravel_index(int(correlation.argmax()), tuple(shape))
    centre = torch.tensor([int(place) - n // 2 for place, n in zip(coarse, shape, strict=True)], dtype=torch.float64)
    offsets = torch.arange(-FINE, FINE + 1, dtype=torch.float64) / FINE
    # Correlation c(δ) = Σ_m X(m) exp(−2πi m·δ/N): the sign of the inverse transform.
    x, y, z = (
        axis_matrix(-(start + offsets) / n, torch.arange(n, dtype=torch.float64) - n // 2).to(cross)
        for start, n in zip(centre, shape, strict=True)
    )
    fine = partial_transform(cross, (x, y, z)).abs().sum(0)
    place = np.unravel_index(int(fine.argmax()), tuple(fine.shape))
    shift = centre + torch.stack([offsets[int(number)] for number in place])
    return shift, float(fine.max())


def _ramp(shift: Tensor, like: Tensor) -> Tensor:
    """``exp(2πi m·shift/N)`` of the last three axes: a density moves by ``shift`` voxels."""
    factors = []
    for axis, (n, distance) in enumerate(zip(like.shape[-3:], shift, strict=True)):
        angle = 2 * torch.pi * (torch.arange(n, dtype=torch.float64) - n // 2) * float(distance) / n
        sides = [1, 1, 1]
        sides[axis] = n
        factors.append(torch.polar(torch.ones_like(angle), angle).reshape(sides))
    return (factors[0] * factors[1] * factors[2]).to(like)
