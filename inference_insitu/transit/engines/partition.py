"""One partition's way through an engine's process, whatever the engine: read, answer, append, say up to where."""

import sys
import time
from pathlib import Path
from urllib.parse import quote

from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.engines.under_way import UnderWay
from inference_insitu.transit.log.codec import encoded
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.records import Quarantined, Reply
from inference_insitu.transit.log.stream_log import ANSWERS, QUARANTINE, LogFull, Stored, StreamLog, Topic
from inference_insitu.transit.operators.analyses import Analyses
from inference_insitu.transit.operators.operator import Given, Operator

READER = "engine"
"""Has committed what a completed checkpoint of the engine holds."""
SEEN = "engine.seen"
"""Has committed what an operator's snapshot holds, which the next checkpoint will."""
MOST_RECORDS = 64
FULL_PAUSE_S, FULL_TIMEOUT_S = 0.05, 60.0
"""Between tries to append to a full log, and how long they go on before the engine fails: a checkpoint waits."""
SNAPSHOT_SHARE = 10
"""A snapshot is not taken before so many times the time that the last one took."""


class Partition:
    """Reads ``topic`` with an operator that goes on from ``snapshot``.

    Raises
    ------
    StateRefusedError, ValueError, RunError
        As ``Operator``.
    """

    def __init__(
        self,
        job: TransitJob,
        topic: Topic,
        log: StreamLog,
        analyses: Analyses,
        store: PayloadStore,
        snapshot: bytes = b"",
    ) -> None:
        self.topic = topic
        self._log, self._store, self._pace_s = log, store, job.snapshot_s
        self._answers, self._quarantine = Topic(job.run, ANSWERS), Topic(job.run, QUARANTINE)
        self._under_way = UnderWay(Path(job.folder) / "under_way" / quote(topic.name, safe=""))
        self._attempts = dict(self._under_way.attempts)
        self._operator = Operator(topic, analyses, store, snapshot, self._attempts)
        self._snapshot_offset, self._snapshot_s, self._cost_s = self._operator.read_offset, 0.0, 0.0
        for reader in (READER, SEEN):
            log.register(topic, reader)

    @property
    def offset(self) -> int:
        """Of the last record that was dealt with."""
        return self._operator.read_offset

    def advance(self, wait_s: float = 0.0, *, through: int | None = None) -> int:
        """Deal with the next records, none behind ``through``; how many there were.

        Raises
        ------
        LogAway, LogFull
            If the broker is away, or full, for too long.
        """
        count = MOST_RECORDS if through is None else min(MOST_RECORDS, through - self.offset)
        if count <= 0:
            return 0
        records = self._log.read(self.topic, after=self.offset, count=count, wait_s=wait_s)
        if any(one.offset in self._attempts for one in records):
            for one in records:  # what a process died with is alone in hand
                self._deal([one])
        elif records:
            self._deal(records)
        return len(records)

    @property
    def snapshot_due(self) -> bool:
        """Whether there is something new, and the last snapshot is long enough ago for what one takes.

        Not while frames wait for a migration's end: they would wait for the snapshot of a large state too, and whoever
        goes on from the one before meets the marks again.
        """
        if self._operator.waits:
            return False
        pause_s = max(self._pace_s, SNAPSHOT_SHARE * self._cost_s)
        return self.offset > self._snapshot_offset and time.monotonic() - self._snapshot_s >= pause_s

    def snapshot(self) -> bytes:
        """For the engine to keep: goes on from here."""
        started = time.monotonic()
        taken = self._operator.snapshot()
        self._snapshot_s = time.monotonic()
        self._snapshot_offset, self._cost_s = self.offset, self._snapshot_s - started
        return taken

    def kept(self) -> None:
        """The engine has the last snapshot, and will have it in its next checkpoint."""
        self._log.commit(self.topic, SEEN, self._operator.offset)

    def _deal(self, records: list[Stored]) -> None:
        self._under_way.take(records[0].offset, records[-1].offset)
        self._append(self._operator.take(records))
        self._under_way.take(0, 0)

    def _append(self, given: list[Given]) -> None:
        self._insist(self._answers, [one for one in given if not isinstance(one, Quarantined)])
        self._insist(self._quarantine, [one for one in given if isinstance(one, Quarantined)])

    def _insist(self, topic: Topic, given: list[Given]) -> None:
        """Append; where the log is full, wait: frames then wait in theirs, and the stream's policy answers that."""
        told, end_s = False, time.monotonic() + FULL_TIMEOUT_S
        while given:
            try:
                laid = [self._store.laid_out(one) if isinstance(one, Reply) else one for one in given]
                self._log.append_all(topic, [(encoded(one), one.once) for one in laid])
                return
            except LogFull as error:
                if not told:
                    print(f"cdi: {topic.name} waits: {error}", file=sys.stderr, flush=True)
                told = True
                if time.monotonic() > end_s:
                    raise
                time.sleep(FULL_PAUSE_S)
