"""A refinement as a method that is evaluated: ``cdi.refinement`` from a retrieval, a network, or both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from cdi.pattern import Exposure
from cdi.refinement.config import RefinementConfig
from cdi.refinement.refinement import Refinement, refine
from cdi.refinement.report import line_points
from cdi.refinement.start import StartObject
from models.prediction import CLASSES
from models.preprocess import fit_set
from training.baselines.traced_lines import nothing_found, traced_crystal
from training.methods import CrystalSamples, known_crystal
from training.metrics import Line, PredictedCrystal
from training.refinement_starts import lattice_windings

Array = NDArray[np.float64]

Starts = Callable[[CrystalSamples, tuple[Exposure, ...]], list[StartObject]]
"""From a crystal and its fitted exposures to where the fits start; ``ValueError`` where it cannot be phased."""


def method_config() -> RefinementConfig:
    """Settings that leave out what no score asks for."""
    return RefinementConfig(extra_lines=1, windings=0, uncertainty=False)


@dataclass(frozen=True, eq=False)
class RefineMethod:
    """The lines of the best hypothesis, the object of whichever model says most of the held-out voxels.

    Parameters
    ----------
    starts : where the fits of a crystal start.
    name : its row in tables.
    config : RefinementConfig
    seed : of the held-out voxels, with the crystal's index.
    """

    starts: Starts
    name: str = "refinement"
    config: RefinementConfig = field(default_factory=method_config)
    seed: int = 0

    def predict(self, crystals: Sequence[CrystalSamples]) -> list[PredictedCrystal]:
        """One answer a crystal; see ``training.methods.Method``."""
        return [self.answer(crystal) for crystal in crystals]

    def answer(self, crystal: CrystalSamples) -> PredictedCrystal:
        """Of one crystal; "undetermined" where its patterns cannot be fitted."""
        return self.answer_from(self.refined(crystal), crystal)

    def answer_from(self, found: Refinement | None, crystal: CrystalSamples) -> PredictedCrystal:
        """The answer that a refinement gives."""
        frequencies = np.full(len(CLASSES), 1 / len(CLASSES))
        if found is None:
            return nothing_found(crystal, frequencies)
        # Volumes as a retrieval's are; lines and the probability of a defect are those of the hypotheses.
        support = found.support.expand(found.density.shape)
        traced = traced_crystal(found.density, support, crystal, frequencies)
        grid = fit_set([crystal[0].exposure], crystal[0].exposure.counts.shape)[0].grid
        assert grid is not None  # a sample's exposure always has one
        lines = tuple(
            Line(line_points(line, grid.voxel), np.asarray(line.windings, np.float64), None, line.without.probability)
            for line in found.lines
        )
        return PredictedCrystal(
            volumes=traced.volumes, lines=lines, defect_probability=found.defect_probability,
            confidence=max(found.defect_probability, 1 - found.defect_probability),
        )  # fmt: skip

    def refined(self, crystal: CrystalSamples) -> Refinement | None:
        """The refinement itself; None where its patterns cannot be phased or fitted."""
        exposures = fit_set([sample.exposure for sample in crystal], crystal[0].exposure.counts.shape)
        generator = torch.Generator().manual_seed(self.seed + crystal[0].index)
        try:
            starts = self.starts(crystal, exposures)
            return refine(
                exposures, starts, self.config, generator=generator, windings=lattice_windings(known_crystal(crystal))
            )  # fmt: skip
        except ValueError:
            return None
