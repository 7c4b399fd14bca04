"""The frames of a ring that leave by messages, each into a slot that the other side has granted.

For the ring's producer this is its reader: a frame is taken only when there is a slot for it over there,
so that ``latest`` can still replace what waits. The payload leaves from the slot's own memory.
"""

import time
from collections import deque

import numpy as np

from inference_insitu.placement.relay_message import FrameHead, Grant, MessageError, Outcome
from inference_insitu.placement.relay_wire import Payload, Wire, stream_capacities
from inference_insitu.ring.layout import ROW_WORDS, Row, Side, State, Word
from inference_insitu.ring.region import Region

# Plain integers: looking members up in an enumeration takes longer than the rest of a look at a slot.
_STATE, _SEQUENCE, _SHAPE = int(Row.STATE), int(Row.SEQUENCE), int(Row.SHAPE)
_TAKEN_NS, _DONE_NS, _PUBLISHED_NS = int(Row.TAKEN_NS), int(Row.DONE_NS), int(Row.PUBLISHED_NS)
_ATTEMPTS, _OUTCOME = int(Row.ATTEMPTS), int(Row.OUTCOME)
_HEAD_ROWS = (_SEQUENCE, int(Row.STEP), _PUBLISHED_NS, int(Row.BYTES), int(Row.DTYPE), int(Row.DIMENSIONS))
_READY, _TAKEN, _DONE, _FILLING = map(int, (State.READY, State.TAKEN, State.DONE, State.FILLING))


class Outbox:
    """What leaves ``region``, which this process created, by ``wire``."""

    def __init__(self, region: Region, wire: Wire) -> None:
        self._region, self._wire, self._words = region, wire, region.words
        rows = np.frombuffer(region.bytes, np.int64, region.layout.count * ROW_WORDS, region.layout.rows_offset)
        self._states = rows.reshape(-1, ROW_WORDS)[:, Row.STATE]
        self._bases = [slot.base for slot in region.slots]
        self._capacities = stream_capacities(region.layout)
        self._streams = list(self._capacities)
        self._credits: dict[str, deque[int]] = {name: deque() for name in self._streams}
        self._under_way: dict[int, Payload] = {}
        self.early: list[Outcome] = []
        """Outcomes of frames whose memory the network has not let go of yet."""
        self.sent = 0
        """Frames that have left."""

    @property
    def waiting(self) -> bool:
        """Whether a frame has not left, or is still being filled."""
        return bool(((self._states == _READY) | (self._states == _FILLING)).any())

    def done(self) -> bool:
        """Whether the network has let go of every payload's memory."""
        return all(payload.done() for payload in self._under_way.values())

    def grant(self, grant: Grant) -> None:
        """Slots over there are held out."""
        for slot, stream in grant.pairs:
            if not 0 <= stream < len(self._streams):
                raise MessageError(f"a grant must be for one of {len(self._streams)} streams, got {stream}")
            self._credits[self._streams[stream]].append(slot)

    def next(self) -> list[tuple[int, int]]:
        """Frames that may leave now, the first published first: their slots here and over there."""
        waiting: list[int] = (self._states == _READY).nonzero()[0].tolist()
        if len(waiting) > 1:
            waiting.sort(key=lambda number: self._words[self._bases[number] + _SEQUENCE])
        found = []
        for number in waiting:
            credits = self._credits[self._region.slots[number].place.stream]
            if credits:
                found.append((number, credits.popleft()))
        return found

    def take(self, number: int, into: int) -> FrameHead:
        """Take the frame in slot ``number``, for the slot ``into`` over there; what to say of it."""
        slot, words = self._region.slots[number], self._words
        base = slot.base
        # The producer runs in this very thread: no flags are needed to keep it from taking the frame back meanwhile.
        words[base + _STATE] = _TAKEN
        words[base + _TAKEN_NS] = time.monotonic_ns()
        sequence, step, published_ns, size, dtype, dimensions = (words[base + row] for row in _HEAD_ROWS)
        rest = FrameHead.tail(tuple(words[base + _SHAPE : base + _SHAPE + dimensions]), slot.attributes())
        return FrameHead(into, number, sequence, step, published_ns, size, dtype, dimensions, rest)

    def send(self, head: FrameHead) -> None:
        """Start to send the payload of ``head``."""
        slot = self._region.slots[head.source]
        capacity = self._capacities[slot.place.stream]
        self._under_way[head.source] = Payload(self._wire, head.slot, slot.payload, size=head.size, capacity=capacity)
        self.sent += 1

    def ended(self, outcome: Outcome) -> None:
        """Take in how a frame ended, and the credit that comes with it.

        Raises
        ------
        MessageError
            If no such frame is under way.
        """
        if not 0 <= outcome.source < len(self._region.slots):
            raise MessageError(f"an outcome must be of one of {len(self._region.slots)} slots, got {outcome.source}")
        slot = self._region.slots[outcome.source]
        words, base = self._words, slot.base
        if words[base + _STATE] != _TAKEN or words[base + _SEQUENCE] != outcome.sequence:
            if words[Word.PRODUCER_STATE] < Side.CLOSED:
                raise MessageError(f"an outcome must be of a frame under way, got one of slot {outcome.source}")
            return
        if outcome.granted:
            self._credits[slot.place.stream].append(outcome.slot)
        self.early.append(outcome)
        self.settle_early()

    def settle_early(self) -> None:
        """Settle every frame of known outcome whose memory the network has let go of."""
        early, self.early = self.early, []
        for outcome in early:
            payload = self._under_way.get(outcome.source)
            if payload is None or payload.done():
                self._settle(outcome)
            else:
                self.early.append(outcome)

    def _settle(self, outcome: Outcome) -> None:
        self._under_way.pop(outcome.source, None)
        slot, words, now = self._region.slots[outcome.source], self._words, time.monotonic_ns()
        base = slot.base
        if words[base + _STATE] != _TAKEN:
            return  # the books were closed meanwhile
        slot.write_detail(outcome.detail.decode(errors="replace"))
        # All on this rank's clock: what was not inference was waiting or under way.
        words[base + _TAKEN_NS] = max(words[base + _PUBLISHED_NS], now - outcome.inferred_ns)
        words[base + _DONE_NS] = now
        words[base + _ATTEMPTS], words[base + _OUTCOME] = outcome.attempts, outcome.outcome
        words[base + _STATE] = _DONE
