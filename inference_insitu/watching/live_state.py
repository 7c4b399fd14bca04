"""The state of a run as its files tell it, brought up to date from what they grew by."""

import json
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_insitu.books.outcomes import INFERRED
from inference_insitu.watching import events, ledger_files
from inference_insitu.watching.balance import BOOKS, Books, Totals, differences, read_books, totals_of
from inference_insitu.watching.events import Event, parse_event
from inference_insitu.watching.ledger_files import Ledger, LedgerReader, read_header
from inference_insitu.watching.line_tail import LineTail
from inference_insitu.watching.metrics_files import WorkerNumbers, read_metrics
from inference_insitu.watching.worker_events import STATES, worker_of

RATE_WINDOW_S = 10
KEPT_SECONDS = 60
RECENT_FRAMES = 10_000
"""What percentiles are taken of."""
RECENT_EVENTS = 200
LONGEST_RUN_S = 1e10
"""A row that was published later than this tells of a damaged file."""
QUIET_S = 30.0
"""Without a new byte for so long, a run without books may have been killed."""
_RESULTS_BYTES = 512 * 1024


@dataclass
class StreamState:
    """Counts of one stream, and its newest frames."""

    published: int = 0
    inferred: int = 0
    handed_over: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    newest_step: int | None = None
    _newest: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 0)))
    """``published_s`` and ``latency_s`` of the newest frames that were inferred."""
    _per_second: Counter[int] = field(default_factory=Counter)

    def count(self, fates: Mapping[str, int], newest_step: int) -> None:
        """Add frames by what became of them."""
        totals = totals_of(fates)
        self.published += totals.published
        self.inferred += totals.inferred
        self.handed_over += totals.handed_over
        self.dropped += Counter(totals.dropped)
        self.newest_step = newest_step if self.newest_step is None else max(newest_step, self.newest_step)

    def answered(self, published_s: NDArray[np.float64], latency_s: NDArray[np.float64]) -> None:
        """Frames that were inferred; the newest of all ranks are kept."""
        both = np.concatenate([self._newest, np.stack([published_s, latency_s])], axis=1)
        both = both[:, np.isfinite(both).all(axis=0)]
        if both.shape[1] > RECENT_FRAMES:
            both = both[:, np.argpartition(both[0], -RECENT_FRAMES)[-RECENT_FRAMES:]]
        self._newest = both

    def published_at(self, published_s: NDArray[np.float64]) -> None:
        """Frames by the second of the run they were published in."""
        sane = published_s[np.abs(published_s) < LONGEST_RUN_S]  # NaN is not
        seconds, counts = np.unique(sane.astype(np.int64), return_counts=True)
        self._per_second.update(dict(zip(seconds.tolist(), counts.tolist(), strict=True)))
        newest = max(self._per_second, default=0)
        for second in [second for second in self._per_second if second < newest - KEPT_SECONDS]:
            del self._per_second[second]

    def percentiles_s(self) -> list[float] | None:
        """p50, p95, p99 and the longest of the newest latencies; None where there are none."""
        if not self._newest.shape[1]:
            return None
        found: list[float] = np.percentile(self._newest[1], (50, 95, 99, 100)).tolist()
        return found

    def recent_counts(self, now_s: float) -> list[int]:
        """Frames published in each of the last ``KEPT_SECONDS`` whole seconds before ``now_s``, the oldest first."""
        last = int(now_s)
        return [self._per_second[second] for second in range(max(0, last - KEPT_SECONDS), last)]

    def rate(self, now_s: float) -> float:
        """Frames per second over the ten whole seconds of the run before ``now_s``, or over a shorter run."""
        if now_s < RATE_WINDOW_S:
            return self._per_second.total() / now_s if now_s > 0 else 0.0
        last = int(now_s)
        return sum(self._per_second[second] for second in range(last - RATE_WINDOW_S, last)) / RATE_WINDOW_S


@dataclass(frozen=True)
class WorkerState:
    """What the newest event said of a worker, and how often it was restarted."""

    state: str
    since_s: float
    restarts: int = 0


@dataclass
class RunState:
    """Everything the view shows; ``refresh`` reads what is new."""

    folder: Path
    streams: dict[str, StreamState] = field(default_factory=dict)
    workers: dict[str, WorkerState] = field(default_factory=dict)
    numbers: list[WorkerNumbers] = field(default_factory=list)
    answers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The newest answer by stream."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=RECENT_EVENTS))
    ranks: set[int] = field(default_factory=set)
    books: Books | None = None
    problems: dict[str, str] = field(default_factory=dict)
    newest_s: float = 0.0
    """Publishing of the newest frame, seconds since the run's start."""
    changed: float | None = None
    """When a file of the run last changed, seconds since the epoch."""
    _tails: dict[Path, LineTail] = field(default_factory=dict)
    _headers: dict[Path, list[str]] = field(default_factory=dict)
    _unreadable: Counter[str] = field(default_factory=Counter)

    def refresh(self) -> None:
        """Read what was written since the last time. A file that cannot be read is a problem, not an error."""
        self._read()
        if any(tail.replaced for tail in self._tails.values()):
            # Another run took the folder over: what was counted belongs to none of its files.
            self.__init__(self.folder)  # type: ignore[misc]
            self._read()

    def _read(self) -> None:
        try:
            self.books = read_books(self.folder)  # first: once there are books, the ledgers are whole
            self.problems.pop(BOOKS, None)
        except ValueError as error:
            self.problems[BOOKS] = str(error)
        self._read_ledgers()
        self._read_events()
        self._read_answers()
        self.numbers = read_metrics(self.folder)
        self.changed = max((seconds for path in self._files() if (seconds := _changed(path))), default=None)

    @property
    def empty(self) -> bool:
        """Nothing of a run is there yet."""
        return not (self.streams or self.events or self.answers or self.numbers or self.books or self.problems)

    @property
    def imbalances(self) -> list[str]:
        """What does not add up in the books, or between them and the ledgers; nothing where there are none yet."""
        if self.books is None:
            return []
        rows = {
            name: Totals(one.published, one.inferred, one.dropped, handed_over=one.handed_over)
            for name, one in self.streams.items()
        }
        return differences(self.books, rows)

    def quiet_s(self) -> float | None:
        """Seconds since a file changed."""
        return None if self.changed is None else max(0.0, time.time() - self.changed)

    def _files(self) -> Iterable[Path]:
        patterns = (ledger_files.PATTERN, events.PATTERN, "results-*.jsonl", "metrics-*.prom", BOOKS)
        return (path for pattern in patterns for path in self.folder.glob(pattern))

    def _tail(self, path: Path, last_bytes: int | None = None) -> LineTail:
        if path not in self._tails:
            self._tails[path] = LineTail(path, last_bytes=last_bytes)
        return self._tails[path]

    def _read_ledgers(self) -> None:
        for path in sorted(self.folder.glob(ledger_files.PATTERN)):
            while lines := self._tail(path).read():
                self._read_rows(path, lines)

    def _read_rows(self, path: Path, lines: list[str]) -> None:
        if path not in self._headers:
            self._headers[path] = []
            try:
                self._headers[path] = read_header(lines[0])
            except ValueError as error:
                self.problems[path.name] = f"{path.name}: {error}"
            lines = lines[1:]
        if not self._headers[path]:
            return
        reader = LedgerReader()
        reader.add(self._headers[path], [line + "\n" for line in lines], path.name)
        ledger = reader.ledger()
        if reader.unreadable:
            self._unreadable += Counter(reader.unreadable)
            self.problems[path.name] = f"{path.name}: {self._unreadable[path.name]} lines are no row of a ledger"
        if len(ledger):
            self._count(ledger)

    def _count(self, ledger: Ledger) -> None:
        self.ranks.update(np.unique(ledger.rank).tolist())
        self.newest_s = max(self.newest_s, _greatest(ledger.published_s))
        for name in ledger.stream.counts():
            rows = ledger.stream.where(name)
            inferred = rows & ledger.fate.where(INFERRED)
            stream = self.streams.setdefault(name, StreamState())
            stream.count(ledger.fate.counts(rows), int(ledger.step[rows].max()))
            stream.answered(ledger.published_s[inferred], ledger.latency_s[inferred])
            stream.published_at(ledger.published_s[rows])

    def _read_events(self) -> None:
        new = []
        for path in sorted(self.folder.glob(events.PATTERN)):
            new += [event for line in self._tail(path).read() if (event := parse_event(line, path.name)) is not None]
        for event in sorted(new, key=lambda event: event.time_s):
            self.events.append(event)
            worker = worker_of(event, self.workers)
            if worker is not None:
                before = self.workers.get(worker)
                restarts = (before.restarts if before else 0) + (event.event == "restart")
                self.workers[worker] = WorkerState(STATES[event.event], event.time_s, restarts)

    def _read_answers(self) -> None:
        for path in sorted(self.folder.glob("results-*.jsonl")):
            # Only the newest answer of a stream is shown: the end of a long file has it.
            for line in self._tail(path, last_bytes=_RESULTS_BYTES).read()[-1000:]:
                try:
                    answer = json.loads(line)
                    stream, step = str(answer["stream"]), int(answer["step"])
                    if step >= int(self.answers.get(stream, {"step": step})["step"]):
                        self.answers[stream] = answer
                except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                    continue


def _greatest(values: NDArray[np.float64]) -> float:
    sane = values[np.abs(values) < LONGEST_RUN_S]
    return float(sane.max()) if len(sane) else 0.0


def _changed(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
