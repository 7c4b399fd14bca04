"""Frames that lie in the log and are to be answered here: from a migration's cut on, until the ring has them."""

from collections.abc import Callable, Mapping

from inference_insitu.inference.elsewhere import Route
from inference_insitu.transit.account import Account, Key
from inference_insitu.transit.log.codec import decoded
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.records import Answer, FrameRecord, PoisonedRecordError
from inference_insitu.transit.log.stream_log import StreamLog, Topic
from inference_insitu.transit.migration.local import Local
from inference_insitu.transit.migration.marking import Marking
from inference_insitu.transit.operators.answering import Turn, answers_to

_AT_A_TIME = 16


class CatchingUp:
    """Answers here what lies in the topics of ``marking`` and nobody has answered.

    New frames are appended too, until all that lay there at the beginning is answered; from then on they wait in their
    ring. So a worker that is slower than the simulation catches up, and the stream's policy holds again.

    Parameters
    ----------
    after : where reading begins: offsets by topic, of the migration's marks or before.
    account : of what was answered, here or by the engine.
    take : what is done with an answer.
    """

    def __init__(
        self,
        log: StreamLog,
        marking: Marking,
        store: PayloadStore,
        local: Local,
        after: Mapping[Topic, int],
        *,
        account: Account,
        take: Callable[[Answer], None],
    ) -> None:
        self._log, self._marking, self._store, self._local = log, marking, store, local
        self._account, self._take = account, take
        self._read = dict(after)
        self._goal = {topic: log.standing(topic).last for topic in after}
        self.frames = 0
        """How many were answered here."""

    def route(self, key: Key) -> Route:
        """Where a new frame of ``key`` goes."""
        topic = self._marking.topic(key)
        return Route.AWAY if self._read[topic] < self._goal[topic] else Route.WAIT

    def advance(self) -> bool:
        """Answer some; whether none is left."""
        found = False
        for topic in self._read:
            stored = self._log.read(topic, after=self._read[topic], count=_AT_A_TIME)
            found |= bool(stored)
            for one in stored:
                try:
                    record = decoded(one)
                except PoisonedRecordError:  # told by the engine, which reads it too
                    record = None
                if isinstance(record, FrameRecord):
                    self._answer(one.offset, record)
                self._read[topic] = one.offset
        return not found

    def _answer(self, offset: int, record: FrameRecord) -> None:
        key = record.stream, record.rank
        if key not in self._marking.keys or record.step <= max(
            self._account.settled(key), self._local.last_answered(key)
        ):
            return
        name = self._marking.keys[key].analysis
        for answer in answers_to(name, self._local.analysis(name), [Turn(offset, record)], self._store):
            self.frames += 1
            self._take(answer)
