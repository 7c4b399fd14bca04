"""Phase retrieval end to end, as it is done today: several random starts, the best of them, vortex lines in it.

The best run is the one of least free likelihood. Several reflections share one support and are iterated together.
Nothing is learned: ``frequencies`` of the classes only stand in where the class of a defect stays open.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.phase_retrieval import retrieve
from models.prediction import CLASSES
from models.preprocess import fit_set
from training.baselines.traced_lines import nothing_found, traced_crystal
from training.methods import CrystalSamples
from training.metrics import PredictedCrystal

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RetrievalTracing:
    """``cdi.retrieval`` and ``vortex_lines``.

    Parameters
    ----------
    starts : random starts of every crystal.
    frequencies : (classes,); by default all alike.
    schedule : of the iterations; None: that of ``RetrievalConfig``.
    seed : of the starts, with the crystal's index.

    Raises
    ------
    ValueError
        If ``starts`` is not positive.
    """

    starts: int = 5
    frequencies: Array | None = None
    schedule: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.starts < 1:
            raise ValueError(f"starts must be at least 1, got {self.starts}")

    @property
    def name(self) -> str:
        """Tells the starts."""
        return f"phase retrieval, {self.starts} start{'s' if self.starts > 1 else ''}"

    @property
    def facts(self) -> dict[str, object]:
        """What it was given."""
        return {"crystals": 0, "starts": self.starts, "iterations": self._config(1).iterations}

    def predict(self, crystals: Sequence[CrystalSamples]) -> list[PredictedCrystal]:
        """Objects and lines of each crystal; "undetermined" where its patterns cannot be phased."""
        return [self._answer(crystal) for crystal in crystals]

    def _answer(self, crystal: CrystalSamples) -> PredictedCrystal:
        frequencies = np.full(len(CLASSES), 1 / len(CLASSES)) if self.frequencies is None else self.frequencies
        exposures = fit_set([sample.exposure for sample in crystal], crystal[0].exposure.counts.shape)
        generator = torch.Generator().manual_seed(self.seed + crystal[0].index)
        try:
            found = retrieve(exposures, self._config(len(crystal)), generator=generator)
        except ValueError:  # a peak behind a gap, an autocorrelation that fills the array
            return nothing_found(crystal, frequencies)
        return traced_crystal(torch.as_tensor(found.density), torch.as_tensor(found.support), crystal, frequencies)

    def _config(self, reflections: int) -> RetrievalConfig:
        schedule = self.schedule or RetrievalConfig().schedule
        return RetrievalConfig(schedule, starts=self.starts, best=1, shared_support=reflections > 1)
