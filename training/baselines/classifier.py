"""A network that says class and number of lines of one exposure, as a method: several exposures are averaged."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from models.prediction import CLASSES, MOST_LINES
from training.baselines.answers import Probabilities, averaged_answers
from training.baselines.exposures import LabelledExposures
from training.baselines.learning import Batch, Budget, learned
from training.baselines.stored import StoredBaseline
from training.calibration import fit_temperature
from training.methods import CrystalSamples
from training.metrics import PredictedCrystal

OUTPUTS = len(CLASSES) + MOST_LINES + 1
"""Logits of a network: of the classes, then of 0, 1, … lines."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained ``network``, photons ``(n, x, y, z)`` → logits ``(n, OUTPUTS)``.

    ``temperatures`` divide the logits of class and count (Guo et al., ICML 2017); they are fitted on exposures held
    out, as the network's are. ``kind`` and ``settings`` build it again.
    """

    network: nn.Module
    kind: str
    name: str
    settings: dict[str, Any]
    temperatures: tuple[float, float] = (1.0, 1.0)
    facts: dict[str, Any] = field(default_factory=dict)

    def fit(self, exposures: LabelledExposures, budget: Budget) -> "Classifier":
        """The same, having learned; the network itself changes."""
        facts = learned(self.network, exposures, classifier_loss, budget)
        _, judged = exposures.held_out(budget.held_out)
        classes, counts = self._logits(judged.counts(slice(None)))
        defect, count = torch.as_tensor(judged.defect), torch.as_tensor(judged.count)
        told = torch.as_tensor(judged.determined)
        facts["held_out_accuracy"] = round(float((classes.argmax(1) == defect)[told].double().mean()), 4)
        temperatures = fit_temperature(classes[told], defect[told]), fit_temperature(counts, count)
        return Classifier(self.network, self.kind, self.name, self.settings, temperatures, facts)

    def predict(self, crystals: Sequence[CrystalSamples]) -> list[PredictedCrystal]:
        """Class and count of each crystal."""
        return averaged_answers(crystals, self.probabilities)

    def probabilities(self, counts: NDArray[np.float32]) -> Probabilities:
        """Of every pattern of ``counts`` ``(n, x, y, z)``."""
        classes, lines = (
            (logits / temperature).softmax(1).numpy()
            for logits, temperature in zip(self._logits(counts), self.temperatures, strict=True)
        )
        return classes, lines

    @torch.no_grad()
    def _logits(self, counts: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        self.network.eval()
        rows = [self.network(torch.as_tensor(part)) for part in np.array_split(counts, -(-len(counts) // 32))]
        return _class_and_count(torch.cat(rows).double())

    def stored(self) -> StoredBaseline:
        """As it is kept."""
        settings = {**self.settings, "temperatures": self.temperatures}
        return StoredBaseline(self.kind, dict(self.network.state_dict()), settings, self.facts)

    def restored(self, stored: StoredBaseline) -> "Classifier":
        """The same with the weights that were kept."""
        self.network.load_state_dict(stored.tensors)
        first, second = stored.settings["temperatures"]
        return Classifier(self.network, self.kind, self.name, self.settings, (first, second), stored.facts)


def classifier_loss(network: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropies of class, where the exposure can tell it, and, half as heavy, of the count."""
    classes, counts = _class_and_count(network(batch.counts))
    told = batch.determined.float()
    of_class = (F.cross_entropy(classes, batch.defect, reduction="none") * told).sum() / told.sum().clamp_min(1)
    return of_class + 0.5 * F.cross_entropy(counts, batch.count)


def _class_and_count(logits: Tensor) -> tuple[Tensor, Tensor]:
    return logits[:, : len(CLASSES)], logits[:, len(CLASSES) :]


def logarithm(counts: Tensor) -> Tensor:
    """log(1 + I) over that of the brightest voxel ``(n, x, y, z)``: what published classifiers look at."""
    return torch.log1p(counts) / torch.log1p(counts.amax((1, 2, 3), keepdim=True).clamp_min(1))
