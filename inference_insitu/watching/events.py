"""The structured log: what happened to a run, one JSON line per event.

Each process appends to a file of its own, ``events-<role><index>.jsonl``. A line is one ``write``
to a descriptor opened with ``O_APPEND``, so it is on its way to the disk when ``log`` returns and
no other writer's line falls into it. Nothing here raises into the caller: a full disk costs
events, which are counted, and is told once on the standard error.

A line holds ``time`` (ISO 8601, UTC), ``monotonic_s`` (``CLOCK_MONOTONIC``), ``who``, ``event`` and
the event's own fields. Standard library only, since simulation ranks import it.
"""

import json
import math
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

PATTERN = "events-*.jsonl"
RESERVED = ("time", "monotonic_s", "who", "event")
LONGEST_TEXT = 8192
"""Characters of one text in an event: a traceback fits, an array's print does not."""
MOST_ITEMS = 256
_DEEPEST = 6


class EventLog:
    """Appends events to ``path``; with ``path`` None it is a log that keeps nothing.

    Safe to share between threads. ``lost`` counts the events that could not be written.
    """

    def __init__(self, path: str | Path | None, who: str) -> None:
        self.path = None if path is None else Path(path)
        self.who = who
        self.lost = 0
        self._descriptor: int | None = None
        self._broken_line = False
        self._told = False
        self._seen: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        if self.path is not None:
            try:
                self._open()
            except OSError as error:
                self._tell(error)

    def log(self, event: str, **fields: Any) -> None:
        """Append one event; a field with a reserved name is kept with an underscore at its end."""
        if self.path is None:
            return
        try:
            line = _line(self.who, event, fields)
            with self._lock:
                self._write(line)
        except Exception as error:  # a log that fails must not stop a simulation
            self.lost += 1
            self._tell(error)

    def first(self, event: str, key: str, **fields: Any) -> None:
        """``log``, but only the first time for this ``event`` and ``key``: one drop of each reason is enough."""
        if (event, key) not in self._seen:
            self._seen.add((event, key))
            self.log(event, **fields)

    def close(self) -> None:
        """Close the file; a later ``log`` opens it again."""
        with self._lock:
            if self._descriptor is not None:
                descriptor, self._descriptor = self._descriptor, None
                try:
                    os.close(descriptor)
                except OSError as error:
                    self._tell(error)

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> int:
        if self._descriptor is None:
            assert self.path is not None
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        return self._descriptor

    def _write(self, line: bytes) -> None:
        data = b"\n" + line if self._broken_line else line
        written = os.write(self._open(), data)
        # A disk that fills up takes a part of the line: the next one must not continue it.
        self._broken_line = written < len(data)
        if self._broken_line:
            raise OSError(f"{written} of {len(data)} bytes were written")

    def _tell(self, error: Exception) -> None:
        if self._told:
            return
        self._told = True
        try:
            print(f"cdi: events of {self.who} are lost: {self.path}: {error}", file=sys.stderr, flush=True)
        except (OSError, ValueError, AttributeError):  # no standard error to tell it on
            return


@dataclass(frozen=True)
class Event:
    """One event as read back: ``time_s`` is seconds since the epoch, ``fields`` what is not reserved."""

    time_s: float
    monotonic_s: float
    who: str
    event: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


def read_events(folder: str | Path) -> list[Event]:
    """Events of every file in ``folder``, by time. Lines that are no event, as a killed writer leaves, are left out."""
    found = [event for path in sorted(Path(folder).glob(PATTERN)) for event in _read(path)]
    return sorted(found, key=lambda event: event.time_s)


def parse_event(line: str, source: str = "") -> Event | None:
    """The event of one line, or None where it is no event."""
    try:
        row = json.loads(line)
        moment = datetime.fromisoformat(str(row["time"]))
        return Event(
            time_s=moment.replace(tzinfo=moment.tzinfo or UTC).timestamp(),
            monotonic_s=float(row.get("monotonic_s", math.nan)),
            who=str(row.get("who", "")),
            event=str(row["event"]),
            fields={str(name): value for name, value in row.items() if name not in RESERVED},
            source=source,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _read(path: Path) -> list[Event]:
    try:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            return [event for line in file if (event := parse_event(line, path.name)) is not None]
    except OSError:
        return []


def _line(who: str, event: str, fields: Mapping[str, Any]) -> bytes:
    row: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="microseconds"),
        "monotonic_s": round(time.clock_gettime(time.CLOCK_MONOTONIC), 6),
        "who": who,
        "event": event,
    }
    for name, value in fields.items():
        row[f"{name}_" if name in RESERVED else name] = plain(value)
    return (json.dumps(row, allow_nan=False) + "\n").encode("utf-8", "replace")


def plain(value: Any, depth: int = 0) -> Any:
    """``value`` as JSON can hold it: NaN and infinity as text, arrays as lists, anything else by its ``str``."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + "…"
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return {str(name): plain(item, depth + 1) for name, item in list(value.items())[:MOST_ITEMS]}
        if isinstance(value, list | tuple | set | frozenset):
            return [plain(item, depth + 1) for item in list(value)[:MOST_ITEMS]]
        if hasattr(value, "tolist") and getattr(value, "size", MOST_ITEMS + 1) <= MOST_ITEMS:
            return plain(value.tolist(), depth + 1)
    return plain(str(value), depth)
