"""From probabilities of each exposure to the answer for a crystal. Free of torch."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.preprocess import fit_set
from training.methods import CrystalSamples
from training.metrics import PredictedCrystal

Array = NDArray[np.float64]
Probabilities = tuple[Array, Array]
"""Of the classes ``(n, classes)`` and of 0, 1, … lines ``(n, counts)``."""


def fitted_counts(crystal: CrystalSamples) -> NDArray[np.float32]:
    """Photons ``(reflections, x, y, z)``, each pattern centred on its own centre of mass; 0 where not measured."""
    exposures = [sample.exposure for sample in crystal]
    return np.stack([exposure.counts for exposure in fit_set(exposures, crystal[0].exposure.counts.shape)])


def averaged_answers(
    crystals: Sequence[CrystalSamples], of_counts: Callable[[NDArray[np.float32]], Probabilities]
) -> list[PredictedCrystal]:
    """Answers of a method that sees one exposure at a time: the mean of its probabilities over the exposures."""
    return [_averaged(*of_counts(fitted_counts(crystal))) for crystal in crystals]


def _averaged(classes: Array, counts: Array) -> PredictedCrystal:
    probabilities = classes.mean(0)
    return PredictedCrystal(
        class_probabilities=probabilities,
        count=int(counts.mean(0).argmax()),
        confidence=float(max(probabilities[0], 1 - probabilities[0])),
    )
