"""The books of a simulation rank that died: closed by the worker that outlived it."""

from pathlib import Path

from inference_insitu.books.ledger import Ledger, Settled
from inference_insitu.books.outcomes import INFERRED, OUTCOMES
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Row, Side, State, Word
from inference_insitu.watching.events import EventLog


def settle_estate(consumer: Consumer, output: Path, events: EventLog) -> None:
    """Write the rows that the dead producer of ``consumer``'s ring could not, and remove the ring.

    Frames that it had settled before and not yet written are missing; the event says how many it published in all.
    Nothing happens where the producer lives or has closed its books itself.
    """
    region, words = consumer.region, consumer.region.words
    if consumer.producer_lives or consumer.producer_state is Side.CLOSED:
        return
    ledger = Ledger.continued(output, consumer.rank, origin_ns=words[Word.ORIGIN_NS])
    rows = 0
    for slot in region.slots:
        base = slot.base
        state = words[base + Row.STATE]
        if state in (State.FREE, State.WRITING):
            continue
        published, taken, done = (words[base + row] for row in (Row.PUBLISHED_NS, Row.TAKEN_NS, Row.DONE_NS))
        settled = Settled("undelivered" if state == State.READY else "unanswered")
        if state == State.DONE:
            outcome = OUTCOMES[words[base + Row.OUTCOME]]
            settled = Settled(
                outcome,
                slot.detail() if outcome != INFERRED else "",
                (taken - published) * 1e-9,
                (done - taken) * 1e-9,
                (done - published) * 1e-9 if outcome == INFERRED else None,
                words[base + Row.ATTEMPTS] + 1,
                region.model if outcome == INFERRED else "",
            )
        ledger.accept(slot.place.stream, words[base + Row.STEP], published)
        ledger.settle(slot.place.stream, words[base + Row.STEP], settled)
        words[base + Row.STATE] = State.FREE
        rows += 1
    ledger.close()
    region.unlink()
    events.log("simulation_died", rank=consumer.rank, published=words[Word.PUBLISHED], rows=rows)
