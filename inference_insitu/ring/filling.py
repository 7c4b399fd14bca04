"""Payloads that come after their publication: a GPU brings them, say, while the simulation goes on.

Frames of one stream become READY in the order of their publication: behind a slot that is being filled
the others wait, whatever filled them. A slot that is being filled is nobody's to replace.
"""

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from inference_insitu.books.ledger import Settled
from inference_insitu.ring.fence import fence
from inference_insitu.ring.layout import Kind, Row, State, Word
from inference_insitu.ring.producer import Producer, Publication, encode_attributes
from inference_insitu.ring.region import Slot
from inference_insitu.ring.stream import Shaped, Stream


class FillingProducer(Producer):
    """A producer of which others may fill slots: ``reserve``, then ``commit`` or ``fail``."""

    def reserve(
        self,
        name: str,
        array: Shaped,
        step: int,
        attributes: Mapping[str, Any] | None = None,
        *,
        room: int = 0,
        host: Callable[[], NDArray[Any]],
    ) -> Slot | Publication:
        """The slot for an array that somebody else brings there: it is accepted, ``commit`` or ``fail`` must follow.

        ``room`` is how many more bytes its attributes will take. Where the policy makes the frame coarser or spills
        it, that is done now, of the array that ``host`` gives; then, and where the frame is not taken, the answer is
        that of ``publish``.

        Raises
        ------
        ValueError
            As ``publish``.
        """
        now = self._clock()
        stream = self._streams.get(name) or self._unknown(name)
        self._take(stream)
        encoded = encode_attributes(attributes, room)
        refusal = self._refusal(stream, array, step)
        if refusal is not None:
            return self._refuse(stream, step, now, refusal)
        slot = self._slot(stream)
        if isinstance(slot, str):
            return self._refuse(stream, step, now, slot)
        if slot.place.kind is not Kind.MEMORY:
            try:
                values = host()
            except Exception as error:
                self._let_go(stream, slot)
                return self._fail(stream, step, now, error)
            return self._store(stream, slot, values, step, encoded, now)
        stream.unfilled.add(slot.place.number)
        stream.in_turn(State.FILLING, stream.filling)
        self._store(stream, slot, array, step, encoded, now, fill=_later)
        return slot

    def commit(self, slot: Slot) -> None:
        """A reserved ``slot`` is full."""
        stream = self._streams[slot.place.stream]
        stream.unfilled.discard(slot.place.number)
        self._release(stream)

    def fail(self, slot: Slot, reason: str, *, again: bool) -> None:
        """A reserved ``slot`` will not be full, unless ``commit`` has said that it is.

        Without ``again`` somebody may be writing to it still, and it is never used again.
        """
        stream = self._streams[slot.place.stream]
        if slot.place.number not in stream.unfilled:
            return
        stream.unfilled.remove(slot.place.number)
        stream.filling.remove(slot)
        self.ledger.settle(stream.name, self._words[slot.base + Row.STEP], Settled("failed", reason))
        if again:
            self._let_go(stream, slot)
        else:
            self._words[slot.base + Row.STATE] = State.WRITING
        self._release(stream)

    def fail_unfilled(self, reason: str) -> int:
        """No slot that is being filled will be full; how many there were."""
        slots = [slot for one in self._streams.values() for slot in one.filling if slot.place.number in one.unfilled]
        for slot in slots:
            self.fail(slot, reason, again=False)
        return len(slots)

    def _release(self, stream: Stream) -> None:
        """Hand over what no slot before it is waited for any more."""
        filling, words = stream.filling, self._words
        while filling and filling[0].place.number not in stream.unfilled:
            slot = filling.popleft()
            fence()
            words[slot.base + Row.STATE] = State.READY
            words[Word.FILLED] += 1
            stream.flying.append(slot)
        if not filling:
            stream.in_turn(State.READY, stream.flying)

    def look_after(self, progress: Callable[[], object]) -> None:
        """Call ``progress`` too while a policy waits."""
        before = self._progress

        def both() -> None:
            before()
            progress()

        self._progress = both

    def close(self) -> None:
        """Settle what is still open, whoever has it, and close the books."""
        self.fail_unfilled("it was not filled before the end")
        super().close()
        self._progress = lambda: None  # what looked after us may refer to us: our memory is to go at once


def _later(slot: Slot, dtype: int, values: Any) -> None:
    """Leave the slot to who fills it."""
