"""Whether stated confidences hold, and whether they tell right answers from wrong ones. Free of torch."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training.metrics.intervals import share

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

BINS = 10


@dataclass(frozen=True, eq=False)
class Reliability:
    """Mean confidence, frequency of what it announces, and number of answers, in equal bins of confidence.

    Each is ``(bins,)``, the first two NaN in empty bins.
    """

    confidence: Array
    frequency: Array
    number: Integers

    @property
    def error(self) -> float:
        """Expected calibration error, the mean \\|confidence − frequency\\| over answers (Naeini et al., AAAI 2015)."""
        full = self.number > 0
        if not full.any():
            return float("nan")
        return float(np.average(np.abs(self.confidence - self.frequency)[full], weights=self.number[full]))


def reliability(confidence: Array, right: Mask, bins: int = BINS) -> Reliability:
    """The reliability curve of ``confidence`` (m,) in [0, 1] in answers that are ``right`` (m,) or not."""
    which = bin_of(confidence, bins)
    number = np.bincount(which, minlength=bins)
    answers = number.astype(np.float64)
    sums = [np.bincount(which, values, minlength=bins).astype(np.float64) for values in (confidence, right)]
    return Reliability(share(sums[0], answers), share(sums[1], answers), number)


def bin_of(confidence: Array, bins: int = BINS) -> Integers:
    """The equal bin of [0, 1] in which each confidence lies; 1 belongs to the last."""
    return np.minimum((np.asarray(confidence) * bins).astype(np.int64), bins - 1)


def expected_calibration_error(probability: Array, happened: Mask, bins: int = BINS) -> float:
    """Mean |confidence − frequency| over equal bins of ``probability`` (Naeini et al., AAAI 2015)."""
    return reliability(np.asarray(probability, np.float64), np.asarray(happened, bool), bins).error


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Error rate ``risk`` (m,) of the answers kept when a share ``coverage`` (m,) is, the surest first."""

    coverage: Array
    risk: Array


def risk_coverage(confidence: Array, right: Mask) -> RiskCoverage:
    """Risk against coverage (Geifman & El-Yaniv, NeurIPS 2017); answers of one confidence are kept together."""
    levels, which = np.unique(-np.asarray(confidence, np.float64), return_inverse=True)
    kept = np.cumsum(np.bincount(which, minlength=len(levels)))
    wrong = np.cumsum(np.bincount(which, ~np.asarray(right, bool), minlength=len(levels)))
    return RiskCoverage(kept / len(confidence), wrong / kept)


@dataclass(frozen=True, eq=False)
class CalibrationError:
    """Expected calibration error of ``confidence`` (m,) in what is ``right`` (m,); ``owner`` (m,): of which crystal."""

    confidence: Array
    right: Mask
    owner: Integers
    defined: Mask

    @property
    def behind(self) -> Mask:
        """Crystals with an answer."""
        return self.defined

    def __call__(self, weights: Array) -> Array:
        """Values ``(k,)`` under weights (k, n)."""
        excess, number = (weights @ table for table in self._tables)
        return share(np.abs(excess).sum(1), number.sum(1))

    @cached_property
    def _tables(self) -> tuple[Array, Array]:
        """Σ (confidence − right) and number of answers ``(n, bins)`` of each crystal."""
        which = (self.owner, bin_of(self.confidence))
        excess, number = np.zeros((2, len(self.defined), BINS))
        np.add.at(excess, which, self.confidence - self.right)
        np.add.at(number, which, 1.0)
        return excess, number


@dataclass(frozen=True, eq=False)
class Separation:
    """AUROC of ``score`` (n,), one a crystal, for ``positive`` (n,): the chance that it ranks a positive one higher.

    By ranks (Mann & Whitney, Ann. Math. Stat. 18, 50, 1947), ties shared; NaN without both kinds.
    """

    score: Array
    positive: Mask
    defined: Mask

    @property
    def behind(self) -> Mask:
        """Crystals with a score."""
        return self.defined

    def __call__(self, weights: Array) -> Array:
        """Values ``(k,)`` under weights (k, n)."""
        positive, negative = (_by_level(weights * kind, self.score, self.defined)
                              for kind in (self.positive, ~self.positive))  # fmt: skip
        below = np.cumsum(negative, 1) - negative / 2
        return share((positive * below).sum(1), positive.sum(1) * negative.sum(1))


@dataclass(frozen=True, eq=False)
class RiskArea:
    """Area under risk against coverage: the mean error rate over all shares of answers kept, the surest first."""

    confidence: Array
    right: Mask
    defined: Mask

    @property
    def behind(self) -> Mask:
        """Crystals with an answer."""
        return self.defined

    def __call__(self, weights: Array) -> Array:
        """Values ``(k,)`` under weights (k, n)."""
        all_, wrong = (_by_level(each, -self.confidence, self.defined) for each in (weights, weights * ~self.right))
        risk = np.nan_to_num(share(np.cumsum(wrong, 1), np.cumsum(all_, 1)))
        return share((all_ * risk).sum(1), all_.sum(1))


def _by_level(weights: Array, score: Array, defined: Mask) -> Array:
    """Weight ``(k, levels)`` of the crystals that have each value of ``score``, the lowest first."""
    order = np.argsort(score[defined], kind="stable")
    ordered = score[defined][order]
    if not len(ordered):
        return np.zeros((len(weights), 0))
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return np.asarray(np.add.reduceat(weights[:, defined][:, order], starts, axis=1))
