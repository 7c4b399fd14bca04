"""Partial coherence: the pattern of a crystal in a beam that interferes over a finite distance.

A field whose complex degree of coherence depends on separation alone multiplies the object's
autocorrelation by it (Vartanyants & Robinson, J. Phys. Condens. Matter 13, 10593, 2001; Clark, Huang,
Harder & Robinson, Nat. Commun. 3, 993, 2012):

    I(q) = ∫ γ(Δ) A(Δ) exp(iq·Δ) dΔ,    A(Δ) = ∫ s*(r) s(r + Δ) dr,

the convolution of the coherent pattern with the transform of γ. γ(0) = 1 keeps the sum of all voxels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from cdi.detector.settings import require, require_form
from cdi.fourier import amplitude_from_object, object_from_amplitude

DECAY: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian": lambda ratio: ratio * ratio / 2,
    "exponential": torch.abs,
}
"""−ln γ along one axis against Δ/ξ: the blur in q is a Gaussian of σ = 1/ξ or a Lorentzian of half-width 1/ξ."""


@dataclass(frozen=True)
class Coherence:
    """Coherence of the beam at the crystal.

    Parameters
    ----------
    lengths_A : coherence lengths ξ in Å along the laboratory's x, y and z; ``inf`` is full coherence.
    form : ``gaussian`` (γ = exp(−½ Σ Δ_k²/ξ_k²), the Gaussian Schell model) or ``exponential``
        (γ = exp(−Σ |Δ_k|/ξ_k)).

    Raises
    ------
    ValueError
        For a length that is not positive, or an unknown form.
    """

    lengths_A: tuple[float, float, float]
    form: str = "gaussian"

    def __post_init__(self) -> None:
        require(all(length > 0 for length in self.lengths_A), "lengths_A", "be positive", self.lengths_A)
        require_form(self.form)


def partial_coherence(intensity: Tensor, voxel: Tensor, lengths: Tensor, form: str = "gaussian") -> Tensor:
    """Pattern ``(..., frames, rows, columns)`` in a partially coherent beam; differentiable in every tensor.

    Exact where the grid oversamples the pattern (A then fits the grid's field of view). The window
    counts as periodic: within the width of the blur, intensity at one edge reaches the other.

    Parameters
    ----------
    intensity : (..., frames, rows, columns)
        Coherent pattern.
    voxel : (..., 3, 3)
        Real-space voxel vectors of its grid in Å (``QGrid.voxel``); right-multiply by the transpose
        of a frame (rows: unit vectors) for lengths along that frame.
    lengths : (..., 3)
        Coherence lengths in Å along x, y and z.

    Raises
    ------
    ValueError
        For an unknown form.
    """
    require_form(form)
    shape = (intensity.shape[-3], intensity.shape[-2], intensity.shape[-1])
    ratios = (
        separation / lengths[..., axis, None, None, None] for axis, separation in enumerate(_separations(voxel, shape))
    )
    degree = torch.exp(-reduce(torch.add, map(DECAY[form], ratios)))
    autocorrelation = object_from_amplitude(intensity)
    blurred = amplitude_from_object(autocorrelation * degree.to(intensity.dtype)).real
    # The kernel is positive; what lies below zero is rounding.
    return blurred.clamp(min=0)


def _separations(voxel: Tensor, shape: tuple[int, int, int]) -> list[Tensor]:
    """Components x, y, z ``(..., frames, rows, columns)`` in Å of n · voxel, n counted from ``N // 2``."""
    frames, rows, columns = (torch.arange(n, dtype=voxel.dtype, device=voxel.device) - n // 2 for n in shape)
    index = (frames[:, None, None], rows[:, None], columns)
    return [
        reduce(torch.add, (n * voxel[..., row, axis, None, None, None] for row, n in enumerate(index)))
        for axis in range(3)
    ]
