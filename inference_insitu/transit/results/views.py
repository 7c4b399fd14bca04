"""Views over the answers as SQL files, which the engine runs and a scientist changes. Free of engines.

A file holds one SELECT. Its name without number and suffix (``20_over_time.sql``: ``over_time``) is that of the view,
which later files may ask, in the order of names. Its first line says what becomes of the rows:

``-- kind: history``  asked once at the start, of the table ``history`` (earlier runs); a table for the others
``-- kind: rows``     asked of ``answers`` while the run lasts; rows go to ``views/<name>.jsonl`` in the job's folder
``-- kind: alerts``   the same, and rows, which have ``run``, ``stream``, ``rank`` and ``step``, go to the log's alerts

Columns of ``answers`` and ``history`` are those of ``rows.COLUMNS``.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdi.requirements import require
from inference_insitu.transit.log.codec import encoded
from inference_insitu.transit.log.records import Alert
from inference_insitu.transit.log.stream_log import ALERTS, StreamLog, Topic

HISTORY, ROWS, TO_ALERTS = "history", "rows", "alerts"
KINDS = (HISTORY, ROWS, TO_ALERTS)
FOLDER = "views"
SHIPPED = Path(__file__).with_name("views")
MOST_BYTES = 1 << 16

_NAME = re.compile(r"(?:\d+_)?([a-z][a-z0-9_]{0,60})\.sql")
_KIND = re.compile(rf"--\s*kind:\s*({'|'.join(KINDS)})\s*")
_TABLES = ("answers", "history")


@dataclass(frozen=True)
class View:
    """The query ``sql`` as the table ``name``; ``kind`` is what becomes of its rows."""

    name: str
    kind: str
    sql: str


def shipped_views() -> tuple[str, ...]:
    """Paths of the views that come with the program."""
    return tuple(str(path) for path in sorted(SHIPPED.glob("*.sql")))


def read_views(paths: Sequence[str]) -> list[View]:
    """The views in ``paths``, in the order of their file names.

    Raises
    ------
    ValueError
        If a file is no view, or two have one name.
    OSError
        If one cannot be read.
    """
    views = [_read(path) for path in sorted(map(Path, paths), key=lambda path: path.name)]
    names = [view.name for view in views]
    for name in names:
        require(names.count(name) == 1, "views", "have names of their own", name)
    return views


def _read(path: Path) -> View:
    name = _matched(_NAME, path.name, "a view's file", "be called like 20_over_time.sql")
    require(name not in _TABLES, "a view's name", "not be that of a table", name)
    text = path.read_text()
    require(len(text) <= MOST_BYTES, str(path), f"have at most {MOST_BYTES} bytes", len(text))
    first, _, sql = text.strip().partition("\n")
    kind = _matched(_KIND, first, f"the first line of {path}", f"be -- kind: {' | '.join(KINDS)}")
    sql = sql.strip().rstrip(";").strip()
    lines = [line for line in sql.splitlines() if line.strip() and not line.strip().startswith("--")]
    told = lines[0].split()[0].upper() if lines else ""
    require(told in ("SELECT", "WITH") and ";" not in "".join(lines), str(path), "hold one SELECT", sql[:80])
    return View(name, kind, sql)


def _matched(pattern: "re.Pattern[str]", text: str, name: str, must: str) -> str:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError(f"{name} must {must}, got {text[:80]!r}")
    return found[1]


class ViewRows:
    """Takes the rows of ``view`` to where they belong. Of a row that was told before, the last one counts."""

    def __init__(self, view: View, folder: Path, log: StreamLog) -> None:
        self._view, self._log = view, log
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        self._path = folder / FOLDER / f"{view.name}.jsonl"

    def take(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append ``rows``.

        Raises
        ------
        ValueError
            If the rows of an alert have not run, stream, rank and step.
        """
        with self._path.open("a") as file:
            file.writelines(json.dumps(dict(row), default=str) + "\n" for row in rows)
        if self._view.kind == TO_ALERTS:
            for row in rows:
                alert = alert_of(self._view.name, row)
                self._log.append(Topic(alert.run, ALERTS), encoded(alert), once=alert.once)


def alert_of(view: str, row: Mapping[str, Any]) -> Alert:
    """The row of a view as an alert.

    Raises
    ------
    ValueError
        If it has not run, stream, rank and step.
    """
    try:
        key = str(row["run"]), str(row["stream"]), int(row["rank"]), int(row["step"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"rows of {view} must have run, stream, rank and step, got {', '.join(row)}") from error
    values = {name: value for name, value in row.items() if name not in ("run", "stream", "rank", "step")}
    return Alert(*key, view, values)
