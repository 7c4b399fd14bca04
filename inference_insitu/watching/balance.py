"""Do the books balance: ``books.json`` in itself, and with the rows of the ledgers."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inference_insitu.books.outcomes import HANDED_OVER, INFERRED
from inference_insitu.watching.ledger_files import Ledger

BOOKS = "books.json"


@dataclass(frozen=True)
class Totals:
    """Counts of one stream or of all."""

    published: int = 0
    inferred: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    open: int = 0
    handed_over: int = 0
    """To the stream log, whose own account says who answered them."""

    @property
    def missing(self) -> int:
        """Frames published beyond those that are accounted for; negative where more is accounted for."""
        return self.published - self.inferred - self.handed_over - sum(self.dropped.values()) - self.open


@dataclass(frozen=True)
class Books:
    """``books.json`` as read: totals, those of each stream, the percentiles of the latency in seconds."""

    total: Totals
    streams: Mapping[str, Totals]
    balanced: bool
    latency_s: Mapping[str, float | None]
    wall_s: float | None


def read_books(folder: str | Path) -> Books | None:
    """The summary of a run that has ended; None where there is none yet.

    Raises
    ------
    ValueError
        If the file does not hold books.
    """
    path = Path(folder) / BOOKS
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{BOOKS} must be readable, got {error}") from error
    try:
        row = json.loads(text)
        latency = row.get("latency_s") or {}
        return Books(
            total=_totals(row),
            streams={str(name): _totals(part) for name, part in (row.get("streams") or {}).items()},
            balanced=row.get("balanced") is True,
            latency_s={str(name): _number(value) for name, value in latency.items()},
            wall_s=_number(row.get("wall_s")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{BOOKS} must hold the books of a run, got {type(error).__name__}: {error}") from error


def ledger_totals(ledger: Ledger, rows: np.ndarray[Any, np.dtype[np.bool_]] | None = None) -> Totals:
    """Counts of the ledgers' rows, of all or of the chosen ones."""
    return totals_of(ledger.fate.counts(rows))


def totals_of(fates: Mapping[str, int]) -> Totals:
    """Counts of settled frames by what became of them."""
    dropped = {name: count for name, count in fates.items() if name not in (INFERRED, HANDED_OVER)}
    inferred, handed_over = fates.get(INFERRED, 0), fates.get(HANDED_OVER, 0)
    return Totals(inferred + handed_over + sum(dropped.values()), inferred, dropped, handed_over=handed_over)


def stream_totals(ledger: Ledger) -> dict[str, Totals]:
    """Counts of the ledgers' rows by stream."""
    return {name: ledger_totals(ledger, ledger.stream.where(name)) for name in ledger.stream.counts()}


def imbalances(books: Books | None, ledger: Ledger) -> list[str]:
    """Everything that does not add up, one line each; nothing where all does.

    Books that are not there yet are no imbalance: a run that goes on, or was killed, has none.
    """
    repeated = ledger.repeated()
    said = [f"{repeated} rows of the ledgers repeat the stream, rank and step of another row"] if repeated else []
    return said if books is None else said + differences(books, stream_totals(ledger))


def differences(books: Books, rows: Mapping[str, Totals]) -> list[str]:
    """What does not add up in ``books``, and between them and the ledgers' ``rows`` counted by stream."""
    found = []
    if not books.balanced:
        found.append(f"{BOOKS} itself says that it is not balanced")
    found += _within("all streams", books.total)
    for name, totals in books.streams.items():
        found += _within(f"stream {name!r}", totals)
    found += _sum_of_streams(books)
    found += _between("all streams", books.total, sum_of(rows.values()))
    for name in sorted({*books.streams, *rows} if books.streams else ()):
        found += _between(f"stream {name!r}", books.streams.get(name, Totals()), rows.get(name, Totals()))
    return found


def sum_of(parts: Iterable[Totals]) -> Totals:
    """Counts of several streams together."""
    together = Totals()
    for part in parts:
        dropped = dict(Counter(together.dropped) + Counter(part.dropped))
        together = Totals(
            together.published + part.published,
            together.inferred + part.inferred,
            dropped,
            together.open + part.open,
            together.handed_over + part.handed_over,
        )
    return together


def _within(what: str, totals: Totals) -> list[str]:
    found = []
    if totals.open:
        found.append(f"{what}: {totals.open} frames are still open")
    if totals.missing:
        found.append(
            f"{what}: {totals.published} published, but {totals.published - totals.missing} accounted for "
            f"({totals.inferred} inferred, {totals.handed_over} handed over, {sum(totals.dropped.values())} dropped, "
            f"{totals.open} open)"
        )
    return found


def _sum_of_streams(books: Books) -> list[str]:
    if not books.streams:
        return []
    found = []
    for name in ("published", "inferred", "handed_over"):
        total, parts = getattr(books.total, name), sum(getattr(part, name) for part in books.streams.values())
        if total != parts:
            found.append(f"{total} {name} in all, but {parts} in the streams together")
    return found


def _between(what: str, books: Totals, rows: Totals) -> list[str]:
    found = []
    if books.published - books.open != rows.published:
        found.append(
            f"{what}: {books.published - books.open} settled by the books, {rows.published} rows in the ledgers"
        )
    if books.inferred != rows.inferred:
        found.append(f"{what}: {books.inferred} inferred by the books, {rows.inferred} rows in the ledgers")
    if books.handed_over != rows.handed_over:
        found.append(f"{what}: {books.handed_over} handed over by the books, {rows.handed_over} rows in the ledgers")
    for reason in sorted({*books.dropped, *rows.dropped}):
        counted, written = books.dropped.get(reason, 0), rows.dropped.get(reason, 0)
        if counted != written:
            found.append(f"{what}: {counted} dropped as {reason!r} by the books, {written} rows in the ledgers")
    return found


def _totals(row: Mapping[str, Any]) -> Totals:
    dropped = {str(name): int(count) for name, count in (row.get("dropped") or {}).items()}
    return Totals(
        int(row["published"]), int(row["inferred"]), dropped, int(row.get("open", 0)), int(row.get("handed_over", 0))
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
