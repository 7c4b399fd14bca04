"""The ledger of one simulation rank: a row for every frame that it published, whatever became of it."""

import struct
import sys
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference_insitu.books.outcomes import DROPPED, HANDED_OVER, INFERRED, OUTCOMES

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
MOST_LATENCIES = 1000
FLUSH_NS = 500_000_000
"""A file is written to so often: a call of the system at every step would cost more than all else."""
JOURNAL_BYTES = 1 << 15
"""Memory for the rows that are settled and not yet in the file; its first word is how many bytes of them there are."""

_LENGTH = struct.Struct("<q")

Key = tuple[str, int]
"""Stream and step: what a row is of."""


def ledger_name(rank: int) -> str:
    """File name of the ledger of the simulation rank ``rank``."""
    return f"ledger-{rank}.csv"


class Settled(NamedTuple):
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
    handed_over: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def open(self) -> int:
        """Frames whose end is not known yet; 0 when the books balance."""
        return self.published - self.inferred - self.handed_over - self.dropped.total()


class Ledger:
    """Rows of rank ``rank`` in ``folder``; kept in memory alone where ``folder`` is None.

    A full disk costs rows, never the simulation: they are counted in ``unwritten`` and told of once.

    Parameters
    ----------
    origin_ns : clock reading (``time.monotonic_ns``) that ``published_s`` counts from.
    journal : memory of ``JOURNAL_BYTES`` that outlives this process, for its rows on their way to the file.
    """

    def __init__(self, folder: Path | None, rank: int, *, origin_ns: int, journal: memoryview | None = None) -> None:
        self.rank = rank
        self.origin_ns = origin_ns
        self.streams: dict[str, StreamBooks] = {}
        self.latency_s = array("d")
        self.unwritten = 0
        self._open: dict[Key, int] = {}
        self.journal = memoryview(bytearray(JOURNAL_BYTES)) if journal is None else journal
        _LENGTH.pack_into(self.journal, 0, 0)
        self._flushed_ns = 0
        self._file: BinaryIO | None = None
        if folder is not None:
            self._file = (folder / ledger_name(rank)).open("wb")
            self._file.write(",".join(COLUMNS).encode() + b"\n")
            self._file.flush()

    @classmethod
    def continued(cls, folder: Path, rank: int, *, origin_ns: int, journal: memoryview) -> tuple["Ledger", set[Key]]:
        """The ledger on disk of a rank that died, to be ended by somebody else, and the frames that have their row.

        A line that its death cut is taken away; rows that were on their way in ``journal`` are added.

        Raises
        ------
        OSError
            If the file cannot be read and written.
        """
        ledger = cls(None, rank, origin_ns=origin_ns)
        ledger._file = (folder / ledger_name(rank)).open("r+b")
        data = ledger._file.read()
        whole = data.rfind(b"\n") + 1
        ledger._file.seek(whole)
        ledger._file.truncate()
        written = set(data[:whole].splitlines()[1:])
        (length,) = _LENGTH.unpack_from(journal)
        for line in bytes(journal[_LENGTH.size :][: max(length, 0)]).splitlines():
            if line not in written and line.count(b",") == len(COLUMNS) - 1:
                written.add(line)
                ledger._file.write(line + b"\n")
        return ledger, {key for line in written if (key := _key(line)) is not None}

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

    def refused(self, stream: str, step: int, reason: str) -> None:
        """The frame of ``step`` was not taken, and who did not take it has written its row into ``journal``."""
        books = self._books(stream)
        books.published += 1
        books.dropped[reason] += 1

    def settle(self, stream: str, step: int, settled: Settled) -> None:
        """The accepted frame of ``step`` met its end.

        Raises
        ------
        ValueError
            If the outcome is unknown, or the frame was never accepted or has ended before.
        """
        if settled.outcome != INFERRED and settled.outcome != HANDED_OVER and settled.outcome not in DROPPED:
            raise ValueError(f"outcome must be one of {', '.join(OUTCOMES)}, got {settled.outcome!r}")
        published_ns = self._open.pop((stream, step), None)
        if published_ns is None:
            raise ValueError(f"a frame must end once after it was accepted, got {stream!r} of step {step}")
        books = self.streams[stream]
        if settled.outcome == INFERRED:
            books.inferred += 1
        elif settled.outcome == HANDED_OVER:
            books.handed_over += 1
        else:
            books.dropped[settled.outcome] += 1
        if settled.latency_s is not None:
            self.latency_s.append(settled.latency_s)
        self._write(stream, step, "accepted", published_ns, settled)

    def answered(self, stream: str, step: int, latency_s: float) -> None:
        """The accepted frame of ``step`` was inferred, and who noticed has written its row into ``journal``."""
        del self._open[stream, step]
        self.streams[stream].inferred += 1
        self.latency_s.append(latency_s)

    def replaced(self, stream: str, step: int) -> None:
        """The accepted frame of ``step`` was superseded, and who did that has written its row into ``journal``."""
        del self._open[stream, step]
        self.streams[stream].dropped["superseded"] += 1

    @property
    def handed_over(self) -> int:
        """Frames that others answer, from a log."""
        return sum(books.handed_over for books in self.streams.values())

    def latency_quantiles(self) -> NDArray[np.float64]:
        """All latencies, or as many quantiles as rank 0 can gather from every rank; the largest is among them.

        Rows of (seconds, number of answers that it stands for).
        """
        values = np.asarray(self.latency_s)
        if len(values) > MOST_LATENCIES:
            values = np.percentile(values, np.linspace(100 / MOST_LATENCIES, 100, MOST_LATENCIES))
        answers = len(self.latency_s) / max(len(values), 1)
        return np.column_stack([values, np.full(len(values), answers)])

    @property
    def open(self) -> int:
        """Accepted frames that have not ended."""
        return len(self._open)

    def keep_up(self, now_ns: int) -> None:
        """Write what has been settled, from time to time: meanwhile its rows are safe in the journal."""
        if now_ns - self._flushed_ns > FLUSH_NS:
            self._flushed_ns = now_ns
            self.flush()

    def flush(self) -> None:
        """Write what has been settled."""
        (length,) = _LENGTH.unpack_from(self.journal)
        if not length:
            return
        rows = self.journal[_LENGTH.size :][:length]
        if self._file is not None:
            try:
                self._file.write(rows)
                self._file.flush()
            except OSError as error:
                if not self.unwritten:
                    print(f"cdi: the ledger of rank {self.rank} is not written any more: {error}", file=sys.stderr)
                self.unwritten += bytes(rows).count(b"\n")
        # After the file: rows found in both are told apart by their key.
        _LENGTH.pack_into(self.journal, 0, 0)

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
                "handed_over": books.handed_over,
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
        outcome, reason, queued_s, inferred_s, latency_s, attempts, model = settled
        if reason:
            reason = reason.translate(_PLAIN)
        if model:
            model = model.translate(_PLAIN)
        times = "" if queued_s is None else f"{queued_s:.6f}"
        times += "," if inferred_s is None else f",{inferred_s:.6f}"
        times += "," if latency_s is None else f",{latency_s:.6f}"
        published_s = (published_ns - self.origin_ns) * 1e-9
        line = (
            f"{stream},{self.rank},{step},{status},{outcome},{reason},{published_s:.6f},{times},{attempts},{model}\n"
        ).encode()
        start = _LENGTH.size + _LENGTH.unpack_from(self.journal)[0]
        if start + len(line) > len(self.journal):
            self.flush()
            start = _LENGTH.size
        end = start + len(line)
        self.journal[start:end] = line
        _LENGTH.pack_into(self.journal, 0, end - _LENGTH.size)


def _key(line: bytes) -> Key | None:
    """Stream and step of the frame that a row is of; None for what says that a step was published again."""
    fields = line.decode(errors="replace").split(",")
    if len(fields) != len(COLUMNS) or not fields[2].isdecimal() or fields[4] == "repeated":
        return None
    return fields[0], int(fields[2])


_PLAIN = str.maketrans({",": ";", "\n": " ", "\r": " ", '"': "'"})
"""A reason, and what a model calls itself, is one field of a line."""


def percentiles(
    values: "array[float] | list[float] | NDArray[np.float64]",
    which: tuple[int, ...],
    weights: NDArray[np.float64] | None = None,
) -> dict[str, float | None]:
    """Percentiles by name, ``p50`` … and ``max`` for 100; None where there are no values.

    With ``weights`` that differ each value counts for as many: then the percentile is one of the values.
    """
    names = ["max" if p == 100 else f"p{p}" for p in which]
    if not len(values):
        return dict.fromkeys(names)
    if weights is None or np.ptp(weights) == 0:
        found = np.percentile(np.asarray(values), which).tolist()
    else:
        found = np.percentile(np.asarray(values), which, method="inverted_cdf", weights=weights).tolist()
    return {name: None if value is None else round(value, 6) for name, value in zip(names, found, strict=True)}
