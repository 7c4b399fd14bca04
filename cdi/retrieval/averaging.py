"""What the best runs agree on: their principal mode, and how far in q they do.

Runs are aligned (``cdi.retrieval.alignment``) and have their origin at ``N // 2``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.fourier import amplitude_from_object

PRTF_LEVEL = 1 / np.e
"""Where a transfer function counts as lost (Chapman et al., J. Opt. Soc. Am. A 23, 1179, 2006)."""
FSC_LEVEL = 0.5
"""Where two halves count as different (Harauz & van Heel, Optik 73, 146, 1986)."""


@dataclass(frozen=True)
class RadialCurve:
    """``values`` (reflections, shells) against ``frequency`` (shells,) in cycles per voxel; NaN where none was seen."""

    frequency: NDArray[np.float64]
    values: NDArray[np.float64]

    def resolution(self, level: float) -> NDArray[np.float64]:
        """Half period in voxels ``(reflections,)`` at which the curve first falls below ``level``.

        1 where it never does: half a period at the edge of the pattern is one voxel.
        """
        found = np.ones(len(self.values))
        for row, values in enumerate(self.values):
            below = np.flatnonzero(values[1:] < level)
            if len(below):
                found[row] = 0.5 / self.frequency[1:][below[0]]
        return found


def principal_mode(runs: Tensor) -> tuple[Tensor, Tensor]:
    """First orthogonal mode ``(reflections, x, y, z)`` of ``runs`` (runs, reflections, x, y, z) and its weight.

    The singular vector of the greatest singular value, with the power and mean phase of the runs; its weight
    ``(reflections,)`` is the share of their power that it holds: 1 where all agree (Favre-Nicolin et al., J. Appl.
    Cryst. 53, 1404, 2020).
    """
    count = len(runs)
    rows = runs.transpose(0, 1).flatten(2)
    gram = rows.to(torch.complex128) @ rows.to(torch.complex128).mH
    values, vectors = torch.linalg.eigh(gram)
    coefficients = vectors[..., -1].conj()
    mode = torch.einsum("rk,rkn->rn", coefficients.to(rows), rows) / count**0.5
    mode = mode * torch.sgn((mode.conj() * rows.mean(1)).sum(-1, keepdim=True))
    power = values.clamp(min=0)
    return mode.reshape(runs.shape[1:]), power[:, -1] / power.sum(-1)


def transfer_function(runs: Tensor, root: Tensor, measured: Tensor) -> RadialCurve:
    """Phase-retrieval transfer function: ``|⟨F⟩| / √I`` over shells of the ``measured`` voxels with photons.

    ``runs`` (runs, reflections, x, y, z); ``root`` and ``measured`` (reflections, x, y, z). 1 where all runs have one
    phase, 1/√runs where phases are random (Chapman et al., J. Opt. Soc. Am. A 23, 1179, 2006).
    """
    mean = amplitude_from_object(runs.mean(0)).abs()
    seen = measured & (root > 0)
    return _by_shell(torch.where(seen, mean / root.clamp(min=1e-30), 0), seen)


def shell_correlation(first: Tensor, second: Tensor) -> RadialCurve:
    """Fourier shell correlation ``|Σ F₁ F₂*| / √(Σ|F₁|² Σ|F₂|²)`` of two densities (reflections, x, y, z)."""
    one, two = amplitude_from_object(first), amplitude_from_object(second)
    frequency, place, count = _shells(one.shape[-3:])
    product = (one * two.conj()).to(torch.complex128)
    sums = [
        _shell_sums(part.double(), place, count)
        for part in (product.real, product.imag, one.abs().square(), two.abs().square())
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.hypot(sums[0], sums[1]) / np.sqrt(sums[2] * sums[3])
    return RadialCurve(frequency, values)


def _by_shell(volume: Tensor, seen: Tensor) -> RadialCurve:
    frequency, place, count = _shells(volume.shape[-3:])
    weight = seen.double()
    with np.errstate(invalid="ignore", divide="ignore"):
        values = _shell_sums(volume.double() * weight, place, count) / _shell_sums(weight, place, count)
    return RadialCurve(frequency, values)


def _shells(shape: torch.Size) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Mean frequency of each shell, the shell of every voxel (those beyond ½ in the last), and the number of shells."""
    x, y, z = ((np.arange(n) - n // 2) / n for n in shape)
    modulus = np.sqrt(x[:, None, None] ** 2 + y[:, None] ** 2 + z**2)
    count = min(shape) // 2
    place = np.minimum((modulus * 2 * count).astype(np.int64), count).ravel()
    weight = np.bincount(place, minlength=count + 1)[:count]
    return np.bincount(place, modulus.ravel(), count + 1)[:count] / np.maximum(weight, 1), place, count


def _shell_sums(volume: Tensor, place: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    rows = volume.cpu().numpy().reshape(-1, int(np.prod(volume.shape[-3:])))
    return np.stack([np.bincount(place, row, count + 1)[:count] for row in rows])
