"""Statistics with intervals: bootstraps by crystal, vectorised over resamples, and paired differences. Free of torch.

A statistic takes weights (k, n), how often each of n crystals counts in each of k resamples, and gives k numbers. The
same weights serve every statistic and every method, so that differences between methods are paired.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

_AT_ONCE = 128


@dataclass(frozen=True)
class Interval:
    """A statistic with its 95 % bootstrap interval, and the number of crystals behind it."""

    value: float
    low: float
    high: float
    crystals: int = 0

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Statistic(Protocol):
    """A number told of weighted crystals."""

    @property
    def defined(self) -> Mask:
        """Crystals ``(n,)`` of which it tells, be it that there is nothing."""

    @property
    def behind(self) -> Mask:
        """Crystals ``(n,)`` that it is made of."""

    def __call__(self, weights: Array) -> Array:
        """Values ``(k,)`` under weights (k, n); NaN where nothing counts."""


@dataclass(frozen=True, eq=False)
class Ratio:
    """Σ numerator / Σ denominator over crystals, each (n,); its square root if ``root``."""

    numerator: Array
    denominator: Array
    defined: Mask
    root: bool = False

    @property
    def behind(self) -> Mask:
        """Crystals that add to the denominator."""
        return np.asarray(self.denominator > 0)

    def __call__(self, weights: Array) -> Array:
        """Values ``(k,)`` under weights (k, n)."""
        ratio = share(weights @ self.numerator, weights @ self.denominator)
        return np.asarray(np.sqrt(ratio)) if self.root else ratio


def share(part: Array, whole: Array) -> Array:
    """``part`` / ``whole``, NaN where the whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0))


def mean(values: Array) -> Ratio:
    """The mean over crystals of ``values`` (n,) that are not NaN."""
    defined = ~np.isnan(values)
    return Ratio(np.where(defined, values, 0.0), defined.astype(np.float64), defined)


@dataclass(frozen=True, eq=False)
class Median:
    """Median of ``values`` (m,), of which crystal ``owner`` (m,) has each."""

    values: Array
    owner: Integers
    defined: Mask

    @property
    def behind(self) -> Mask:
        """Crystals with a value."""
        return np.bincount(self.owner, minlength=len(self.defined)) > 0

    def __call__(self, weights: Array) -> Array:
        """Values ``(k,)`` under weights (k, n)."""
        if not len(self.values):
            return np.full(len(weights), np.nan)
        order = np.argsort(self.values)
        ordered, below = self.values[order], np.cumsum(weights[:, self.owner[order]], axis=1)
        half = below[:, -1:] / 2
        last = len(ordered) - 1
        lower, upper = (below < half).sum(1), np.minimum((below <= half).sum(1), last)
        return np.where(half[:, 0] > 0, (ordered[np.minimum(lower, last)] + ordered[upper]) / 2, np.nan)


def resamples(crystals: int, *, seed: int = 0, number: int = 1000) -> Array:
    """Weights ``(number, crystals)`` of as many draws with replacement as there are crystals (Efron, 1979)."""
    if not crystals:
        return np.zeros((number, 0))
    generator = np.random.default_rng(seed)
    return generator.multinomial(crystals, np.full(crystals, 1 / crystals), size=number).astype(np.float64)


def interval(statistic: Statistic, weights: Array) -> Interval:
    """``statistic`` of all crystals, and 95 % of what it is under ``weights``."""
    return _interval(statistic, weights, statistic.defined, statistic.behind)


def difference(ours: Statistic, theirs: Statistic, weights: Array) -> Interval:
    """``ours`` − ``theirs`` on the crystals of which both tell, resampled together."""
    both, behind = ours.defined & theirs.defined, ours.behind | theirs.behind
    return _interval(lambda counted: ours(counted) - theirs(counted), weights, both, behind)


def bootstrap(
    statistic: Callable[[Integers], float], crystals: int, *, seed: int = 0, resamples: int = 1000
) -> Interval:
    """``statistic(indices)`` over all crystals, and over ``resamples`` draws with replacement, one by one."""
    generator = np.random.default_rng(seed)
    draws = [statistic(generator.integers(0, crystals, crystals)) for _ in range(resamples)]
    return _of_draws(float(statistic(np.arange(crystals))), np.asarray(draws), crystals)


def _interval(statistic: Callable[[Array], Array], weights: Array, counted: Mask, behind: Mask) -> Interval:
    every = counted.astype(np.float64)
    draws = [statistic(weights[at : at + _AT_ONCE] * every) for at in range(0, len(weights), _AT_ONCE)]
    return _of_draws(float(statistic(every[None])[0]), np.concatenate(draws), int((counted & behind).sum()))


def _of_draws(value: float, draws: Array, crystals: int) -> Interval:
    known = draws[~np.isnan(draws)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (float("nan"), float("nan"))
    return Interval(value, float(low), float(high), crystals)
