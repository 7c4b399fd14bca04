"""Where everything lies in a ring: control words, slot rows, attributes, payloads.

0      control block: int64 words, each written by one side only, sides apart by cache lines
4096   the layout itself as JSON, so that a reader needs nothing but the segment
…      the box: records that the reader leaves for the writer (steering proposals)
…      the journal: rows of the writer's ledger on their way to its file, for who must end it where the writer dies
…      slot rows: 32 int64 words each
…      per slot: attributes (JSON) and the detail of its outcome (text)
…      payloads, each on pages of its own; those of spill slots lie in a file on disk instead
…      for each stream that spills, where its frames lie before they are in that file (``ring.staging``)
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from functools import cached_property

import numpy as np

from inference_insitu.books.ledger import JOURNAL_BYTES

PAGE = 4096
MAGIC = int.from_bytes(b"CDIRING1", "little")
VERSION = 3
ROW_WORDS = 32
ROW_BYTES = 8 * ROW_WORDS
ATTRIBUTE_BYTES = 2048
DETAIL_BYTES = 256
BOX_RECORDS = 16
BOX_BYTES = 256
MODEL_OFFSET, MODEL_BYTES = 1024, 128
LAYOUT_OFFSET = PAGE
MOST_DIMENSIONS = 6
MOST_STAGED = 32
"""Payloads of a stream; all are looked at where none is free."""

DTYPES = tuple(
    np.dtype(name)
    for name in ("bool", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16")
)
"""What a slot may hold; its row names the position in this table."""


class Word(IntEnum):
    """Control words. The groups of eight are cache lines: one is written by one side alone."""

    MAGIC, VERSION, TOTAL_BYTES, RANK, OWNER_PID, OWNER_STARTED, LAYOUT_BYTES, LAYOUT_CHECK = range(8)
    # Written by the simulation, or by the relay that stands for it (RELAYED).
    PRODUCER_STATE, PUBLISHED, BOX_TAKEN, ORIGIN_NS, RELAYED = range(16, 21)
    SEQUENCE = 21  # of the newest frame in the ring
    FILLED = 23  # frames that became ready after their publication
    # Written by the worker.
    CONSUMER_STATE, CONSUMER_BEAT_NS, BUSY_SINCE_NS, CONSUMER_PID, BOX_WRITTEN = range(32, 37)
    CONSUMER_STARTED = 39
    ON_DEVICE = 40  # whether frames may stay on a GPU
    # Written by whoever supervises the worker.
    SUPERVISOR_STATE, SUPERVISOR_PID, RESTARTS, SUPERVISOR_STARTED = range(48, 52)
    # Of rings that change hands: who reads this one, who is to, and whether that one can (``sharing/holding.py``).
    HOLDER = 56
    WANTED = 64
    HEIR = 72


class Row(IntEnum):
    """Words of a slot's row. From ``SEQUENCE`` to ``ATTRIBUTE_BYTES`` the writer fills them in one go."""

    STATE, EVICT, TAKEN, ATTEMPTS = range(4)
    SEQUENCE, STEP, PUBLISHED_NS, BYTES, ATTRIBUTE_BYTES, DTYPE, DIMENSIONS, SHAPE = range(8, 16)
    DETAIL_BYTES, OUTCOME, TAKEN_NS, DONE_NS = range(24, 28)


class State(IntEnum):
    """Where a slot stands, and who may change it. FILLING: its frame is accepted, its payload not there yet."""

    FREE, WRITING, READY, TAKEN, DONE, FILLING = range(6)


class Side(IntEnum):
    """Life of the simulation's side, of the worker's and of its supervisor's."""

    ABSENT, STARTING, READY, ENDING, CLOSED, FAILED = range(6)


class Kind(IntEnum):
    """What a slot is for."""

    MEMORY, COARSE, SPILL = range(3)


@dataclass(frozen=True)
class SlotGroup:
    """``count`` slots of one ``kind`` of the stream ``stream``, each of at most ``capacity`` bytes.

    The payloads of ``staged`` of those that spill may lie in memory, until they are in the file.
    """

    stream: str
    kind: Kind
    count: int
    capacity: int
    staged: int = 0


@dataclass(frozen=True)
class SlotPlace:
    """One slot: its number, and offset of its payload in the segment or, of a spill slot, in the file."""

    number: int
    stream: str
    kind: Kind
    capacity: int
    offset: int


@dataclass(frozen=True)
class StagingPlace:
    """Where ``count`` payloads of ``stream`` lie before they are in the file.

    At ``offset`` in the segment is a page of words, behind it the payloads, ``stride`` bytes from one to the next.
    """

    stream: str
    offset: int
    count: int
    capacity: int
    stride: int


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


@dataclass(frozen=True)
class Layout:
    """Groups of slots in order; everything else follows from them.

    ``spill_file`` holds the payloads of slots that spill. ``variables`` are type and largest shape of each stream's
    frames, for a reader that wants to warm up.
    """

    groups: tuple[SlotGroup, ...]
    spill_file: str = ""
    variables: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.groups:
            raise ValueError("a ring must have at least one group of slots, got none")
        for group in self.groups:
            if group.count < 1 or group.capacity < 1:
                raise ValueError(f"slots of {group.stream!r} must be at least 1 of 1 byte, got {group}")
            if not 0 <= group.staged <= (MOST_STAGED if group.kind is Kind.SPILL else 0):
                raise ValueError(f"staged must lie in [0, {MOST_STAGED}], and be 0 of slots in memory, got {group}")
        if self.spill_bytes and not self.spill_file:
            raise ValueError("spill_file must be given where slots spill, got none")

    @property
    def count(self) -> int:
        """Number of slots."""
        return sum(group.count for group in self.groups)

    @cached_property
    def box_offset(self) -> int:
        """Where the box of records for the writer begins."""
        return LAYOUT_OFFSET + _pages(len(self.encode()))

    @property
    def journal_offset(self) -> int:
        """Where the journal of the ledger begins."""
        return self.box_offset + _pages(BOX_RECORDS * (BOX_BYTES + 8))

    @property
    def rows_offset(self) -> int:
        """Where the slots' rows begin."""
        return self.journal_offset + _pages(JOURNAL_BYTES)

    @property
    def texts_offset(self) -> int:
        """Where the slots' attributes and details begin."""
        return self.rows_offset + _pages(self.count * ROW_BYTES)

    @property
    def payload_offset(self) -> int:
        """Where payloads begin."""
        return self.texts_offset + _pages(self.count * (ATTRIBUTE_BYTES + DETAIL_BYTES))

    @property
    def memory_bytes(self) -> int:
        """Size of the segment."""
        return self._staging_offset + sum(PAGE + one.count * one.stride for one in self.stagings())

    @property
    def spill_bytes(self) -> int:
        """Size of the spill file; 0 where nothing spills."""
        return self._payload(spilled=True)

    @property
    def _staging_offset(self) -> int:
        return self.payload_offset + self._payload(spilled=False)

    def variable(self, stream: str) -> tuple[str, tuple[int, ...]]:
        """Type and largest shape of the frames of ``stream``."""
        return self.variables[stream]

    def places(self) -> Iterator[SlotPlace]:
        """Every slot in order."""
        number, memory, spill = 0, self.payload_offset, 0
        for group in self.groups:
            for _ in range(group.count):
                spilled = group.kind is Kind.SPILL
                offset = spill if spilled else memory
                yield SlotPlace(number, group.stream, group.kind, group.capacity, offset)
                number += 1
                if spilled:
                    spill += _pages(group.capacity)
                else:
                    memory += _pages(group.capacity)

    def stagings(self) -> Iterator[StagingPlace]:
        """Where payloads lie before they are in the file, for each stream that has such a place."""
        offset = self._staging_offset
        for group in self.groups:
            if group.staged:
                place = StagingPlace(group.stream, offset, group.staged, group.capacity, _pages(group.capacity))
                yield place
                offset += PAGE + place.count * place.stride

    def encode(self) -> bytes:
        """JSON, kept within the segment."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Layout":
        """The layout that ``encode`` wrote."""
        values = json.loads(data)
        variables = {name: (str(dtype), tuple(map(int, shape))) for name, (dtype, shape) in values["variables"].items()}
        return cls(tuple(_groups(values["groups"])), str(values["spill_file"]), variables)

    def _payload(self, *, spilled: bool) -> int:
        chosen = (group for group in self.groups if (group.kind is Kind.SPILL) == spilled)
        return sum(group.count * _pages(group.capacity) for group in chosen)


def _groups(values: Iterable[dict[str, int | str]]) -> Iterator[SlotGroup]:
    for value in values:
        count, capacity, staged = (int(value[name]) for name in ("count", "capacity", "staged"))
        yield SlotGroup(str(value["stream"]), Kind(int(value["kind"])), count, capacity, staged)
