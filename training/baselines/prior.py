"""What can be said without looking: how often each class and each number of lines occurs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.prediction import CLASSES, MOST_LINES
from training.baselines.answers import Array, Probabilities, averaged_answers
from training.baselines.exposures import LabelledExposures
from training.baselines.stored import StoredBaseline
from training.methods import CrystalSamples
from training.metrics import PredictedCrystal

KIND = "prior"


@dataclass(frozen=True, eq=False)
class Prior:
    """Frequencies of the classes ``(classes,)`` and of 0, 1, … lines ``(counts,)`` in training, whatever the pattern.

    Classes are counted where an exposure can tell them, as they are graded.
    """

    classes: Array
    counts: Array
    facts: dict[str, Any] = field(default_factory=dict)
    name: str = KIND

    @classmethod
    def fit(cls, exposures: LabelledExposures) -> "Prior":
        """From the labels of ``exposures``."""
        told = exposures.defect[exposures.determined]
        classes = np.bincount(told, minlength=len(CLASSES)) / len(told)
        counts = np.bincount(exposures.count, minlength=MOST_LINES + 1) / len(exposures)
        return cls(classes, counts, {"crystals": len(exposures)})

    def predict(self, crystals: Sequence[CrystalSamples]) -> list[PredictedCrystal]:
        """The same answer for every crystal."""
        return averaged_answers(crystals, self._probabilities)

    def _probabilities(self, counts: NDArray[np.float32]) -> Probabilities:
        return np.tile(self.classes, (len(counts), 1)), np.tile(self.counts, (len(counts), 1))

    def stored(self) -> StoredBaseline:
        """As it is kept."""
        arrays = {name: torch.as_tensor(getattr(self, name)) for name in ("classes", "counts")}
        return StoredBaseline(KIND, arrays, {}, self.facts)

    @classmethod
    def of(cls, stored: StoredBaseline) -> "Prior":
        """As it was kept."""
        return cls(stored.tensors["classes"].numpy(), stored.tensors["counts"].numpy(), stored.facts)
