"""The network as a method that is evaluated."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.prediction import PredictedLine, Prediction
from models.predictor import Predictor
from training.methods import CrystalSamples, known_crystal
from training.metrics import CrystalObject, Line, PredictedCrystal


@dataclass(frozen=True)
class NetworkMethod:
    """A ``Predictor`` that is told the lattice and the Miller indices."""

    predictor: Predictor
    name: str = "network"

    def predict(self, crystals: Sequence[CrystalSamples]) -> list[PredictedCrystal]:
        """One answer a crystal; see ``training.methods.Method``.

        Raises
        ------
        ValueError
            If the exposures are not of the network's own shape: elsewhere their voxels would not be the answer's.
        """
        for crystal in crystals:
            if crystal[0].exposure.counts.shape != self.predictor.shape:
                raise ValueError(
                    f"exposures must have the shape of the model {self.predictor.shape}, "
                    f"got {crystal[0].exposure.counts.shape}"
                )
        sets = [[sample.exposure for sample in crystal] for crystal in crystals]
        predictions = self.predictor.predict_crystals(sets, [known_crystal(crystal) for crystal in crystals])
        return [predicted_crystal(prediction) for prediction in predictions]


def predicted_crystal(prediction: Prediction) -> PredictedCrystal:
    """``prediction`` as the scores want it; a pattern unlike any seen has no confidence at all."""
    probability = prediction.defect_probability
    return PredictedCrystal(
        volumes=CrystalObject(np.asarray(prediction.support, np.float64), np.asarray(prediction.phase, np.float64)),
        lines=tuple(_line(line) for line in prediction.lines),
        class_probabilities=np.asarray(prediction.class_probabilities),
        defect_probability=probability,
        undetermined=bool(prediction.undetermined),
        confidence=0.0 if prediction.undetermined == "novel" else max(probability, 1 - probability),
    )


def _line(line: PredictedLine) -> Line:
    """Its Burgers vector is the most probable of the lattice, be it far from certain."""
    burgers = np.asarray(line.candidates[0].fractions) if line.candidates else None
    return Line(line.points_A, np.asarray(line.windings), burgers, line.confidence)
