"""The books of a simulation rank that died: closed by the worker that outlived it."""

from pathlib import Path

from inference_insitu.books.ledger import Ledger, Settled
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Row, Side, State, Word
from inference_insitu.ring.producer import ended
from inference_insitu.watching.events import EventLog


def settle_estate(consumer: Consumer, output: Path, events: EventLog) -> None:
    """Write the rows that the dead producer of ``consumer``'s ring could not, and remove the ring.

    A frame whose publication had not returned when it died is in the books if it can be: if it is in the ring.
    Nothing happens where the producer lives or has closed its books itself.
    """
    region, words = consumer.region, consumer.region.words
    if consumer.producer_lives or consumer.producer_state is Side.CLOSED:
        return
    if words[Word.RELAYED]:  # the keeper died: the simulation rank, elsewhere, keeps these books itself
        region.unlink()
        return
    try:
        rows = _end_books(consumer, output)
    except OSError as error:
        events.log("estate_unwritten", rank=consumer.rank, published=words[Word.PUBLISHED], error=str(error))
    else:
        events.log("simulation_died", rank=consumer.rank, published=words[Word.PUBLISHED], rows=rows)
    region.unlink()


def _end_books(consumer: Consumer, output: Path) -> int:
    """Add what is missing in the ledger; how many rows it has then."""
    region, words = consumer.region, consumer.region.words
    ledger, known = Ledger.continued(output, consumer.rank, origin_ns=words[Word.ORIGIN_NS], journal=region.journal)
    for slot in region.slots:
        base = slot.base
        state = words[base + Row.STATE]
        key = slot.place.stream, words[base + Row.STEP]
        if state in (State.FREE, State.WRITING) or key in known:
            continue
        known.add(key)
        if state == State.DONE:
            settled = ended(region, slot)
        else:
            settled = Settled("unanswered" if state == State.TAKEN else "undelivered")
        ledger.accept(*key, words[base + Row.PUBLISHED_NS])
        ledger.settle(*key, settled)
        words[base + Row.STATE] = State.FREE
    ledger.close()
    return len(known)
