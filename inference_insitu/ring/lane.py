"""Slots of one stream lent to the compiled way into the ring (``native/lane.c``), and taken back.

While they are lent the lists of the stream stand still. Whoever looks at them takes the slots back first, which
brings the lists and the ledger to what has happened; what is not lent again is published by Python.
"""

from enum import IntEnum
from typing import Any

from inference_insitu.books.ledger import Ledger
from inference_insitu.ring.layout import ATTRIBUTE_BYTES, DETAIL_BYTES, DTYPES, MODEL_BYTES, MODEL_OFFSET, PAGE
from inference_insitu.ring.region import Region, Slot
from inference_insitu.ring.stream import Stream

MOST_SPARE = 8
"""Slots lent at once of those that stand in for memory: there may be thousands, of which a few are used at a time."""
ADDED = ("float32", "float64")
"""What the compiled way adds up in blocks."""


ANSWERED = -2
"""What an event has for the step that it replaced, where it is the end of a frame that was answered."""


class Said(IntEnum):
    """What a lane says of a frame. ASK: nothing, and nothing has changed."""

    ASK, ACCEPTED, FULL, SAMPLED = range(4)


class Lane:
    """The slots of ``stream``.

    Parameters
    ----------
    compiled : class of ``native.compiled.lane_type``.
    decides : whether it may do what the policy says where no slot is left in memory, without looking first whether
        something else has made room.

    Attributes
    ----------
    publish : ``publish(array, step)``, a number of ``Said``.
    """

    def __init__(self, compiled: Any, region: Region, stream: Stream, ledger: Ledger, *, decides: bool) -> None:
        self._stream, self._ledger = stream, ledger
        memory, spare = list(reversed(stream.free_memory)), list(reversed(stream.free_spare))
        self._slots = memory + spare
        self._numbers = {slot.place.number: number for number, slot in enumerate(self._slots)}
        self._decides = decides and not stream.policy.wait_s
        self._latest = stream.policy.when_full == "latest"
        self._declared = region.layout.variables.get(stream.name)
        self._factor = stream.policy.factor if stream.policy.when_full == "degrade" else 0
        self._lane = compiled(
            region=region.bytes,
            journal=ledger.journal,
            places=[_places(region, slot) for slot in memory],
            capacity=stream.capacity,
            spares=[_places(region, slot) for slot in spare],
            spare_capacity=spare[0].place.capacity if spare else stream.capacity,
            factor=self._factor,
            file=-1 if region.spill_file is None else region.spill_file.descriptor,
            staging=_staged(region, stream.name),
            prefix=f"{stream.name},{ledger.rank},".encode(),
            origin_ns=ledger.origin_ns,
            one_in=stream.one_in,
            model=MODEL_OFFSET,
            model_bytes=MODEL_BYTES,
        )
        self.publish = self._lane.publish

    def lend(self) -> None:
        """Lend slots for frames of the form of the newest: the free ones, and those under way, which will be free.

        The first refusal for a reason is the producer's: it is told of.
        """
        stream, numbers = self._stream, self._numbers
        if stream.form is None or stream.filling:
            return
        spare = stream.free_spare[-MOST_SPARE:]
        all_lent = len(spare) == len(stream.free_spare)
        self._lane.lend(
            stream.form,
            DTYPES.index(stream.form.dtype),
            [numbers[slot.place.number] for slot in stream.free_memory],
            [numbers[slot.place.number] for slot in spare],
            [numbers[slot.place.number] for slot in stream.flying],
            stream.last_step,
            stream.seen,
            self._decides and self._latest,
            self._decides and self._stands_in(),
            self._decides and not self._latest and all_lent and "full" in stream.refused,
            "sampled" in stream.refused,
        )

    def _stands_in(self) -> bool:
        """Whether the compiled way knows what goes into a slot that stands in for memory: a frame, or its blocks."""
        form = self._stream.form
        if form is None or not self._factor:
            return True
        whole = (form.dtype.name, form.shape) == self._declared and form.dtype.name in ADDED
        return whole and bool(form.shape) and not any(length % self._factor for length in form.shape)

    def take(self) -> None:
        """Take all back."""
        stream, ledger = self._stream, self._ledger
        for number, step, published_ns, replaced, latency_s in self._lane.take():
            if replaced == ANSWERED:
                slot = self._slots[number]
                stream.flying.remove(slot)
                stream.free[slot.place.kind].append(slot)
                ledger.answered(stream.name, step, latency_s)
                continue
            stream.last_step = step
            stream.seen += 1
            if number < 0:
                ledger.refused(stream.name, step, Said(-number).name.lower())
                continue
            slot = self._slots[number]
            if replaced < 0:
                stream.free[slot.place.kind].pop()
            else:
                stream.flying.remove(slot)
                ledger.replaced(stream.name, replaced)
            stream.flying.append(slot)
            ledger.accept(stream.name, step, published_ns)


def _staged(region: Region, stream: str) -> tuple[int, int, int, int, int]:
    """Where in the ring the words of the places before the file are, and the payloads: how many, and how far apart."""
    staging = region.stagings.get(stream)
    if staging is None:
        return 0, 0, 0, 0, region.layout.memory_bytes
    place = staging.place
    return staging.given_offset, staging.written_offset, place.offset + PAGE, place.count, place.stride


def _places(region: Region, slot: Slot) -> tuple[int, int, int]:
    """Where in the ring its row is, its payload (of a spilled one in the file), and the detail of its outcome."""
    texts = region.layout.texts_offset + slot.place.number * (ATTRIBUTE_BYTES + DETAIL_BYTES)
    return 8 * slot.base, slot.place.offset, texts + ATTRIBUTE_BYTES
