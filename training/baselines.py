"""What any network must beat: the prior, and a shortcut detector on the radial profile.

The radial baseline sees the angular average of the pattern and a few moments: brightness,
width, oversampling. If it came close to the network, the data set would leak its label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.prediction import CLASSES

Array = NDArray[np.float64]

RADIAL_BINS = 16


@dataclass(frozen=True)
class Prior:
    """The frequencies of the classes in training, whatever the pattern."""

    frequencies: Array

    @classmethod
    def fit(cls, defects: NDArray[np.int64]) -> "Prior":
        """From training labels ``(n,)``."""
        return cls(np.bincount(defects, minlength=len(CLASSES)) / len(defects))

    def class_probabilities(self, counts: Sequence[NDArray[np.float32]]) -> Array:
        """``(n, classes)``, every row the same."""
        return np.tile(self.frequencies, (len(counts), 1))


@dataclass(frozen=True)
class RadialProfile:
    """Multinomial logistic regression on ``radial_features``."""

    pipeline: Any

    @classmethod
    def fit(cls, counts: Sequence[NDArray[np.float32]], defects: NDArray[np.int64]) -> "RadialProfile":
        """From training patterns (each ``(x, y, z)``, centred) and labels ``(n,)``."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        return cls(pipeline.fit(np.stack([radial_features(c) for c in counts]), defects))

    def class_probabilities(self, counts: Sequence[NDArray[np.float32]]) -> Array:
        """``(n, classes)``."""
        known = self.pipeline.predict_proba(np.stack([radial_features(c) for c in counts]))
        out = np.zeros((len(counts), len(CLASSES)))
        out[:, self.pipeline.classes_] = known
        return out


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
    return np.concatenate(
        [np.log1p(mean), np.log1p(spread), [np.log(total), np.log(flat.max())], np.log(widths + 1e-3)]
    )
