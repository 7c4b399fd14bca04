"""The table of results: Parquet files of a folder, each whole, one row for each (run, stream, step, rank, model).

A file ``part-<first>-<last>.parquet`` holds the answers at these offsets of the run's answers, of which the log keeps
each once. Whoever writes goes on behind the last file that is there, so that a death in between loses and repeats
nothing. Small files are joined; where a file lies within the range of another, the larger one counts (``parts``), so
that a reader who comes in the middle of that sees every row once.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdi.errors import optional_import
from cdi.whole_file import remove_leftovers, whole_file
from inference_insitu.transit.log.stream_log import ANSWERS, StreamLog, Topic
from inference_insitu.transit.results.rows import COLUMNS, INTEGER, REAL, TEXT, rows_of

READER = "table"
MOST_ROWS = 4096
"""Of a file as it is written first."""
MOST_PARTS = 16
"""Files that are there before the small ones are joined."""
JOINED_ROWS = 1 << 20

_NAME = re.compile(r"part-(\d{12})-(\d{12})\.parquet")


@dataclass(frozen=True, order=True)
class Part:
    """A file with the answers at offsets ``first`` to ``last``."""

    first: int
    last: int
    path: Path


def parts(folder: Path) -> list[Part]:
    """The files that make up the table in ``folder``, in order, none within another."""
    found = [
        Part(int(match[1]), int(match[2]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))
    ]
    chosen: list[Part] = []
    for part in sorted(found, key=lambda part: (part.first, -part.last)):
        if not chosen or part.last > chosen[-1].last:
            chosen.append(part)
    return chosen


def read_table(folder: Path) -> Any:
    """All rows as a ``pyarrow.Table``; it may be written to meanwhile."""
    arrow, parquet = _arrow(), _parquet()
    while True:
        try:
            tables = [parquet.read_table(part.path) for part in parts(folder)] if folder.is_dir() else []
        except FileNotFoundError:  # joined to a larger one just now
            continue
        return arrow.concat_tables(tables) if tables else _schema().empty_table()


class ResultsTable:
    """Keeps the table in ``folder`` up with the answers of ``run``.

    Parameters
    ----------
    conditions : material, temperature and load of the run, where its frames do not say them.
    """

    def __init__(self, folder: Path, log: StreamLog, run: str, conditions: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        self._folder, self._log, self._topic, self._conditions = folder, log, Topic(run, ANSWERS), conditions
        _arrow()
        log.register(self._topic, READER)
        there = parts(folder)
        self._offset = there[-1].last if there else 0

    def advance(self) -> int:
        """Add the answers that are new; how many records were read. Commits what is in files."""
        records = self._log.read(self._topic, after=self._offset, count=MOST_ROWS)
        if not records:
            return 0
        rows = rows_of(records, self._conditions)
        self._write(self._offset + 1, records[-1].offset, _arrow().Table.from_pylist(rows, schema=_schema()))
        self._offset = records[-1].offset
        self._log.commit(self._topic, READER, self._offset)
        self._join()
        return len(records)

    def _write(self, first: int, last: int, table: Any) -> None:
        name = f"part-{first:012d}-{last:012d}.parquet"
        with whole_file(self._folder / name) as file:  # on the disk before the log may forget its answers
            _parquet().write_table(table, file, compression="zstd")

    def _join(self) -> None:
        """Make one file of a row of small ones, where there are many."""
        there = parts(self._folder)
        if len(there) <= MOST_PARTS:
            return
        small: list[Part] = []
        for part in reversed(there):  # the newest are the small ones
            if _span([*small, part]) > JOINED_ROWS:
                break
            small.append(part)
        small.reverse()
        if len(small) < 2:
            return
        tables = [_parquet().read_table(part.path) for part in small]
        self._write(small[0].first, small[-1].last, _arrow().concat_tables(tables))
        for part in small:
            part.path.unlink()


def _span(some: Iterable[Part]) -> int:
    return sum(part.last - part.first + 1 for part in some)


def _arrow() -> Any:
    return optional_import("pyarrow", group="transit", purpose="the table of results")


def _parquet() -> Any:
    return optional_import("pyarrow.parquet", group="transit", purpose="the table of results")


def _schema() -> Any:
    arrow = _arrow()
    kinds = {INTEGER: arrow.int64(), REAL: arrow.float64(), TEXT: arrow.string()}
    return arrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
