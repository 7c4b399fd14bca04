"""A shortcut detector: multinomial logistic regression on the radial profile and moments of a pattern.

It sees brightness, width, oversampling and how hollow the peak is. If it came close to the network, the set of crystals
would leak its label.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from models.prediction import CLASSES, MOST_LINES
from training.baselines.answers import Array, Probabilities, averaged_answers
from training.baselines.exposures import LabelledExposures
from training.baselines.stored import StoredBaseline
from training.methods import CrystalSamples
from training.metrics import PredictedCrystal

KIND = "radial"
RADIAL_BINS = 16
_SMALLEST_MOMENT = 1e-3
_NEVER = -1e3
"""Logit of a class that training did not hold."""


@dataclass(frozen=True, eq=False)
class RadialProfile:
    """Logistic regressions of class and count on ``radial_features``.

    Parameters
    ----------
    mean, scale : (37,)
        By which features are standardised.
    classes, counts : (outcomes, 38)
        Coefficients of each outcome's logit, the constant last.
    facts : what it learned from.
    """

    mean: Array
    scale: Array
    classes: Array
    counts: Array
    facts: dict[str, Any] = field(default_factory=dict)
    name: str = "radial profile"

    @classmethod
    def fit(cls, exposures: LabelledExposures) -> "RadialProfile":
        """From labelled patterns; the class from those that can tell it."""
        x = np.stack([radial_features(exposures.counts(slice(n, n + 1))[0]) for n in range(len(exposures))])
        mean, scale = x.mean(0), np.maximum(x.std(0), 1e-9)
        x, told = (x - mean) / scale, exposures.determined
        return cls(
            mean, scale, _regression(x[told], exposures.defect[told], len(CLASSES)),
            _regression(x, exposures.count, MOST_LINES + 1), {"crystals": len(exposures)},
        )  # fmt: skip

    def predict(self, crystals: Sequence[CrystalSamples]) -> list[PredictedCrystal]:
        """Class and count of each crystal."""
        return averaged_answers(crystals, self.probabilities)

    def probabilities(self, counts: NDArray[np.float32]) -> Probabilities:
        """Of every pattern of ``counts`` ``(n, x, y, z)``."""
        x = (np.stack([radial_features(pattern) for pattern in counts]) - self.mean) / self.scale
        x = np.column_stack([x, np.ones(len(x))])
        return softmax(x @ self.classes.T, axis=1), softmax(x @ self.counts.T, axis=1)

    def stored(self) -> StoredBaseline:
        """As it is kept."""
        arrays = {name: torch.as_tensor(getattr(self, name)) for name in ("mean", "scale", "classes", "counts")}
        return StoredBaseline(KIND, arrays, {}, self.facts)

    @classmethod
    def of(cls, stored: StoredBaseline) -> "RadialProfile":
        """As it was kept."""
        mean, scale, classes, counts = (stored.tensors[name].numpy() for name in ("mean", "scale", "classes", "counts"))
        return cls(mean, scale, classes, counts, stored.facts)


def _regression(x: Array, outcome: NDArray[np.int64], outcomes: int) -> Array:
    """Coefficients ``(outcomes, features + 1)``."""
    from sklearn.linear_model import LogisticRegression

    table = np.zeros((outcomes, x.shape[1] + 1))
    seen = np.unique(outcome)
    table[np.setdiff1d(np.arange(outcomes), seen), -1] = _NEVER
    if len(seen) > 1:
        fitted = LogisticRegression(max_iter=2000).fit(x, outcome)
        rows = np.column_stack([fitted.coef_, fitted.intercept_])
        # Of two outcomes one logit is given: half of it each way is the same softmax.
        table[seen] = rows if len(seen) > 2 else np.concatenate([-rows, rows]) / 2
    return table


def radial_features(counts: NDArray[np.float32]) -> Array:
    """log(1 + mean) and spread in 16 shells around the centre, photons, and second moments ``(37,)``."""
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in counts.shape), indexing="ij"), -1)
    radius = np.linalg.norm(index / np.asarray(counts.shape), axis=-1) * 2
    shell = np.minimum((radius * RADIAL_BINS).astype(int), RADIAL_BINS - 1).ravel()
    flat = counts.ravel().astype(np.float64)
    number = np.maximum(np.bincount(shell, minlength=RADIAL_BINS), 1)
    mean = np.bincount(shell, flat, RADIAL_BINS) / number
    spread = np.sqrt(np.maximum(np.bincount(shell, flat**2, RADIAL_BINS) / number - mean**2, 0))
    total = flat.sum()
    offsets = index.reshape(-1, 3)
    centre = flat @ offsets / total
    widths = np.sort(np.linalg.eigvalsh((offsets - centre).T @ ((offsets - centre) * flat[:, None]) / total))
    moments = np.log(widths + _SMALLEST_MOMENT)
    return np.concatenate([np.log1p(mean), np.log1p(spread), [np.log(total), np.log(flat.max())], moments])
