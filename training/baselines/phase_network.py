"""An unsupervised phase network: pattern → amplitude and phase of the object, learned from patterns alone.

Like AutoPhaseNN (Yao et al., npj Comput. Mater. 8, 124, 2022): a convolutional encoder with two decoders, for amplitude
and phase, on the central half of the field of view; zeros around it; the loss is the misfit of the moduli through the
Fourier transform, Σ|a|F| − √I| / Σ√I over measured voxels, with the best scale a. No label is seen. So that a processor
core trains it in minutes it is narrowed to channels of 16, 32 and 64 and halves the pattern in its first convolution.
Lines follow by vortex tracing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cdi.fourier import amplitude_from_object, centre_pad
from training.baselines.answers import fitted_counts
from training.baselines.classifier import logarithm
from training.baselines.exposures import LabelledExposures
from training.baselines.learning import Batch, Budget, learned
from training.baselines.stored import StoredBaseline
from training.baselines.traced_lines import gathered, support_above, traced_crystal
from training.methods import CrystalSamples
from training.metrics import PredictedCrystal

Array = NDArray[np.float64]

KIND = "phase-network"
WIDTHS = (16, 32, 64)
SUPPORT_LEVEL = 0.2
"""Of the greatest amplitude, above which a voxel belongs to the object: that of ``cdi.retrieval``'s shrink-wrap."""


class PhaseNet(nn.Module):
    """Photons ``(n, x, y, z)`` → complex object ``(n, x/2, y/2, z/2)``, modulus up to 1."""

    def __init__(self, widths: tuple[int, int, int] = WIDTHS) -> None:
        super().__init__()
        first, second, third = widths
        self.encoder = nn.Sequential(
            nn.Conv3d(2, first, 3, 2, 1), nn.LeakyReLU(0.01), _convolutions(first, second), nn.MaxPool3d(2),
            _convolutions(second, third), nn.MaxPool3d(2), _convolutions(third, third),
        )  # fmt: skip
        self.amplitude, self.phase = (
            nn.Sequential(_larger(third, second), _larger(second, first), nn.Conv3d(first, 1, 3, padding=1))
            for _ in range(2)
        )
        # On a CPU 3D convolutions run faster with the channels last; the result is the same.
        self.to(memory_format=torch.channels_last_3d)

    def forward(self, counts: Tensor) -> Tensor:
        """The object; its amplitude is a sigmoid, its phase π tanh."""
        root = (counts / counts.amax((1, 2, 3), keepdim=True).clamp_min(1)).sqrt()
        code = self.encoder(torch.stack([root, logarithm(counts)], 1))
        return torch.polar(self.amplitude(code)[:, 0].sigmoid(), torch.pi * self.phase(code)[:, 0].tanh())


@dataclass(frozen=True, eq=False)
class PhaseNetwork:
    """A trained ``PhaseNet`` and vortex tracing; ``frequencies`` (classes,) as ``traced_lines`` wants them."""

    network: PhaseNet
    frequencies: Array
    facts: dict[str, Any] = field(default_factory=dict)
    name: str = "unsupervised phase network"

    @classmethod
    def fit(cls, exposures: LabelledExposures, budget: Budget, frequencies: Array) -> "PhaseNetwork":
        """Learned from patterns; ``frequencies`` are the only labels that it ever hears of."""
        torch.manual_seed(budget.seed)
        network = PhaseNet()
        return cls(network, frequencies, learned(network, exposures, modulus_misfit, budget))

    @torch.no_grad()
    def predict(self, crystals: Sequence[CrystalSamples]) -> list[PredictedCrystal]:
        """Objects and lines of each crystal."""
        self.network.eval()
        return [self._answer(crystal) for crystal in crystals]

    def _answer(self, crystal: CrystalSamples) -> PredictedCrystal:
        counts = torch.as_tensor(fitted_counts(crystal))
        x, y, z = counts.shape[1:]
        density = gathered(centre_pad(self.network(counts), (x, y, z)))
        return traced_crystal(density, support_above(density, SUPPORT_LEVEL), crystal, self.frequencies)

    def stored(self) -> StoredBaseline:
        """As it is kept."""
        return StoredBaseline(
            KIND, dict(self.network.state_dict()), {"frequencies": self.frequencies.tolist()}, self.facts
        )

    @classmethod
    def of(cls, stored: StoredBaseline) -> "PhaseNetwork":
        """As it was kept."""
        network = PhaseNet()
        network.load_state_dict(stored.tensors)
        return cls(network, np.asarray(stored.settings["frequencies"]), stored.facts)


def modulus_misfit(network: nn.Module, batch: Batch) -> Tensor:
    """Mean of Σ|a|F| − √I| / Σ√I over the patterns, a the scale of least squares."""
    x, y, z = batch.counts.shape[1:]
    modulus = amplitude_from_object(centre_pad(network(batch.counts), (x, y, z))).abs() * batch.measured
    root = batch.counts.sqrt() * batch.measured
    every = (1, 2, 3)
    scale = (modulus * root).sum(every) / modulus.square().sum(every).clamp_min(1e-12)
    misfit: Tensor = (scale[:, None, None, None] * modulus - root).abs().sum(every) / root.sum(every).clamp_min(1)
    return misfit.mean()


def _convolutions(inputs: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, width):
        layers += [nn.Conv3d(channels, width, 3, padding=1, bias=False), nn.BatchNorm3d(width), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers)


def _larger(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2), _convolutions(inputs, width))
