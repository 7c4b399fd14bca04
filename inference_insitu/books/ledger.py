"""The ledger of one simulation rank: a row for every frame that it published, whatever became of it."""

import sys
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from inference_insitu.books.outcomes import DROPPED, INFERRED

COLUMNS = (
    "stream",
    "rank",
    "step",
    "status",
    "outcome",
    "reason",
    "published_s",
    "queued_s",
    "inferred_s",
    "latency_s",
    "attempts",
    "model",
)
FLUSH_ROWS = 256


def ledger_name(rank: int) -> str:
    """File name of the ledger of the simulation rank ``rank``."""
    return f"ledger-{rank}.csv"


@dataclass(frozen=True)
class Settled:
    """How a frame that had been accepted ended; times in seconds."""

    outcome: str
    reason: str = ""
    queued_s: float | None = None
    inferred_s: float | None = None
    latency_s: float | None = None
    attempts: int = 0
    model: str = ""


@dataclass
class StreamBooks:
    """Counts of one stream on one rank."""

    published: int = 0
    accepted: int = 0
    inferred: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def open(self) -> int:
        """Frames whose end is not known yet; 0 when the books balance."""
        return self.published - self.inferred - self.dropped.total()


class Ledger:
    """Rows of rank ``rank`` in ``folder``; kept in memory alone where ``folder`` is None.

    A full disk costs rows, never the simulation: they are counted in ``unwritten`` and told of once.

    Parameters
    ----------
    origin_ns : clock reading (``time.monotonic_ns``) that ``published_s`` counts from.
    """

    def __init__(self, folder: Path | None, rank: int, *, origin_ns: int) -> None:
        self.rank = rank
        self.origin_ns = origin_ns
        self.streams: dict[str, StreamBooks] = {}
        self.latency_s = array("d")
        self.unwritten = 0
        self._open: dict[tuple[str, int], int] = {}
        self._lines: list[str] = []
        self._file: TextIO | None = None
        if folder is not None:
            self._file = (folder / ledger_name(rank)).open("w", newline="")
            self._file.write(",".join(COLUMNS) + "\n")
            self._file.flush()

    @classmethod
    def continued(cls, folder: Path, rank: int, *, origin_ns: int) -> "Ledger":
        """The ledger on disk of a rank that died, to be ended by somebody else."""
        ledger = cls(None, rank, origin_ns=origin_ns)
        ledger._file = (folder / ledger_name(rank)).open("a", newline="")
        return ledger

    def accept(self, stream: str, step: int, published_ns: int) -> None:
        """A frame went into the ring; ``settle`` says later how it ended."""
        books = self._books(stream)
        books.published += 1
        books.accepted += 1
        self._open[stream, step] = published_ns

    def refuse(self, stream: str, step: int, published_ns: int, reason: str, *, status: str = "dropped") -> None:
        """A frame was not taken at all, for ``reason``."""
        books = self._books(stream)
        books.published += 1
        books.dropped[reason] += 1
        self._write(stream, step, status, published_ns, Settled(reason))

    def settle(self, stream: str, step: int, settled: Settled) -> None:
        """The accepted frame of ``step`` met its end.

        Raises
        ------
        ValueError
            If the outcome is unknown, or the frame was never accepted or has ended before.
        """
        if settled.outcome != INFERRED and settled.outcome not in DROPPED:
            raise ValueError(f"outcome must be one of {', '.join([INFERRED, *DROPPED])}, got {settled.outcome!r}")
        published_ns = self._open.pop((stream, step), None)
        if published_ns is None:
            raise ValueError(f"a frame must end once after it was accepted, got {stream!r} of step {step}")
        books = self.streams[stream]
        if settled.outcome == INFERRED:
            books.inferred += 1
        else:
            books.dropped[settled.outcome] += 1
        if settled.latency_s is not None:
            self.latency_s.append(settled.latency_s)
        self._write(stream, step, "accepted", published_ns, settled)

    @property
    def open(self) -> int:
        """Accepted frames that have not ended."""
        return len(self._open)

    def flush(self) -> None:
        """Write what has been settled."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        if self._file is None:
            return
        try:
            self._file.write("".join(lines))
            self._file.flush()
        except OSError as error:
            if not self.unwritten:
                print(f"cdi: the ledger of rank {self.rank} is not written any more: {error}", file=sys.stderr)
            self.unwritten += len(lines)

    def close(self) -> None:
        """Write the rest and close the file."""
        self.flush()
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                self.unwritten += 1

    def summary(self) -> dict[str, Any]:
        """Counts by stream, as ``books.json`` holds them for the whole run."""
        return {
            name: {
                "published": books.published,
                "accepted": books.accepted,
                "inferred": books.inferred,
                "dropped": dict(books.dropped),
                "open": books.open,
            }
            for name, books in self.streams.items()
        }

    def _books(self, stream: str) -> StreamBooks:
        books = self.streams.get(stream)
        if books is None:
            books = self.streams[stream] = StreamBooks()
        return books

    def _write(self, stream: str, step: int, status: str, published_ns: int, settled: Settled) -> None:
        times = (settled.queued_s, settled.inferred_s, settled.latency_s)
        texts = ["" if value is None else f"{value:.6f}" for value in times]
        reason = settled.reason.translate(_PLAIN)
        self._lines.append(
            f"{stream},{self.rank},{step},{status},{settled.outcome},{reason},"
            f"{(published_ns - self.origin_ns) * 1e-9:.6f},{','.join(texts)},{settled.attempts},{settled.model}\n"
        )
        if len(self._lines) >= FLUSH_ROWS:
            self.flush()


_PLAIN = str.maketrans({",": ";", "\n": " ", "\r": " ", '"': "'"})
"""A reason is one field of a line."""


def percentiles(values: "array[float] | list[float]", which: tuple[int, ...]) -> dict[str, float | None]:
    """Percentiles by name, ``p50`` … and ``max`` for 100; None where there are no values."""
    names = ["max" if p == 100 else f"p{p}" for p in which]
    found = np.percentile(np.asarray(values), which).tolist() if len(values) else [None] * len(which)
    return {name: None if value is None else round(value, 6) for name, value in zip(names, found, strict=True)}
