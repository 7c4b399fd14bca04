"""What the stream engine says of one worker's frames: answers, replies to marks, alerts of its views."""

import time
from collections.abc import Callable

from inference_insitu.transit.account import Account
from inference_insitu.transit.log.codec import decoded, decoded_as
from inference_insitu.transit.log.records import Alert, Answer, PoisonedRecordError, Reply
from inference_insitu.transit.log.stream_log import ALERTS, ANSWERS, StreamLog, Topic
from inference_insitu.transit.migration.marking import Marking
from inference_insitu.watching.events import EventLog

_AT_A_TIME = 256


class FromEngine:
    """Reads the run's answers and alerts as ``reader``, for the keys of ``marking``.

    Parameters
    ----------
    account : of the frames that were handed over.
    take : keeps an answer, and gives it back as it is to stand in the account.
    heed : what is done with an alert.
    """

    def __init__(
        self,
        log: StreamLog,
        reader: str,
        marking: Marking,
        account: Account,
        take: Callable[[Answer], Answer],
        heed: Callable[[Alert], None],
        events: EventLog,
    ) -> None:
        self._log, self._reader, self._marking, self._account = log, reader, marking, account
        self._take, self._heed, self._events = take, heed, events
        self._answers, self._alerts = Topic(marking.run, ANSWERS), Topic(marking.run, ALERTS)
        log.register(self._answers, reader)
        self._answers_read = log.committed(self._answers).get(reader, 0)
        self._alerts_read = log.standing(self._alerts).last  # earlier ones are of the past

    def poll(self) -> bool:
        """Take in what is new; whether there was an answer or a reply."""
        found = self._log.read(self._answers, after=self._answers_read, count=_AT_A_TIME)
        for stored in found:
            try:
                record = decoded(stored)
            except PoisonedRecordError as error:
                self._events.log("damaged_answer", offset=stored.offset, error=str(error))
                record = None
            if isinstance(record, Answer):
                self.keep(record)
            elif isinstance(record, Reply):
                self._marking.take(record)
            self._answers_read = stored.offset
        self._take_alerts()
        return bool(found)

    def keep(self, answer: Answer) -> None:
        """Take ``answer`` in, whoever gave it, unless its frame has one."""
        key = answer.stream, answer.rank
        if key in self._marking.keys and answer.step > self._account.settled(key):
            self._account.settle(self._take(answer), time.monotonic_ns())

    def commit(self) -> None:
        """What was read will not be asked for again."""
        self._log.commit(self._answers, self._reader, self._answers_read)

    def _take_alerts(self) -> None:
        for stored in self._log.read(self._alerts, after=self._alerts_read, count=_AT_A_TIME):
            self._alerts_read = stored.offset
            try:
                alert = decoded_as(Alert, stored)
            except PoisonedRecordError as error:
                self._events.log("damaged_alert", offset=stored.offset, error=str(error))
                continue
            if (alert.stream, alert.rank) in self._marking.keys:
                self._heed(alert)
