"""Smooth strain that is not a dislocation: a few long waves of displacement."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SmoothStrain:
    """``u(r) = Σ_m amplitude_m cos(k_m · r + phase_m)``.

    Parameters
    ----------
    amplitudes : (m, 3) in Å
    wavevectors : (m, 3) in Å⁻¹
    phases : (m,) in radians
    """

    amplitudes: Array
    wavevectors: Array
    phases: Array

    def displacement(self, points: Tensor) -> Tensor:
        """Displacement u ``(..., 3)`` in Å at ``points`` ``(..., 3)`` in Å."""

        def tensor(array: Array) -> Tensor:
            return torch.as_tensor(array, dtype=points.dtype, device=points.device)

        waves = torch.cos(points @ tensor(self.wavevectors).T + tensor(self.phases))
        return waves @ tensor(self.amplitudes)
