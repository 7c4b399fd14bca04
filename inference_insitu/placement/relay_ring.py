"""The ring on a keeper's node that stands for the one of a simulation rank elsewhere.

Its free slots are held out to the network and payloads land in them without a copy; the worker reads
it like any other ring. Of a producer it has no policies: those are the simulation's side's.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from inference_insitu.books.outcomes import CODES
from inference_insitu.placement.relay_message import FrameHead, MessageError, Outcome
from inference_insitu.placement.relay_wire import LAST_TAG, PAYLOAD_TAG, Landing, Wire, stream_capacities
from inference_insitu.ring.fence import fence
from inference_insitu.ring.layout import ROW_WORDS, Kind, Layout, Row, Side, SlotGroup, State, Word
from inference_insitu.ring.region import Region, Slot

SlotsOf = Callable[[str, int], int]
"""Stream and the number of its slots on the simulation's side → the number of slots here."""


class RelayedRing:
    """A ring at ``path`` whose frames come by ``wire``.

    Parameters
    ----------
    layout : of this ring (``relayed_layout``).
    rank : number among the simulation's ranks.
    origin_ns : the run's origin of time on this node's clock.

    Raises
    ------
    OSError
        If the memory cannot be had.
    """

    def __init__(self, wire: Wire, layout: Layout, *, rank: int, path: Path, origin_ns: int) -> None:
        self.region = Region.create(layout, rank=rank, path=path)
        self.words = words = self.region.words
        words[Word.RELAYED], words[Word.ORIGIN_NS] = 1, origin_ns
        words[Word.PRODUCER_STATE] = Side.READY
        rows = np.frombuffer(self.region.bytes, np.int64, layout.count * ROW_WORDS, layout.rows_offset)
        self._states = rows.reshape(-1, ROW_WORDS)[:, Row.STATE]
        self._landings = [Landing(wire, slot.place.number, slot.payload) for slot in self.region.slots]
        self._arriving: dict[int, FrameHead] = {}
        self._here: dict[int, FrameHead] = {}
        self._closed = False
        self.frames = 0
        """Frames that have come."""

    def hold_out(self) -> list[tuple[int, int]]:
        """Hold every slot out for a frame: slots, and the number of the stream of each."""
        streams = list(stream_capacities(self.region.layout))
        for slot in self.region.slots:
            self._hold_out(slot)
        return [(slot.place.number, streams.index(slot.place.stream)) for slot in self.region.slots]

    def announce(self, head: FrameHead) -> None:
        """The payload of ``head`` lands in its slot by and by.

        Raises
        ------
        MessageError
            If it does not fit a slot that is held out.
        """
        number, slots = head.slot, self.region.slots
        known = 0 <= number < len(slots) and number not in self._arriving
        if not known or self.words[slots[number].base + Row.STATE] != State.WRITING:
            raise MessageError(f"a frame must go into a slot that is held out, got number {number}")
        if head.size > slots[number].place.capacity:
            raise MessageError(f"a frame must fit its slot, got {head.size} bytes")
        self._arriving[number] = head

    def land(self, offset_ns: int) -> bool:
        """Hand what has landed to the worker; whether anything has. ``offset_ns``: this clock less the simulation's."""
        landed = []
        for number, head in self._arriving.items():
            size = self._landings[number].landed()
            if size is None:
                continue
            if size != head.size:
                raise MessageError(f"a payload must have the announced {head.size} bytes, got {size}")
            landed.append(number)
        for number in landed:
            self._hand_over(self.region.slots[number], self._arriving.pop(number), offset_ns)
        return bool(landed)

    def harvest(self, *, over: bool) -> list[Outcome]:
        """How frames ended since the last time; once no worker follows (``over``), also of those without an answer."""
        ended = self._states >= State.READY if over else self._states == State.DONE
        numbers = np.flatnonzero(ended).tolist()
        if numbers:
            fence()
        return [self._outcome(self.region.slots[number], again=not (over or self._closed)) for number in numbers]

    def say(self, state: Side) -> None:
        """Tell the worker how the simulation's side stands."""
        fence()
        self.words[Word.PRODUCER_STATE] = state

    def close(self) -> None:
        """The books there are closed: nobody asks any more for what waits here."""
        self._closed = True
        for slot in self.region.slots:
            base = slot.base
            state = self.words[base + Row.STATE]
            if state == State.READY:
                self.words[base + Row.EVICT] = 1
                fence()
                if not self.words[base + Row.TAKEN]:
                    self.words[base + Row.STATE] = State.FREE
        self.say(Side.CLOSED)

    @property
    def settled(self) -> bool:
        """Whether no payload is on its way."""
        return not self._arriving

    def give_up(self) -> None:
        """Take all memory back from the network, also where a payload is on its way."""
        for landing in self._landings:
            landing.cancel()

    def orphan(self) -> None:
        """The simulation rank is gone: the worker accounts for what it had here, as for any rank that died."""
        self.words[Word.RELAYED] = self.words[Word.OWNER_PID] = 0
        self.say(Side.ENDING)

    def _hold_out(self, slot: Slot) -> None:
        self.words[slot.base + Row.STATE] = State.WRITING
        self._landings[slot.place.number].start()

    def _hand_over(self, slot: Slot, head: FrameHead, offset_ns: int) -> None:
        self.frames += 1
        if self._closed:  # it came too late to be asked for
            self.words[slot.base + Row.STATE] = State.FREE
            return
        self._here[slot.place.number] = head
        header = (head.sequence, head.step, head.published_ns + offset_ns, head.size)
        slot.describe(header, head.dtype, head.shape, head.attributes)
        self.words[slot.base + Row.ATTEMPTS] = 0
        fence()
        self.words[slot.base + Row.STATE] = State.READY

    def _outcome(self, slot: Slot, *, again: bool) -> Outcome:
        """How the frame in ``slot`` ended; the slot is held out ``again``."""
        words, base, number = self.words, slot.base, slot.place.number
        failed = words[Word.SUPERVISOR_STATE] == Side.FAILED
        outcome, inferred_ns, detail = words[base + Row.OUTCOME], 0, b""
        match State(words[base + Row.STATE]):
            case State.READY:
                outcome = CODES["no_inference" if failed else "undelivered"]
            case State.TAKEN:
                outcome = CODES["lost" if failed else "unanswered"]
            case _:
                inferred_ns = max(words[base + Row.DONE_NS] - words[base + Row.TAKEN_NS], 0)
                detail = slot.detail().encode()[: Outcome.MOST_TAIL]
        attempts, head = words[base + Row.ATTEMPTS], self._here.pop(number)
        if again:
            self._hold_out(slot)
        else:
            words[base + Row.STATE] = State.FREE
        return Outcome(number, head.source, head.sequence, outcome, attempts, int(again), inferred_ns, detail)


def relayed_layout(encoded: bytes, slots_of: SlotsOf) -> Layout:
    """The ring that stands for the one of layout ``encoded``: slots in memory alone, which hold a frame of any form.

    Raises
    ------
    MessageError
        If it is no layout, or one of too many slots.
    """
    try:
        layout = Layout.decode(encoded)
        capacities = stream_capacities(layout)
        counts = {group.stream: group.count for group in layout.groups if group.kind is Kind.MEMORY}
        groups = [SlotGroup(name, Kind.MEMORY, slots_of(name, counts[name]), most) for name, most in capacities.items()]
        relayed = Layout(tuple(groups), "", layout.variables)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MessageError(f"a layout must be a ring's, got one that is not: {error!r}") from error
    if relayed.count > LAST_TAG - PAYLOAD_TAG:
        raise MessageError(f"a relay has at most {LAST_TAG - PAYLOAD_TAG} slots, got {relayed.count}")
    return relayed
