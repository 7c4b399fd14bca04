"""Memory of a ring that spilled frames lie in until the worker, on its own core, has written them to the file.

The simulation copies a frame there as into any slot; a call that writes it to a file takes half as long again, and
longer where the disk is behind. The slot is one that spills, with its place in the file, and READY at once: whoever
dies, the frame is in the ring. Where no place is free the simulation writes to the file itself.

Words of the places come first, in two halves of a page that are written by one side each. The simulation's are the
sequence of the frame that a place was last given, and where the row of its slot begins; the worker's is the sequence
of the frame of that place that was last written to the file. Where these are the same the place is free. It is, too,
where the frame was answered before: its slot is DONE, or FREE, or has another frame.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from inference_insitu.ring.layout import PAGE, ROW_WORDS, Row, StagingPlace, State

_GIVEN = struct.Struct("=2q")
_SEQUENCE, _STATE = int(Row.SEQUENCE), int(Row.STATE)
_READY, _OVER = int(State.READY), (int(State.FREE), int(State.DONE))


class Staged(NamedTuple):
    """A frame in a place: the number of that, its sequence, and where the row of its slot begins."""

    number: int
    sequence: int
    base: int


class Staging:
    """The places of one stream in ``memory``, the whole segment, whose words are ``words``.

    Attributes
    ----------
    place : StagingPlace
    payloads : memory of each.
    given_offset, written_offset : where in the segment the words of each side begin.
    """

    def __init__(self, memory: memoryview, words: memoryview, place: StagingPlace) -> None:
        self.place = place
        self.given_offset, self.written_offset = place.offset, place.offset + PAGE // 2
        self._memory, self._words = memory, words
        self._given = memory[self.given_offset : self.given_offset + place.count * _GIVEN.size]
        self._written = self.written_offset // 8
        starts = (place.offset + PAGE + number * place.stride for number in range(place.count))
        self.payloads = [memory[start : start + place.capacity] for start in starts]

    def free(self) -> int | None:
        """Writer: the first place that may be filled."""
        held = {one.number for one in self._held() if self._words[one.base + _STATE] not in _OVER}
        return next((number for number in range(self.place.count) if number not in held), None)

    def give(self, number: int, sequence: int, base: int) -> None:
        """Writer: the place is filled with the frame ``sequence``, whose slot is not READY yet."""
        _GIVEN.pack_into(self._given, number * _GIVEN.size, sequence, base)

    def find(self, base: int) -> int | None:
        """The place of the frame of the slot at ``base``; None where that is in the file."""
        return next((one.number for one in self._held() if one.base == base), None)

    def newest(self) -> Staged | None:
        """Reader: the newest frame that waits; those before it may be answered before their turn to be written."""
        waiting = (one for one in self._held() if self._words[one.base + _STATE] == _READY)
        return max(waiting, key=lambda one: one.sequence, default=None)

    def written(self, staged: Staged) -> None:
        """Reader: the frame is in the file, and is read from there from now on."""
        self._words[self._written + staged.number] = staged.sequence

    def _held(self) -> Iterator[Staged]:
        """Frames that are here, and not in the file; of some the end is known."""
        words, written = self._words, self._written
        for number, (sequence, base) in enumerate(_GIVEN.iter_unpack(self._given)):
            # A place that was never filled has 0 for both; nonsense leads nowhere outside.
            if sequence == words[written + number] or not 0 <= base < len(words) - ROW_WORDS:
                continue
            if words[base + _SEQUENCE] == sequence:
                yield Staged(number, sequence, base)
