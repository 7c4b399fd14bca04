"""Everything that a run left in its folder, as far as it can be read, and what is missing."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference_insitu.watching import answers_files, events, metrics
from inference_insitu.watching.answers_files import Answers, read_answers
from inference_insitu.watching.balance import BOOKS, Books, read_books
from inference_insitu.watching.events import Event, parse_event, read_events
from inference_insitu.watching.in_transit import InTransit, read_in_transit
from inference_insitu.watching.ledger_files import PATTERN, Ledger, read_ledger
from inference_insitu.watching.metrics_files import WorkerNumbers, read_metrics

CONFIGS = ("coupling.yaml", "config.yaml")
"""Names that the settings of a run may have."""
STEERING = "steering.jsonl"
_GREATEST_CONFIG_BYTES = 256 * 1024


@dataclass(frozen=True)
class RunFiles:
    """One run. ``start_s`` is its start in seconds since the epoch, from which events are counted."""

    folder: Path
    ledger: Ledger
    transit: InTransit
    books: Books | None
    events: tuple[Event, ...]
    answers: Answers
    numbers: tuple[WorkerNumbers, ...]
    steering: tuple[Mapping[str, Any], ...]
    config: str | None
    start_s: float
    missing: tuple[str, ...]
    """Files that are not there or not whole, and what follows from it, one line each."""

    def seconds(self, event: Event) -> float:
        """When ``event`` was, seconds since the run's start."""
        return event.time_s - self.start_s

    @property
    def commands(self) -> list[Mapping[str, Any]]:
        """Rows of the steering log that tell of a command."""
        return [row for row in self.steering if row.get("event") not in ("opened", "closed")]

    @property
    def bounds(self) -> Mapping[str, Any]:
        """What may be asked for, and within which bounds, as the log's first line says."""
        for row in self.steering:
            given = row.get("commands")
            if row.get("event") == "opened" and isinstance(given, Mapping):
                return given
        return {}

    @property
    def steered_s(self) -> list[float]:
        """When commands were applied, seconds since the run's start."""
        applied = [parse_event(json.dumps(row)) for row in self.steering if row.get("event") == "applied"]
        return [self.seconds(event) for event in applied if event is not None]

    @property
    def end_s(self) -> float:
        """Length of the run as far as anything tells of it."""
        times = [self.seconds(event) for event in self.events]
        for rows in (self.ledger, self.transit.rows):
            settled = rows.published_s + np.nan_to_num(rows.latency_s)
            times += [float(settled[np.isfinite(settled)].max())] if np.isfinite(settled).any() else []
        return max([*times, self.books.wall_s or 0.0 if self.books else 0.0], default=0.0)


def read_run(folder: str | Path) -> RunFiles:
    """Read the run in ``folder``.

    Raises
    ------
    ValueError
        If ``folder`` is no folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"folder must be the folder of a run, got {folder}, which is no folder")
    missing: list[str] = []
    try:
        books = read_books(folder)
        if books is None:
            missing.append(f"{BOOKS}: the run has not ended, or was killed; totals are those of the ledgers' rows")
    except ValueError as error:
        books = None
        missing.append(str(error))
    ledger, answers, told = read_ledger(folder), read_answers(folder), read_events(folder)
    for there, pattern, what in (
        (ledger.files, PATTERN, "no row of any frame"),
        (told, events.PATTERN, "no events, so nothing of workers and of the machine"),
        (answers.files, answers_files.PATTERN, "no answers in the generic form"),
        (any(folder.glob(metrics.PATTERN)), metrics.PATTERN, "no metrics of workers"),
    ):
        if not there:
            missing.append(f"{pattern}: {what}")
    transit = read_in_transit(folder, told)
    steering = _read_steering(folder / STEERING, missing)
    config = _read_config(folder, missing)
    missing += [*ledger.problems, *transit.rows.problems, *answers.problems]
    return RunFiles(
        folder,
        ledger,
        transit,
        books,
        tuple(told),
        answers,
        tuple(read_metrics(folder)),
        steering,
        config,
        _start_s(told),
        tuple(missing),
    )


def _start_s(told: list[Event]) -> float:
    """The first ``attach``, less what it says (``origin_monotonic_s``) had passed since the ledger's zero."""
    for event in told:
        if event.event == "attach":
            origin = event.fields.get("origin_monotonic_s")
            passed = event.monotonic_s - origin if isinstance(origin, int | float) else 0.0
            return event.time_s - passed if math.isfinite(passed) else event.time_s
    return min((event.time_s for event in told), default=0.0)


def _read_steering(path: Path, missing: list[str]) -> tuple[Mapping[str, Any], ...]:
    """Rows of the steering log; a run without steering has none, and misses nothing."""
    rows, unreadable = [], 0
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        missing.append(f"{STEERING}: it cannot be read: {error}")
        return ()
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            unreadable += 1
    if unreadable:
        missing.append(f"{STEERING}: {unreadable} lines are no command")
    return tuple(rows)


def _read_config(folder: Path, missing: list[str]) -> str | None:
    for name in CONFIGS:
        try:
            with (folder / name).open("rb") as file:
                return file.read(_GREATEST_CONFIG_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
    missing.append(f"{' or '.join(CONFIGS)}: the settings of the run are not known")
    return None
