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

from cdi.detector.settings import require_form
from cdi.fourier import half_modes, inverse_real_transform, real_transform
from cdi.requirements import require

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
    ratios = _separations(voxel / lengths[..., None, :], shape)
    degree = torch.exp(-reduce(torch.add, map(DECAY[form], ratios)))
    # The intensity is real, the degree of coherence even: half of the autocorrelation is enough, and the
    # phase ramp of a centred pattern drops out.
    autocorrelation = real_transform(intensity)
    blurred = inverse_real_transform(autocorrelation * degree.to(intensity.dtype), shape)
    # The kernel is positive; what lies below zero is rounding.
    return blurred.clamp(min=0)


def _separations(voxel: Tensor, shape: tuple[int, int, int]) -> list[Tensor]:
    """Components x, y, z ``(..., frames, rows, columns // 2 + 1)`` of n · voxel for the ``half_modes`` n."""
    frames, rows, columns = half_modes(shape, voxel)
    index = (frames[:, None, None], rows[:, None], columns)
    return [
        reduce(torch.add, (n * voxel[..., row, axis, None, None, None] for row, n in enumerate(index)))
        for axis in range(3)
    ]
