"""A ring's memory: created by the simulation rank that writes to it, opened by the worker that reads.

POSIX shared memory rather than an MPI window: the worker is no MPI rank, so that its death is
nobody else's. The name holds the run's id, and the control block its owner, so that what a killed
run left behind is known for that.
"""

import fcntl
import math
import mmap
import os
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference_insitu.books.ledger import JOURNAL_BYTES
from inference_insitu.ring.fence import fence
from inference_insitu.ring.layout import (
    ATTRIBUTE_BYTES,
    BOX_BYTES,
    BOX_RECORDS,
    DETAIL_BYTES,
    DTYPES,
    LAYOUT_OFFSET,
    MAGIC,
    MODEL_BYTES,
    MODEL_OFFSET,
    MOST_DIMENSIONS,
    PAGE,
    ROW_BYTES,
    ROW_WORDS,
    VERSION,
    Kind,
    Layout,
    Row,
    SlotPlace,
    State,
    Word,
)
from inference_insitu.ring.mapping import HOLD_TRIES, map_existing, map_new
from inference_insitu.ring.processes import started_at
from inference_insitu.ring.spill import SpillFile
from inference_insitu.ring.staging import Staging

_DESCRIPTIONS = [struct.Struct(f"={7 + axes}q") for axes in range(MOST_DIMENSIONS + 1)]
"""One call for a row: fifteen stores one by one would take longer than a small payload."""

_SEQUENCE = int(Row.SEQUENCE)
_WHOLE_ROW = struct.Struct(f"={ROW_WORDS}q")

MADE_BYTES = 16 << 20
"""Of a file that frames spill to, for every stream, written before the first frame."""
MOVED_BYTES = 256 << 10
"""Written at a time to that file by a reader: a call that waits for the disk keeps the writer's from the file."""
FEW_SLOTS = 32
"""Up to so many are looked at sooner one by one than by an array."""

PREFIX = "cdi-"
SHARED_MEMORY = Path("/dev/shm")


class Slot:
    """One slot: its row of words and the bytes of its payload. ``words[base + Row.…]`` reads and writes a word."""

    __slots__ = ("_file", "_region", "_staged", "_staging", "_texts", "_views", "base", "payload", "place", "words")

    def __init__(self, region: "Region", place: SlotPlace) -> None:
        self.place = place
        self.words = region.words
        self._region = region.bytes
        self.base = (region.layout.rows_offset + place.number * ROW_BYTES) // 8
        start = region.layout.texts_offset + place.number * (ATTRIBUTE_BYTES + DETAIL_BYTES)
        self._texts = region.bytes[start : start + ATTRIBUTE_BYTES + DETAIL_BYTES]
        source = region.spilled if place.kind is Kind.SPILL else region.bytes
        self.payload = source[place.offset : place.offset + place.capacity]
        self._file = region.spill_file if place.kind is Kind.SPILL else None
        self._staging = region.stagings.get(place.stream) if place.kind is Kind.SPILL else None
        self._staged: int | None = None  # the place there that was just filled
        self._views: dict[tuple[int, tuple[int, ...]], NDArray[np.generic]] = {}

    def view(self, dtype: int, shape: tuple[int, ...]) -> "NDArray[np.generic]":
        """The payload as an array of ``DTYPES[dtype]``; no copy."""
        found = self._views.get((dtype, shape))
        if found is None:
            found = _array(self.payload, dtype, shape)
            if len(self._views) < 4:
                self._views[dtype, shape] = found
        return found

    def fill(self, dtype: int, values: "NDArray[np.generic]") -> None:
        """Writer: put ``values``, of ``DTYPES[dtype]``, where the payload is.

        Raises
        ------
        OSError
            If that is a file, no place before it is free, and it does not take them.
        """
        target = self.view(dtype, values.shape)  # also says whether they fit
        if self._staging is not None and (place := self._staging.free()) is not None:
            np.copyto(_array(self._staging.payloads[place], dtype, values.shape), values)
            self._staged = place
        elif self._file is None:
            np.copyto(target, values)
        else:
            self._file.write(values, self.place.offset)

    def write_out(self, staged: memoryview) -> None:
        """Reader: write to the file what the slot's row describes, and ``staged`` holds.

        Raises
        ------
        OSError
            If the file does not take it.
        """
        assert self._file is not None
        payload = staged[: self.words[self.base + Row.BYTES]]
        for start in range(0, len(payload), MOVED_BYTES):
            self._file.write_bytes(payload[start : start + MOVED_BYTES], self.place.offset + start)

    def describe(self, header: tuple[int, ...], dtype: int, shape: tuple[int, ...], attributes: bytes) -> None:
        """Write what the payload holds; ``header`` are the words ``SEQUENCE`` to ``BYTES``."""
        if attributes:
            self._texts[: len(attributes)] = attributes
        _DESCRIPTIONS[len(shape)].pack_into(
            self._region, 8 * (self.base + _SEQUENCE), *header, len(attributes), dtype, len(shape), *shape
        )
        if self._staging is not None and self._staged is not None:
            self._staging.give(self._staged, header[0], self.base)
            self._staged = None

    def write_attributes(self, encoded: bytes) -> None:
        """Replace the JSON that travels with the payload."""
        self._texts[: len(encoded)] = encoded
        self.words[self.base + Row.ATTRIBUTE_BYTES] = len(encoded)

    def array(self) -> "NDArray[np.generic]":
        """The payload as its row describes it.

        Raises
        ------
        ValueError
            If the row describes nothing that fits the slot.
        """
        dtype, shape = self._description()
        if not 0 <= dtype < len(DTYPES):
            raise ValueError(f"a slot must hold a known type, got number {dtype}")
        if min(shape, default=0) < 0 or math.prod(shape) * DTYPES[dtype].itemsize > self.place.capacity:
            raise ValueError(f"a slot of {self.place.capacity} bytes must hold its array, got shape {shape}")
        place = None if self._staging is None else self._staging.find(self.base)
        if self._staging is None or place is None:
            return self.view(dtype, shape)
        return _array(self._staging.payloads[place], dtype, shape)

    def described(self) -> tuple[str, tuple[int, ...]]:
        """Name of the type and shape of what the payload holds, for putting like to like."""
        dtype, shape = self._description()
        return DTYPES[dtype].name if 0 <= dtype < len(DTYPES) else "", shape

    def _description(self) -> tuple[int, tuple[int, ...]]:
        words, base = self.words, self.base
        dimensions = min(max(words[base + Row.DIMENSIONS], 0), MOST_DIMENSIONS)
        return words[base + Row.DTYPE], tuple(words[base + Row.SHAPE + axis] for axis in range(dimensions))

    def row(self) -> tuple[int, ...]:
        """All words of the row, by ``Row``."""
        return _WHOLE_ROW.unpack_from(self._region, 8 * self.base)

    def attributes(self) -> bytes:
        """JSON that travels with the payload."""
        return bytes(self._texts[: min(max(self.words[self.base + Row.ATTRIBUTE_BYTES], 0), ATTRIBUTE_BYTES)])

    def write_detail(self, text: str) -> None:
        """Keep ``text``, cut to ``DETAIL_BYTES`` bytes."""
        encoded = text.encode(errors="replace")[:DETAIL_BYTES]
        self._texts[ATTRIBUTE_BYTES : ATTRIBUTE_BYTES + len(encoded)] = encoded
        self.words[self.base + Row.DETAIL_BYTES] = len(encoded)

    def detail(self) -> str:
        """What ``write_detail`` kept."""
        length = min(max(self.words[self.base + Row.DETAIL_BYTES], 0), DETAIL_BYTES)
        return bytes(self._texts[ATTRIBUTE_BYTES : ATTRIBUTE_BYTES + length]).decode(errors="replace")


class Region:
    """The memory of one ring.

    Attributes
    ----------
    layout : Layout
    words : memoryview of int64 over the whole segment; control words by ``Word``.
    slots : every slot in order.
    spill_file : what spills goes there; None where nothing does.
    stagings : by stream, where it may lie before.
    """

    def __init__(self, memory: mmap.mmap, spill_file: SpillFile | None, layout: Layout, path: Path | None) -> None:
        self.path = path
        self.layout = layout
        self.spill_file = spill_file
        self.bytes = memoryview(memory)
        self.spilled = memoryview(spill_file.memory) if spill_file is not None else self.bytes[:0]
        self.words = self.bytes.cast("q")
        self.stagings = {place.stream: Staging(self.bytes, self.words, place) for place in layout.stagings()}
        self.slots = [Slot(self, place) for place in layout.places()]
        rows = np.frombuffer(memory, np.int64, count=layout.count * ROW_WORDS, offset=layout.rows_offset)
        self._states = rows[Row.STATE :: ROW_WORDS]

    def standing_at(self, state: State) -> list[Slot]:
        """The slots at ``state``, in order; a worker asks a thousand times a second."""
        if len(self.slots) <= FEW_SLOTS:
            words = self.words
            return [slot for slot in self.slots if words[slot.base + Row.STATE] == state]
        return [self.slots[number] for number in np.flatnonzero(self._states == state)]

    @classmethod
    def create(cls, layout: Layout, *, rank: int, path: Path | None = None) -> "Region":
        """A new ring, every page of it touched; ``path`` None keeps it private to this process.

        Raises
        ------
        OSError
            If the memory or the disk does not hold it; ``FileExistsError`` if the name is taken.
        """
        memory = map_new(path, layout.memory_bytes)
        try:
            file = _spill_file(layout) if layout.spill_bytes else None
        except OSError:
            if path is not None:
                path.unlink(missing_ok=True)
            raise
        memory[::PAGE] = b"\0" * len(range(0, layout.memory_bytes, PAGE))
        region = cls(memory, file, layout, path)
        encoded = layout.encode()
        region.bytes[LAYOUT_OFFSET : LAYOUT_OFFSET + len(encoded)] = encoded
        words = region.words
        words[Word.VERSION], words[Word.TOTAL_BYTES], words[Word.RANK] = VERSION, layout.memory_bytes, rank
        words[Word.OWNER_PID], words[Word.OWNER_STARTED] = os.getpid(), started_at(os.getpid()) or 0
        words[Word.LAYOUT_BYTES], words[Word.LAYOUT_CHECK] = len(encoded), zlib.crc32(encoded)
        fence()
        words[Word.MAGIC] = MAGIC  # last: whoever sees it sees the rest
        return region

    @classmethod
    def open(cls, path: Path) -> "Region":
        """The ring that another process created at ``path``.

        Raises
        ------
        ValueError
            If it is not a whole ring of this version.
        OSError
            If it cannot be read.
        """
        memory = map_existing(path)
        words = memoryview(memory).cast("q") if len(memory) >= LAYOUT_OFFSET and len(memory) % 8 == 0 else None
        if words is None or words[Word.MAGIC] != MAGIC:
            raise ValueError(f"{path} must be a ring, got something else")
        if words[Word.VERSION] != VERSION:
            raise ValueError(f"{path} must be a ring of version {VERSION}, got {words[Word.VERSION]}")
        encoded = memory[LAYOUT_OFFSET : LAYOUT_OFFSET + words[Word.LAYOUT_BYTES]]
        if zlib.crc32(encoded) != words[Word.LAYOUT_CHECK] or len(memory) != words[Word.TOTAL_BYTES]:
            raise ValueError(f"{path} must be a whole ring, got one that is cut or overwritten")
        layout = Layout.decode(encoded)
        if layout.memory_bytes != len(memory):
            raise ValueError(f"{path} must be {layout.memory_bytes} bytes, got {len(memory)}")
        file = SpillFile.open(Path(layout.spill_file), layout.spill_bytes) if layout.spill_bytes else None
        return cls(memory, file, layout, path)

    def slot_at(self, base: int) -> Slot:
        """The slot whose row begins at the word ``base``."""
        return self.slots[(8 * base - self.layout.rows_offset) // ROW_BYTES]

    @property
    def journal(self) -> memoryview:
        """Memory for the writer's ledger, which the reader finds there when the writer has died."""
        return self.bytes[self.layout.journal_offset : self.layout.journal_offset + JOURNAL_BYTES]

    @property
    def model(self) -> str:
        """What the worker says of the model that answers."""
        return bytes(self.bytes[MODEL_OFFSET : MODEL_OFFSET + MODEL_BYTES]).rstrip(b"\0").decode(errors="replace")

    @model.setter
    def model(self, text: str) -> None:
        encoded = text.encode(errors="replace")[:MODEL_BYTES].ljust(MODEL_BYTES, b"\0")
        self.bytes[MODEL_OFFSET : MODEL_OFFSET + MODEL_BYTES] = encoded

    def leave(self, record: bytes) -> bool:
        """Reader: leave ``record`` (at most ``BOX_BYTES``) in the box; False where it is full.

        The worker leaves records, and so may a live view: they take turns.
        """
        with _turn(self.path) as ours:
            written = self.words[Word.BOX_WRITTEN]
            if not ours or written - self.words[Word.BOX_TAKEN] >= BOX_RECORDS:
                return False
            start = self.layout.box_offset + (written % BOX_RECORDS) * (BOX_BYTES + 8)
            self.words[start // 8] = len(record)
            self.bytes[start + 8 : start + 8 + len(record)] = record
            fence()
            self.words[Word.BOX_WRITTEN] = written + 1
            return True

    def collect(self) -> list[bytes]:
        """Writer: empty the box."""
        records = []
        while (taken := self.words[Word.BOX_TAKEN]) < self.words[Word.BOX_WRITTEN]:
            fence()
            start = self.layout.box_offset + (taken % BOX_RECORDS) * (BOX_BYTES + 8)
            length = min(max(self.words[start // 8], 0), BOX_BYTES)
            records.append(bytes(self.bytes[start + 8 : start + 8 + length]))
            self.words[Word.BOX_TAKEN] = taken + 1
        return records

    def unlink(self) -> None:
        """Remove the names; mappings stay until their processes let go."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        if self.layout.spill_file:
            Path(self.layout.spill_file).unlink(missing_ok=True)


def _array(payload: memoryview, dtype: int, shape: tuple[int, ...]) -> "NDArray[np.generic]":
    return np.frombuffer(payload, DTYPES[dtype], math.prod(shape)).reshape(shape)


def _spill_file(layout: Layout) -> SpillFile:
    """The file, with pages in memory for the frames of a burst: the first write to a page takes longer, for the page.

    Frame by frame, as they will be written: a system that makes one large page of many small ones looks at all of it
    at every write.
    """
    file = SpillFile.create(Path(layout.spill_file), layout.spill_bytes)
    made: Counter[str] = Counter()
    for place in layout.places():
        if place.kind is Kind.SPILL and made[place.stream] + place.capacity <= MADE_BYTES:
            file.write(np.zeros(place.capacity, np.uint8), place.offset)
            made[place.stream] += place.capacity
    return file


@contextmanager
def _turn(path: Path | None) -> Iterator[bool]:
    """Whether it is ours alone to fill the box, for as long as this lasts; the system lets go for who dies.

    A private ring has one process, and nobody new comes to one whose name is gone.
    """
    try:
        descriptor = None if path is None else os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        descriptor = None
    try:
        yield descriptor is None or _locked(descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    # A lock of records, which knows nothing of those that show that somebody uses the ring.
    for _ in range(HOLD_TRIES):
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
            return True
        except BlockingIOError:
            time.sleep(0.001)
        except OSError:  # a file system without locks
            return True
    return False
