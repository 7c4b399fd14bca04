"""The heart of in-transit processing, whatever the engine: records of one partition in, answers and a new state out.

Free of processes, brokers and engines. An operator is given the records of its topic in order and gives what is to be
appended to the run's answers. Its snapshot (offset, lanes, the state of every rank's analysis) is bytes; an operator
made of one takes the records behind its offset again and gives the same answers, of which the log keeps each once.

Control marks lie between the frames (``records.Control``), so that what they say holds from their place on, for whoever
reads the topic and however often.
"""

import sys
from collections.abc import Mapping, Sequence

from cdi.errors import RunError
from inference_insitu.transit.log.codec import decoded
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.records import (
    REFUSED,
    Answer,
    Control,
    FrameRecord,
    PoisonedRecordError,
    Quarantined,
    Reply,
)
from inference_insitu.transit.log.stream_log import Stored, Topic
from inference_insitu.transit.operators.analyses import Analyses
from inference_insitu.transit.operators.answering import Turn, answers_to
from inference_insitu.transit.operators.lane import Lane, Phase
from inference_insitu.transit.operators.marks import Marks
from inference_insitu.transit.operators.operator_state import StateRefusedError
from inference_insitu.transit.operators.snapshot import Snapshot

MOST_WAITING_BYTES = 1 << 30
"""Of the frames of a lane that wait in memory for a migration's end."""

Given = Answer | Reply | Quarantined


class Operator:
    """Answers the frames of ``topic``.

    Parameters
    ----------
    topic : a topic of frames.
    analyses : shared by the operators of a process.
    store : where large payloads lie.
    snapshot : of an operator of the same topic; b"" begins at the topic's beginning.
    attempts : how often an engine died with the frame at an offset.

    Raises
    ------
    StateRefusedError
        If the snapshot does not fit.
    ValueError, RunError
        If the stream's analysis cannot be had.
    """

    def __init__(
        self,
        topic: Topic,
        analyses: Analyses,
        store: PayloadStore,
        snapshot: bytes | memoryview = b"",
        attempts: Mapping[int, int] | None = None,
    ) -> None:
        self.topic = topic
        self._analyses, self._store = analyses, store
        self._marks = Marks(topic.stream, analyses, store)
        self._default = analyses.of_stream(topic.stream)
        analyses.get(self._default)
        self._lanes: dict[int, Lane] = {}
        self._attempts = dict(attempts or {})
        self._read = 0
        self._batch: list[Turn] = []
        self._given: list[Given] = []
        if snapshot:
            self._restore(Snapshot.decode(snapshot))

    @property
    def read_offset(self) -> int:
        """Of the last record that was taken: give those behind it next."""
        return self._read

    @property
    def offset(self) -> int:
        """Of the last record that nobody needs any more who goes on from a snapshot taken now."""
        return min([self._read, *(lane.waiting[0][0] - 1 for lane in self._lanes.values() if lane.waiting)])

    @property
    def waits(self) -> bool:
        """Whether a rank's frames wait for the end of a migration."""
        return any(lane.phase is Phase.WAITING for lane in self._lanes.values())

    def take(self, records: Sequence[Stored]) -> list[Given]:
        """Deal with ``records``, the next ones of the topic; what is to be appended to the answers, in order."""
        self._given = []
        for stored in records:
            if stored.offset > self._read:
                self._take(stored)
                self._read = stored.offset
        self._answer()
        return self._given

    def snapshot(self) -> bytes:
        """Offset, lanes and states, from which another operator goes on."""
        lanes = [*self._lanes.values()]
        states = [self._marks.state(lane).encode() if lane.holds else b"" for lane in lanes]
        return Snapshot(self.topic.name, self.offset, tuple(zip(lanes, states, strict=True))).encode()

    def _restore(self, snapshot: Snapshot) -> None:
        if snapshot.topic != self.topic.name:
            raise StateRefusedError(f"the snapshot must be of {self.topic.name}, got one of {snapshot.topic}")
        self._read = snapshot.offset
        for lane, state in snapshot.lanes:
            self._lanes[lane.rank] = lane
            if lane.holds:
                self._marks.restore(lane, state)

        self._keep_versions()

    def _keep_versions(self) -> None:
        """Later versions that no lane needs any more are closed; one that cannot be is no reason to stop."""
        try:
            self._analyses.keep(self.topic, {key for lane in self._lanes.values() for key in lane.needs})
        except RunError as error:
            print(f"cdi: {self.topic.name}: {error}", file=sys.stderr, flush=True)

    def _take(self, stored: Stored) -> None:
        try:
            record = decoded(stored)
            if not isinstance(record, FrameRecord | Control):
                raise PoisonedRecordError(f"frames and marks must lie here, got a record of kind {record.kind}")
            if (record.run, record.stream) != (self.topic.run, self.topic.stream):
                raise PoisonedRecordError(
                    f"records of {self.topic.name} must lie here, got {record.run}/{record.stream}"
                )
        except PoisonedRecordError as error:
            self._set_aside(stored.offset, str(error))
            return
        lane = self._lane(record.rank)
        if stored.offset <= lane.offset:  # dealt with before the snapshot; what waited then was behind it
            return
        if isinstance(record, FrameRecord):
            self._take_frame(lane, stored.offset, record)
        else:
            self._take_mark(lane, stored.offset, record)

    def _lane(self, rank: int) -> Lane:
        if rank not in self._lanes:
            self._lanes[rank] = Lane(rank, self._default)
            # The partition may have been in this process before: what is kept of that is not this lane's.
            self._marks.restore(self._lanes[rank], b"")
        return self._lanes[rank]

    def _take_frame(self, lane: Lane, offset: int, record: FrameRecord) -> None:
        if lane.phase is Phase.WAITING:
            self._let_wait(lane, offset, record)
            return
        lane.offset = offset
        if lane.phase is Phase.AWAY:
            self._set_aside(offset, f"step {record.step} of rank {record.rank} must be answered elsewhere")
        elif record.step > lane.step:  # else it is there twice
            lane.step, lane.dtype, lane.shape = record.step, record.dtype, record.shape
            self._join(lane, Turn(offset, record, self._attempts.pop(offset, 0)))

    def _join(self, lane: Lane, turn: Turn) -> None:
        """Let the frame be answered with those before it, where they go together."""
        if self._batch:
            first, size = self._batch[0], self._analyses.config.analyses[lane.analysis].batch.size
            alone = turn.attempts or first.attempts  # it may be what killed the engine
            same = first.bucket == turn.bucket and self._answers(first) == (lane.analysis, lane.version)
            if alone or not same or len(self._batch) >= size:
                self._answer()
        self._batch.append(turn)

    def _let_wait(self, lane: Lane, offset: int, record: FrameRecord) -> None:
        if lane.waiting and offset <= lane.waiting[-1][0]:
            return
        lane.waiting.append((offset, record))
        if lane.waiting_bytes > MOST_WAITING_BYTES:
            if lane.holds and lane.prepared is not None:  # nobody else would answer: the old version goes on
                lane.phase, lane.prepared = Phase.ANSWERING, None
                self._take_waiting(lane)
                return
            lane.leave()
            lane.offset = offset
            why = f"more than {MOST_WAITING_BYTES} bytes wait for a migration to end"
            self._given.append(Reply(record.run, record.stream, record.rank, "", REFUSED, offset, why, lane.step))

    def _take_mark(self, lane: Lane, offset: int, mark: Control) -> None:
        self._answer()  # a mark holds behind what lies before it
        self._given.append(self._marks.obey(lane, offset, mark))
        self._keep_versions()
        if lane.phase is Phase.WAITING and lane.waiting:
            return  # they are read again by whoever goes on from a snapshot, and so is the mark
        self._take_waiting(lane)
        lane.offset = offset

    def _take_waiting(self, lane: Lane) -> None:
        waiting, lane.waiting = lane.waiting, []
        for place, record in waiting:
            self._take_frame(lane, place, record)
        self._answer()

    def _answer(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            name, version = self._answers(batch[0])
            self._given += answers_to(name, self._analyses.get(name, version), batch, self._store)

    def _answers(self, turn: Turn) -> tuple[str, int]:
        lane = self._lanes[turn.record.rank]
        return lane.analysis, lane.version

    def _set_aside(self, offset: int, why: str) -> None:
        self._given.append(Quarantined(self.topic.run, self.topic.name, offset, " ".join(why.split())[:1000]))
