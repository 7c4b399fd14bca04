"""Slots of one stream lent to the compiled way into the ring (``native/lane.c``), and taken back.

While they are lent the lists of the stream stand still. Whoever looks at them takes the slots back first, which
brings the lists and the ledger to what has happened; what is not lent again is published by Python.
"""

from enum import IntEnum
from typing import Any

from inference_insitu.books.ledger import Ledger
from inference_insitu.ring.region import Region, Slot
from inference_insitu.ring.stream import Stream


class Said(IntEnum):
    """What a lane says of a frame. ASK: nothing, and nothing has changed."""

    ASK, ACCEPTED, FULL, SAMPLED = range(4)


class Lane:
    """The memory slots of ``stream``.

    Parameters
    ----------
    compiled : class of ``native.compiled.lane_type``.
    evicts : whether it may replace what waits, or refuse, without looking first whether something else has made room.

    Attributes
    ----------
    publish : ``publish(array, step)``, a number of ``Said``.
    """

    def __init__(self, compiled: Any, region: Region, stream: Stream, ledger: Ledger, *, evicts: bool) -> None:
        self._stream, self._ledger = stream, ledger
        self._slots = list(reversed(stream.free_memory))
        self._numbers = {slot.place.number: number for number, slot in enumerate(self._slots)}
        self._evicts = evicts and stream.policy.when_full == "latest" and not stream.policy.wait_s
        self._refuses = evicts and stream.policy.when_full == "drop_newest" and not stream.policy.wait_s
        self._lane = compiled(
            region=region.bytes,
            journal=ledger.journal,
            places=[(8 * slot.base, slot.place.offset) for slot in self._slots],
            capacity=stream.capacity,
            prefix=f"{stream.name},{ledger.rank},".encode(),
            origin_ns=ledger.origin_ns,
            one_in=stream.one_in,
        )
        self.publish = self._lane.publish

    def lend(self) -> None:
        """Lend the free slots whose rows speak of the newest form, and with them what waits, if it may be replaced.

        Also where nothing is free and nothing may be replaced, so that frames are refused there. The first refusal for
        a reason is the producer's: it is told of.
        """
        stream = self._stream
        free, flying = stream.free_memory, stream.flying
        refuses = self._refuses and "full" in stream.refused
        if not free and not (flying and (self._evicts or refuses)):
            return
        newest = free[-1] if free else flying[-1]
        if newest.same is None or stream.filling:
            return
        count = next((place for place, slot in enumerate(reversed(free)) if not _alike(slot, newest)), len(free))
        evicts = self._evicts and count == len(free) and all(_alike(slot, newest) for slot in flying)
        refuses = refuses and count == len(free)
        lent = [self._numbers[slot.place.number] for slot in free[len(free) - count :]]
        line = [self._numbers[slot.place.number] for slot in flying] if evicts or refuses else []
        sampled = "sampled" in stream.refused
        self._lane.lend(newest.same, lent, line, stream.last_step, stream.seen, evicts, refuses, sampled)

    def take(self) -> None:
        """Take all back."""
        stream, ledger = self._stream, self._ledger
        for number, step, published_ns, replaced in self._lane.take():
            stream.last_step = step
            stream.seen += 1
            if number < 0:
                ledger.refused(stream.name, step, Said(-number).name.lower())
                continue
            slot = self._slots[number]
            if replaced < 0:
                stream.free_memory.pop()
            else:
                stream.flying.remove(slot)
                ledger.replaced(stream.name, replaced)
            stream.flying.append(slot)
            ledger.accept(stream.name, step, published_ns)


def _alike(slot: Slot, other: Slot) -> bool:
    one, two = slot.same, other.same
    return one is not None and two is not None and one.shape == two.shape and one.dtype is two.dtype
