"""Whether one version is better than another: scores of the same frames, pair by pair, and bootstraps of crystals."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inference_insitu.transit.learning.config import RuleConfig

SEED = 20_261_126


@dataclass(frozen=True)
class Compared:
    """Mean scores of the old and the new version on ``frames`` frames, and an interval of their mean difference."""

    frames: int
    groups: int
    old: float
    new: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        """For events and records."""
        return {name: round(value, 5) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Verdict:
    """Whether a version may take over; ``why`` it may not, '' where it may."""

    held_out: Compared
    frozen: Compared
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """For events and records."""
        return {"held_out": self.held_out.to_json(), "frozen": self.frozen.to_json(), "why": self.why}


def compared(old: Sequence[float], new: Sequence[float], groups: Sequence[str], rule: RuleConfig) -> Compared:
    """The versions' scores ``old`` and ``new`` of the same frames; those of one of the ``groups`` are drawn together.

    The interval is the bootstrap's percentiles (Efron & Tibshirani 1993, ch. 13) of the mean of new − old, whole groups
    being drawn with replacement, since frames of one crystal do not vary independently.

    Raises
    ------
    ValueError
        If the three are not equally many, or a score is not finite.
    """
    if not len(old) == len(new) == len(groups):
        raise ValueError(f"scores and groups must be equally many, got {len(old)}, {len(new)}, {len(groups)}")
    first, second = np.asarray(old, np.float64), np.asarray(new, np.float64)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("scores must be finite, got NaN or infinity")
    names, place = np.unique(np.asarray(groups, str), return_inverse=True)
    if not len(names):
        return Compared(0, 0, 0.0, 0.0, -np.inf, np.inf)
    sums = np.bincount(place, second - first, len(names))
    sizes = np.bincount(place, minlength=len(names)).astype(np.float64)
    drawn = np.random.default_rng(SEED).integers(len(names), size=(rule.resamples, len(names)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    tail = (1 - rule.confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Compared(len(first), len(names), float(first.mean()), float(second.mean()), float(low), float(high))


def verdict(held_out: Compared, frozen: Compared, rule: RuleConfig) -> Verdict:
    """Better on held-out frames, and not worse on the frozen set."""
    why = ""
    for name, found in (("held-out", held_out), ("frozen", frozen)):
        if found.groups < rule.least:
            why = why or f"{name} crystals must be at least {rule.least}, got {found.groups}"
    if not why and not held_out.low > rule.better_by:
        why = f"it must be better on held-out frames by more than {rule.better_by:g}, got {_interval(held_out)}"
    if not why and frozen.low < -rule.worse_by:
        why = f"it must not be worse on the frozen set by more than {rule.worse_by:g}, got {_interval(frozen)}"
    return Verdict(held_out, frozen, why)


def regressed(since: Compared, rule: RuleConfig) -> bool:
    """Whether the new version is worse on frames that came since it took over."""
    return since.groups >= rule.least and since.high < -rule.regression_by


def _interval(found: Compared) -> str:
    return f"{found.new - found.old:+.4f} [{found.low:+.4f}, {found.high:+.4f}] on {found.frames}"
