"""What a run that moved shows: of its ledgers, its accounts, its events, and the times of its calls."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference_insitu.books.outcomes import HANDED_OVER, INFERRED
from inference_insitu.watching.account import account
from inference_insitu.watching.answers_files import PATTERN as ANSWERS
from inference_insitu.watching.run_files import RunFiles, read_run

SETTLED_S = 3.0
"""The end of a span, whose median is what an answer takes there."""


@dataclass(frozen=True)
class Answered:
    """Every answered frame: when it was published and answered, in seconds of ``time.monotonic``, and by whom."""

    step: np.ndarray
    published_s: np.ndarray
    answered_s: np.ndarray
    away: np.ndarray

    @property
    def latency_s(self) -> np.ndarray:
        """From published to answered."""
        return self.answered_s - self.published_s

    def within(self, first_s: float, last_s: float) -> "Answered":
        """Those published in that time."""
        chosen = (self.published_s >= first_s) & (self.published_s < last_s)
        return Answered(self.step[chosen], self.published_s[chosen], self.answered_s[chosen], self.away[chosen])


@dataclass(frozen=True)
class Migrated:
    """A migration: when the worker began it, when it was committed, and from which step on it holds."""

    to: str
    begun_s: float
    committed_s: float
    cut: int


def answered(run: RunFiles) -> Answered:
    """The answered frames of ``run``, in the order of their answers."""
    origin_s, columns = origin(run), []
    for away, rows in enumerate((run.ledger, run.transit.rows)):
        good = rows.fate.where(INFERRED)
        times = rows.published_s[good]
        columns.append((rows.step[good], times, times + rows.latency_s[good], np.full(good.sum(), away)))
    step, published_s, answered_s, away = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    order = np.lexsort((step, answered_s))
    return Answered(step[order], published_s[order] + origin_s, answered_s[order] + origin_s, away[order])


def origin(run: RunFiles) -> float:
    """The ledgers' zero in seconds of ``time.monotonic``."""
    return float(next(one.fields["origin_monotonic_s"] for one in run.events if one.event == "attach"))


def migrations(run: RunFiles) -> list[Migrated]:
    """Those that were committed, in their order."""
    told = [one for one in run.events if one.event == "migration"]
    begun = {one.fields["id"]: one.monotonic_s for one in told if one.fields["phase"] == "begun"}
    done = [one for one in told if one.fields["phase"] == "committed"]
    return [Migrated(one.fields["to"], begun[one.fields["id"]], one.monotonic_s, one.fields["cut"]) for one in done]


def books(folder: Path, steps: Iterable[int]) -> dict[str, Any]:
    """Whether every step of ``steps`` was answered, once and in order; and whether the books balance."""
    run, expected = read_run(folder), set(steps)
    found = answered(run)
    unique = set(found.step.tolist())
    rows = (run.ledger, run.transit.rows)
    fates = Counter[str]()
    for one in rows:
        fates.update(one.fate.counts())
    dropped = {name: count for name, count in fates.items() if name not in (INFERRED, HANDED_OVER)}
    said = sum(text.count("\n") for text in (path.read_text() for path in folder.glob(ANSWERS)))
    return {
        "published": len(expected),
        "dropped": dropped,
        "left_in_log": run.transit.in_log,
        "lost": len(expected - unique) - sum(dropped.values()) - run.transit.in_log,
        "duplicates": len(found.step) - len(unique),
        "answers_told": said,
        "in_order": bool(np.all(np.diff(found.step) > 0)),
        "problems": account(folder)["problems"],
    }


def move_figures(run: RunFiles, move: Migrated, calls: np.ndarray, period_s: float, until_s: float) -> dict[str, Any]:
    """What one migration cost; ``until_s`` is when the next thing happens."""
    found, to_away = answered(run), move.to == "in_transit"
    before = found.within(move.begun_s - 5.0, move.begun_s)
    after = found.within(move.begun_s, until_s)
    old = found.answered_s[(found.away != to_away) & (found.step < move.cut)]
    new = found.answered_s[(found.step >= move.cut)]
    took, now = calls[:, 2], calls[:, 1]
    during = (now >= move.begun_s - period_s) & (now <= move.committed_s + 1.0)
    earlier = (now >= move.begun_s - 5.0) & (now < move.begun_s - period_s)
    settled = float(np.median(after.within(until_s - SETTLED_S, until_s).latency_s))
    high = after.published_s[after.latency_s > 2 * settled + 0.5 * period_s]
    return {
        "to": move.to,
        "took_s": round(move.committed_s - move.begun_s, 3),
        "longest_call_ms": [round(1e3 * float(took[some].max()), 2) for some in (earlier, during)],
        "gap_periods": round(float(new.min() - old.max()) / period_s, 2),
        "latency_ms": {
            "before": round(1e3 * float(np.median(before.latency_s)), 1),
            "peak": round(1e3 * float(after.latency_s.max()), 1),
            "after": round(1e3 * settled, 1),
        },
        "recovered_s": round(float(high.max() - move.begun_s), 2) if len(high) else 0.0,
    }


def longest_silence(found: Answered, since_s: float, until_s: float) -> float:
    """When answers came again after the longest time without any from ``since_s`` on, seconds since then."""
    times = np.concatenate([[since_s], found.answered_s[(found.answered_s >= since_s) & (found.answered_s < until_s)]])
    return float(times[1 + int(np.argmax(np.diff(times)))] - since_s)


def quantiles_ms(seconds: np.ndarray) -> dict[str, float]:
    """Median and tails."""
    return {f"p{q}": round(1e3 * float(np.percentile(seconds, q)), 2) for q in (50, 95, 99)}
