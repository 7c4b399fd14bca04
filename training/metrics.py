"""Scores of predictions against truth, best over the joint ambiguity group and never beyond it.

Twin and global phase are chosen once per crystal, from the complex object, and then applied to
support, phase and lines alike. Intervals are bootstraps over crystals.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from training.targets import segment_distance

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ObjectScore:
    """Support Dice in [0, 1], phase error ⟨|Δφ|⟩ in radians over the true support, and the twin's choice."""

    dice: float
    phase_error: float
    twinned: bool


def object_score(
    support: NDArray[np.float32],
    phase: NDArray[np.float32],
    true_support: NDArray[np.float32],
    true_phase: NDArray[np.float32],
) -> ObjectScore:
    """Score of a predicted object ``(x, y, z)`` against the truth or its twin, whichever is closer.

    Closer is the larger overlap |Σ conj(predicted) · true| of the complex objects.
    """
    from torch import as_tensor

    from cdi.ambiguity import twin

    predicted, true = support * np.exp(1j * phase), true_support * np.exp(1j * true_phase)
    mirrored = twin(as_tensor(true)).numpy()
    overlaps = [np.vdot(predicted, candidate) for candidate in (true, mirrored)]
    twinned = abs(overlaps[1]) > abs(overlaps[0])
    chosen, overlap = (mirrored, overlaps[1]) if twinned else (true, overlaps[0])
    inside = np.abs(chosen) > 0.5
    difference = np.angle(np.conj(predicted) * chosen * np.exp(-1j * np.angle(overlap)))
    error = float(np.abs(difference[inside]).mean()) if inside.any() else float("nan")
    found = support > 0.5
    dice = 2 * float((found & inside).sum()) / max(1, int(found.sum() + inside.sum()))
    return ObjectScore(dice, error, bool(twinned))


def line_distances(predicted: Sequence[Array], true: Sequence[Array]) -> Array:
    """Symmetric mean distance ``(len(predicted), len(true))`` between polylines ``(n, 3)``.

    The mean over both directions of the distance from points along one line to the other.
    """
    return np.array([[0.5 * (_one_way(p, t) + _one_way(t, p)) for t in true] for p in predicted]).reshape(
        len(predicted), len(true)
    )


@dataclass(frozen=True)
class LineScore:
    """Matches of one crystal: distances of matched pairs (voxels), and how many lines there were."""

    distances: Array
    predicted: int
    true: int

    def hits(self, tolerance: float) -> int:
        """Matched lines within ``tolerance`` voxels."""
        return int((self.distances <= tolerance).sum())


def match_lines(predicted: Sequence[Array], true: Sequence[Array], *, twinned: bool) -> LineScore:
    """One-to-one matching with the least total distance (Hungarian method); points in voxels."""
    candidates = [-line for line in true] if twinned else list(true)
    if not predicted or not candidates:
        return LineScore(np.empty(0), len(predicted), len(true))
    distances = line_distances(predicted, candidates)
    return LineScore(distances[linear_sum_assignment(distances)], len(predicted), len(true))


def f1(scores: Sequence[LineScore], tolerance: float) -> float:
    """F1 of line detection over crystals at ``tolerance`` voxels."""
    hits = sum(score.hits(tolerance) for score in scores)
    lines = sum(score.predicted + score.true for score in scores)
    return 2 * hits / lines if lines else float("nan")


def expected_calibration_error(probability: Array, happened: NDArray[np.bool_], bins: int = 10) -> float:
    """Mean |confidence − frequency| over equal bins of ``probability`` (Naeini et al., AAAI 2015)."""
    which = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = [
        abs(probability[which == b].mean() - happened[which == b].mean()) * (which == b).mean()
        for b in np.unique(which)
    ]
    return float(np.sum(gaps))


@dataclass(frozen=True)
class Interval:
    """A statistic with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float], crystals: int, *, seed: int = 0, resamples: int = 1000
) -> Interval:
    """``statistic(indices)`` over all crystals, and over ``resamples`` draws with replacement."""
    generator = np.random.default_rng(seed)
    draws = [statistic(generator.integers(0, crystals, crystals)) for _ in range(resamples)]
    known = np.asarray(draws)[~np.isnan(draws)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (float("nan"), float("nan"))
    return Interval(float(statistic(np.arange(crystals))), float(low), float(high))


def _one_way(points: Array, line: Array) -> float:
    dense = _resampled(points)
    segments = [segment_distance(dense, a, b) for a, b in pairwise(line)]
    return float(np.min(segments, axis=0).mean())


def _resampled(line: Array, count: int = 17) -> Array:
    """``count`` points at equal arc length."""
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    return np.stack([np.interp(np.linspace(0, arc[-1], count), arc, line[:, i]) for i in range(3)], -1)
