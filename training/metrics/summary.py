"""One table over crystals: every statistic with its interval and the crystals behind it, and differences of methods.

Free of torch. A statistic that a tier does not define (no line, fewer than three reflections, nothing said) is NaN.
"""

from collections.abc import Callable, Mapping, Sequence

from training.metrics.answer_statistics import ANSWER_STATISTICS
from training.metrics.crystal_score import CrystalScore
from training.metrics.intervals import Interval, Statistic, difference, interval, resamples
from training.metrics.spatial_statistics import SPATIAL_STATISTICS

STATISTICS: Mapping[str, Callable[[Sequence[CrystalScore]], Statistic]] = {**ANSWER_STATISTICS, **SPATIAL_STATISTICS}
"""What is told of a set of crystals, by its name in tables."""


def summary(scores: Sequence[CrystalScore], *, seed: int = 0, number: int = 1000) -> dict[str, Interval]:
    """Every statistic over all crystals, with the interval of ``number`` resamples of crystals.

    Raises
    ------
    ValueError
        If there is no crystal.
    """
    if not scores:
        raise ValueError("scores must be of at least one crystal, got none")
    weights = resamples(len(scores), seed=seed, number=number)
    return {name: interval(of(scores), weights) for name, of in STATISTICS.items()}


def differences(
    ours: Sequence[CrystalScore], theirs: Sequence[CrystalScore], *, seed: int = 0, number: int = 1000
) -> dict[str, Interval]:
    """``ours`` − ``theirs`` of every statistic, on the crystals of which both tell, resampled together.

    Raises
    ------
    ValueError
        If the two are not of the same crystals in the same order, or there is none.
    """
    if not ours or [score.index for score in ours] != [score.index for score in theirs]:
        raise ValueError(f"theirs must be of the {len(ours)} crystals of ours in their order, got {len(theirs)}")
    weights = resamples(len(ours), seed=seed, number=number)
    return {name: difference(of(ours), of(theirs), weights) for name, of in STATISTICS.items()}
