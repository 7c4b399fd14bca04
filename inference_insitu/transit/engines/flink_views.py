"""Views on Flink: SQL over the files of answers as they appear, beside the job that answers.

History is asked in a batch job of its own first, so that no answer is compared with half of it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyflink.common import RowKind, Types
from pyflink.datastream import FlatMapFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.table import EnvironmentSettings, StreamTableEnvironment, TableEnvironment

from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.results import answer_rows
from inference_insitu.transit.results.history import history_rows
from inference_insitu.transit.results.rows import COLUMNS, INTEGER, REAL, TEXT
from inference_insitu.transit.results.views import HISTORY, View, ViewRows, read_views

LOOK_MS = 500
_TYPES = {INTEGER: "BIGINT", REAL: "DOUBLE", TEXT: "STRING"}
_PLAIN = {"VARCHAR": "STRING", "CHAR": "STRING", "DECIMAL": "DOUBLE"}
"""Types that PyFlink names without their length."""
_FOLDER = "history"


def add_views(environment: StreamExecutionEnvironment, job: TransitJob) -> None:
    """Let ``environment`` run the job's views too."""
    views = read_views(job.views)
    folder = Path(job.folder).resolve()
    (folder / answer_rows.FOLDER).mkdir(parents=True, exist_ok=True)
    tables = _history_tables(job, [view for view in views if view.kind == HISTORY])
    streaming = StreamTableEnvironment.create(environment)
    streaming.execute_sql(_table("answers", folder / answer_rows.FOLDER, watched=True))
    for definition in tables:
        streaming.execute_sql(definition)
    for view in views:
        if view.kind == HISTORY:
            continue
        found = streaming.sql_query(view.sql)
        streaming.create_temporary_view(view.name, found)
        names = found.get_schema().get_field_names()
        changes = streaming.to_changelog_stream(found)
        changes.flat_map(TakeRow(str(job.path), view.name, tuple(names)), Types.INT()).print()


def _history_tables(job: TransitJob, views: Sequence[View]) -> list[str]:
    """Ask ``views`` of the earlier runs; the definitions of the tables with their rows."""
    if not views:
        return []
    folder = Path(job.folder).resolve() / _FOLDER
    rows = folder / "rows"
    rows.mkdir(parents=True, exist_ok=True)
    with (rows / "history.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in history_rows(job.history))
    batch = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    batch.execute_sql(_table("history", rows))
    definitions = []
    for view in views:
        found = batch.sql_query(view.sql)
        batch.create_temporary_view(view.name, found)
        schema = found.get_schema()
        kept = folder / view.name
        kept.mkdir(exist_ok=True)
        with found.execute().collect() as results, (kept / "rows.jsonl").open("w") as file:
            for row in results:
                values = dict(zip(schema.get_field_names(), row, strict=True))
                file.write(json.dumps(values, default=str) + "\n")
        types = [_PLAIN.get(str(kind), str(kind)) for kind in schema.get_field_data_types()]
        definitions.append(_defined(view.name, dict(zip(schema.get_field_names(), types, strict=True)), kept))
    return definitions


def _table(name: str, folder: Path, *, watched: bool = False) -> str:
    return _defined(name, {column: _TYPES[kind] for column, kind in COLUMNS.items()}, folder, watched=watched)


def _defined(name: str, columns: Mapping[str, str], folder: Path, *, watched: bool = False) -> str:
    told = {"connector": "filesystem", "path": folder.as_uri(), "format": "json"}
    if watched:
        told["source.monitor-interval"] = f"{LOOK_MS} ms"
    fields = ", ".join(f"`{column}` {kind}" for column, kind in columns.items())
    options = ", ".join(f"'{key}' = '{value}'" for key, value in told.items())
    return f"CREATE TEMPORARY TABLE `{name}` ({fields}) WITH ({options})"


class TakeRow(FlatMapFunction):
    """Takes each new row of a view to where it belongs."""

    def __init__(self, job: str, view: str, names: tuple[str, ...]) -> None:
        self._path, self._name, self._names = job, view, names

    def open(self, context: RuntimeContext) -> None:
        """Connect."""
        job = TransitJob.read(Path(self._path))
        view = next(view for view in read_views(job.views) if view.name == self._name)
        self._rows = ViewRows(view, Path(job.folder), job.open_log())

    def flat_map(self, value: Any) -> Iterator[int]:
        """A row that is new, or stands for one that was told before; nothing goes on from here."""
        if value.get_row_kind() in (RowKind.INSERT, RowKind.UPDATE_AFTER):
            self._rows.take([dict(zip(self._names, value, strict=True))])
        return iter(())
