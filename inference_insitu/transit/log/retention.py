"""Removing what every reader has committed: records, and the payload files that they alone speak of."""

from contextlib import suppress

from inference_insitu.transit.log.codec import descriptor_of
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.records import PoisonedRecordError
from inference_insitu.transit.log.stream_log import StreamLog, Topic

LEARNER = "learner"
"""Reads frames beside the engine, to learn from them, and can do without some."""
MOST_BEHIND = 256
"""Records of a topic that are kept for it."""
_AT_A_TIME = 256


def pass_over(log: StreamLog, topic: Topic) -> bool:
    """Wait no longer for a learner that is far behind, or dead: nothing fills the log for its sake; whether it was."""
    committed = log.committed(topic).get(LEARNER)
    if committed is None or log.standing(topic).last - committed <= MOST_BEHIND:
        return False
    log.forget(topic, LEARNER)
    return True


def retire(log: StreamLog, topic: Topic, store: PayloadStore | None = None, *, keep: int = 0) -> int:
    """Remove the records of ``topic`` that every reader has committed, but for the last ``keep``; up to which offset.

    Files go before the records that speak of them: whatever dies in between, no file is left that nobody speaks of.
    Without a reader nothing is removed.
    """
    committed = log.committed(topic)
    if not committed:
        return 0
    standing = log.standing(topic)
    through = min(*committed.values(), standing.last - keep)
    after = standing.first - 1
    if through <= after:
        return max(after, 0)
    while store is not None and after < through:
        headers = log.headers(topic, after=after, through=through, count=_AT_A_TIME)
        if not headers:
            break
        for offset, header in headers:
            after = offset
            with suppress(PoisonedRecordError):  # set aside by the reader that met it
                descriptor = descriptor_of(header)
                if descriptor is not None:
                    store.remove(descriptor)
    return log.trim(topic, through=through)
