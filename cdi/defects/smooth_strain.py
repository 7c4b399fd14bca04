"""Smooth strain that is not a dislocation: a few long waves of displacement."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cdi.defects.defect import Defect
from cdi.shapes.shape import as_parameter


@dataclass(frozen=True, eq=False)
class SmoothStrain(Defect):
    """``u(r) = Σ_m amplitude_m cos(k_m · r + phase_m)``.

    Parameters
    ----------
    amplitudes : (m, 3) in Å
    wavevectors : (m, 3) in Å⁻¹
    phases : (m,) in radians

    Raises
    ------
    ValueError
        If the shapes disagree.
    """

    amplitudes: Tensor
    wavevectors: Tensor
    phases: Tensor

    kind = "smooth strain"

    def __post_init__(self) -> None:
        for name in ("amplitudes", "wavevectors", "phases"):
            object.__setattr__(self, name, as_parameter(getattr(self, name)))
        waves = len(self.phases)
        if self.amplitudes.shape != (waves, 3) or self.wavevectors.shape != (waves, 3):
            raise ValueError(
                f"amplitudes and wavevectors must be ({waves}, 3) for {waves} phases, "
                f"got {tuple(self.amplitudes.shape)} and {tuple(self.wavevectors.shape)}"
            )

    def displacement(self, points: Tensor) -> Tensor:
        """See ``Defect``."""
        waves = torch.cos(points @ self.wavevectors.to(points).T + self.phases.to(points))
        return waves @ self.amplitudes.to(points)
