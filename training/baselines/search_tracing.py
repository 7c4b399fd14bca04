"""What a model that searches starts from, read by rules instead of a network: vortex lines in the searched objects.

Beside that model it tells what its reader adds. Nothing is learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.prediction import CLASSES
from models.preprocess import fit_set, pattern_set
from models.searched_stage import Searcher, in_one_frame
from training.baselines.traced_lines import nothing_found, traced_crystal
from training.methods import CrystalSamples
from training.metrics import PredictedCrystal


@dataclass(frozen=True)
class SearchTracing:
    """Vortex lines in what ``searcher`` finds."""

    searcher: Searcher
    name: str = "search and vortices"

    def predict(self, crystals: Sequence[CrystalSamples]) -> list[PredictedCrystal]:
        """Objects and lines of each crystal; "undetermined" where a pattern of it cannot be phased."""
        return [self._answer(crystal) for crystal in crystals]

    def _answer(self, crystal: CrystalSamples) -> PredictedCrystal:
        frequencies = np.full(len(CLASSES), 1 / len(CLASSES))
        fitted = fit_set([sample.exposure for sample in crystal], crystal[0].exposure.counts.shape)
        patterns = pattern_set([fitted])
        found = [
            self.searcher.searched(counts, measured)
            for counts, measured in zip(patterns.counts[0], patterns.measured[0], strict=True)
        ]
        there = [one for one in found if one is not None]
        if len(there) < len(found):
            return nothing_found(crystal, frequencies)
        densities, supports = zip(*in_one_frame(there, patterns.G[0]), strict=True)
        return traced_crystal(torch.stack(densities), torch.stack(supports), crystal, frequencies)
