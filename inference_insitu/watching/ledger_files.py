"""The ledgers of a run, ``ledger-<rank>.csv``, as columns of numpy arrays.

One row for each (stream, rank, step) that was published and settled. Text columns are stored as
codes into their few distinct names. Columns are found by the header's names, so that added ones do no
harm. A line that a killed writer left unfinished, and one that is no row, are counted and left out.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.int32] | NDArray[np.int64] | NDArray[np.float64]
PATTERN = "ledger-*.csv"
TEXT = ("stream", "status", "fate", "reason", "model")
WHOLE = ("rank", "step", "attempts")
TIMES = ("published_s", "queued_s", "inferred_s", "latency_s")
REQUIRED = ("stream", "rank", "step", "outcome")
_BLOCK_BYTES = 1024 * 1024
_ABSENT = -1


@dataclass(frozen=True)
class Names:
    """A text column: row i holds ``names[codes[i]]``."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    def where(self, name: str) -> NDArray[np.bool_]:
        """Rows that hold ``name``."""
        if name not in self.names:
            return np.zeros(len(self.codes), np.bool_)
        return np.equal(self.codes, self.names.index(name))

    def counts(self, rows: NDArray[np.bool_] | None = None) -> dict[str, int]:
        """How many rows hold each name, of all or of the chosen ``rows``; names of none are left out."""
        chosen = self.codes if rows is None else self.codes[rows]
        found = np.bincount(chosen, minlength=len(self.names))
        return {name: int(count) for name, count in zip(self.names, found, strict=True) if count}


@dataclass(frozen=True)
class Ledger:
    """Rows of every rank.

    ``fate`` is ``inferred`` or what it was dropped as, ``reason`` more about that. Times are seconds, NaN
    where the row has none: ``published_s`` since the run's start, ``queued_s`` and ``inferred_s`` durations.
    Whole numbers are -1 where the row has none.
    """

    stream: Names
    status: Names
    fate: Names
    reason: Names
    model: Names
    rank: NDArray[np.int64]
    step: NDArray[np.int64]
    attempts: NDArray[np.int64]
    published_s: NDArray[np.float64]
    queued_s: NDArray[np.float64]
    inferred_s: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    files: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """What could not be read, one line each."""

    def __len__(self) -> int:
        return len(self.step)

    def repeated(self) -> int:
        """Rows beyond the first of their (stream, rank, step); 0 in books that are kept right.

        Those that say themselves that a step was published again are not counted.
        """
        kept = ~self.fate.where("repeated")
        stream, rank, step = self.stream.codes[kept], self.rank[kept], self.step[kept]
        order = np.lexsort((step, rank, stream))
        keys = np.stack([stream[order], rank[order], step[order]])
        return int((keys[:, 1:] == keys[:, :-1]).all(axis=0).sum())


class _Codes(dict[str, int]):
    """A number for each new text."""

    def __missing__(self, text: str) -> int:
        self[text] = code = len(self)
        return code


class LedgerReader:
    """Collects the rows of one or many ledgers, block by block."""

    def __init__(self) -> None:
        self.unreadable: dict[str, int] = {}
        """Lines by file that are no row."""
        self._codes = {name: _Codes() for name in TEXT}
        self._parts: dict[str, list[Column]] = {name: [] for name in (*TEXT, *WHOLE, *TIMES)}

    def add(self, header: Sequence[str], lines: Sequence[str], source: str) -> None:
        """Add the rows of ``lines``, whose columns are named by ``header``."""
        count = len(lines)
        try:
            columns = self._columns(_fields(header, lines), count)
        except ValueError:
            # One bad row must not cost its block.
            rows = [row for row in _rows(lines) if self._is_readable(header, row)]
            count = len(rows)
            columns = self._columns(_transposed(header, rows), count)
        for name, column in columns.items():
            self._parts[name].append(column)
        if count < len(lines):
            self.unreadable[source] = self.unreadable.get(source, 0) + len(lines) - count

    def ledger(self, files: Sequence[str] = (), problems: Sequence[str] = ()) -> Ledger:
        """What was collected."""
        notes = [f"{name}: {count} lines are no row of a ledger" for name, count in sorted(self.unreadable.items())]
        columns: dict[str, Any] = {
            name: np.concatenate([np.zeros(0, _kind(name)), *parts]) for name, parts in self._parts.items()
        }
        for name in TEXT:
            columns[name] = Names(columns[name], tuple(self._codes[name]))
        return Ledger(**columns, files=tuple(files), problems=(*problems, *notes))

    def _columns(self, given: dict[str, Sequence[str]], count: int) -> dict[str, Column]:
        nothing = ("",) * count
        columns: dict[str, Column] = {}
        for name in (*WHOLE, *TIMES):
            columns[name] = _numbers(given.get(name, nothing), _kind(name))
        given["fate"] = _fates(given["outcome"], given.get("reason", nothing))
        for name in TEXT:
            code_of = self._codes[name].__getitem__
            columns[name] = np.fromiter(map(code_of, given.get(name, nothing)), np.int32, count)
        return columns

    def _is_readable(self, header: Sequence[str], row: list[str]) -> bool:
        try:
            self._columns(_transposed(header, [row]), 1)
        except ValueError:
            return False
        return True


def read_ledger(folder: str | Path, pattern: str = PATTERN) -> Ledger:
    """The rows of every ``ledger-<rank>.csv`` in ``folder``, rank by rank; or of files of another ``pattern``."""
    reader, files, problems = LedgerReader(), [], []
    for path in sorted(Path(folder).glob(pattern), key=_rank_of):
        files.append(path.name)
        try:
            problem = _read(path, reader)
        except OSError as error:
            problem = f"it cannot be read: {error}"
        if problem:
            problems.append(f"{path.name}: {problem}")
    return reader.ledger(files, problems)


def read_header(line: str) -> list[str]:
    """The names of the columns.

    Raises
    ------
    ValueError
        If rows under this header cannot be read.
    """
    header = next(_rows([line]), [])
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise ValueError(f"its first line must name the columns {', '.join(REQUIRED)}, {', '.join(missing)} missing")
    if len(set(header)) < len(header):
        raise ValueError("its first line must name each column once")
    return header


def _read(path: Path, reader: LedgerReader) -> str | None:
    """Read one file; what is wrong with it, or None."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        first = file.readline()
        if not first.endswith("\n"):
            return "it has no header"
        try:
            header = read_header(first)
        except ValueError as error:
            return str(error)
        while lines := file.readlines(_BLOCK_BYTES):
            cut = not lines[-1].endswith("\n")
            reader.add(header, lines[:-1] if cut else lines, path.name)
            if cut:
                return "its last line is cut off"
    return None


def _fields(header: Sequence[str], lines: Sequence[str]) -> dict[str, Sequence[str]]:
    """Columns of ``lines`` by name; ``ValueError`` where a line is not as wide as the header."""
    width = len(header)
    text = "".join(lines)
    if '"' in text or "\r" in text:
        return _transposed(header, list(_rows(lines)))
    if {line.count(",") for line in lines} - {width - 1}:
        raise ValueError("each line must be as wide as the header")
    # Without quotes a row is its commas: several times faster than a list for each row.
    fields = text.replace("\n", ",").split(",")[: width * len(lines)]
    return {name: fields[place::width] for place, name in enumerate(header)}


def _transposed(header: Sequence[str], rows: list[list[str]]) -> dict[str, Sequence[str]]:
    if any(len(row) != len(header) for row in rows):
        raise ValueError("each row must be as wide as the header")
    columns: Iterable[Sequence[str]] = zip(*rows, strict=True) if rows else [()] * len(header)
    return dict(zip(header, columns, strict=True))


def _rows(lines: Sequence[str]) -> Iterator[list[str]]:
    rows = csv.reader(lines)
    while True:
        try:
            yield from rows
            return
        except csv.Error:  # a field beyond any length: what follows may be a row again
            continue


def _kind(name: str) -> type[np.int32 | np.int64 | np.float64]:
    return np.int32 if name in TEXT else np.int64 if name in WHOLE else np.float64


def _numbers(texts: Sequence[str], kind: type[np.int32 | np.int64 | np.float64]) -> Column:
    try:
        if kind is np.float64:
            return np.array([float(text) if text else math.nan for text in texts], np.float64)
        return np.array([int(text) if text else _ABSENT for text in texts], np.int64)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _fates(outcomes: Sequence[str], reasons: Sequence[str]) -> Sequence[str]:
    """``inferred`` or the reason: named by the outcome itself, or beside an outcome that only says ``dropped``."""
    if not {"", "dropped"} & set(outcomes):
        return outcomes
    return [
        reason or outcome or "?" if outcome in ("", "dropped") else outcome
        for outcome, reason in zip(outcomes, reasons, strict=True)
    ]


def _rank_of(path: Path) -> tuple[int, str]:
    number = path.stem.rpartition("-")[2]
    return (int(number) if number.isdecimal() else -1, path.name)
