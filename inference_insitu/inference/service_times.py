"""How long batches take, learnt from those that were answered: what a deadline is weighed against."""

from collections.abc import Hashable
from dataclasses import dataclass
from math import isfinite
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

NEW_SHARE = 0.25
"""Weight of the newest measurement in the moving average and in the mean deviation."""

CAUTION = 4.0
"""Deviations above the mean that a batch is given, as retransmission timers give (RFC 6298)."""

FADED = 0.9
"""What is left of an expectation each time it is doubted."""


@dataclass(slots=True)
class _Time:
    mean_s: float
    deviation_s: float


class ServiceTimes(Generic[Key]):
    """Exponentially weighted seconds of a batch, by what is computed (``key``) and by its size.

    A size never measured is expected in proportion to the nearest one that was, as a CPU computes; where a larger batch
    costs no more than a small one, that is corrected by the first one served. Nothing measured: 0.
    """

    def __init__(self) -> None:
        self._times: dict[Key, dict[int, _Time]] = {}

    def learn(self, key: Key, size: int, seconds: float) -> None:
        """One batch of ``size`` took ``seconds``.

        Raises
        ------
        ValueError
            If ``seconds`` is not a finite number of at least 0.
        """
        if not (isfinite(seconds) and seconds >= 0):
            raise ValueError(f"seconds must be at least 0 and finite, got {seconds!r}")
        times = self._times.setdefault(key, {})
        if size not in times:
            times[size] = _Time(seconds, seconds / 2)
            return
        time = times[size]
        time.deviation_s += NEW_SHARE * (abs(seconds - time.mean_s) - time.deviation_s)
        time.mean_s += NEW_SHARE * (seconds - time.mean_s)

    def expected_s(self, key: Key, size: int) -> float:
        """Mean seconds of a batch of ``size``."""
        time, share = self._nearest(key, size)
        return share * time.mean_s

    def cautious_s(self, key: Key, size: int) -> float:
        """Seconds that hardly any batch of ``size`` exceeds: the mean and ``CAUTION`` deviations."""
        time, share = self._nearest(key, size)
        return share * (time.mean_s + CAUTION * time.deviation_s)

    def doubt(self, key: Key) -> None:
        """Let what is expected of ``key`` fade: it decided against a frame, and nothing served corrects it then."""
        for time in self._times.get(key, {}).values():
            time.mean_s *= FADED
            time.deviation_s *= FADED

    def _nearest(self, key: Key, size: int) -> tuple[_Time, float]:
        times = self._times.get(key)
        if not times:
            return _Time(0.0, 0.0), 1.0
        measured = min(times, key=lambda other: abs(other - size))
        return times[measured], size / measured
