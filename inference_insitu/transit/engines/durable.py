"""What an engine's program does beside its job: commits what checkpoints hold, retires records, keeps the table."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.engines.partition import READER, SEEN
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.retention import pass_over, retire
from inference_insitu.transit.log.stream_log import ANSWERS, StreamLog, Topic
from inference_insitu.transit.results.answer_rows import FOLDER, AnswerRows
from inference_insitu.transit.results.answer_rows import READER as VIEWS_READER
from inference_insitu.transit.results.results_table import ResultsTable

TABLE = "table"
TABLE_PAUSE_S = 1.0
"""Between files of the table: answers of so long go into one."""
ROWS_PAUSE_S = 0.5
"""The same for the files that views read."""
KEPT_ANSWERS = 10_000
"""That stay in the log though everybody has read them, for whoever comes late."""


class Durable:
    """Looks after the topics of ``job``.

    Parameters
    ----------
    checkpoints : number of checkpoints that the engine has completed so far, each begun after the one before ended.
    """

    def __init__(self, job: TransitJob, log: StreamLog, store: PayloadStore, checkpoints: Callable[[], int]) -> None:
        self._job, self._log, self._store, self._checkpoints = job, log, store, checkpoints
        self._topics, self._answers = job.topics(), Topic(job.run, ANSWERS)
        self._table = ResultsTable(Path(job.folder) / TABLE, log, job.run, job.conditions)
        self._rows = AnswerRows(Path(job.folder) / FOLDER, log, job.run, job.conditions) if job.views else None
        if self._rows is None:  # an earlier life of the job may have had views: nothing is kept for them any more
            log.forget(self._answers, VIEWS_READER)
        self._table_s = self._rows_s = 0.0
        self._held: tuple[int, Mapping[Topic, int]] | None = None

    def look(self) -> None:
        """Do what is due.

        Raises
        ------
        LogAway
            If the broker is away.
        """
        self._commit()
        if time.monotonic() - self._table_s >= TABLE_PAUSE_S:
            self._table_s = time.monotonic()
            self._table.advance()
        if self._rows is not None and time.monotonic() - self._rows_s >= ROWS_PAUSE_S:
            self._rows_s = time.monotonic()
            self._rows.advance()

    def finish(self, *, holds_all: bool = True) -> None:
        """The engine has stopped, and ``holds_all`` that was seen or not; the table takes all answers."""
        if holds_all:
            self._settle(self.seen())
        while self._table.advance():
            pass
        while self._rows is not None and self._rows.advance():
            pass

    def seen(self) -> dict[Topic, int]:
        """What operators' snapshots hold, by topic."""
        return {topic: self._log.committed(topic).get(SEEN, 0) for topic in self._topics}

    def _commit(self) -> None:
        """What was seen before a checkpoint began is safe once that is complete.

        Of the checkpoints that complete from now on the first may have begun before; the second has not.
        """
        now = self._checkpoints()
        if self._held is None:
            self._held = now + 2, self.seen()
        elif now >= self._held[0]:
            self._settle(self._held[1])
            self._held = None

    def _settle(self, seen: Mapping[Topic, int]) -> None:
        for topic, offset in seen.items():
            if offset > self._log.committed(topic).get(READER, 0):
                self._log.commit(topic, READER, offset)
                pass_over(self._log, topic)
                retire(self._log, topic, self._store, keep=self._job.keep_records)
        retire(self._log, self._answers, self._store, keep=max(self._job.keep_records, KEPT_ANSWERS))
