"""The short messages between a simulation rank and the rank that infers for it: fixed structures, checked when read.

Each begins with four letters, the version, its kind and when it was sent on the sender's clock; integers
are little-endian. ``decode`` takes nothing on trust: what is cut, too long or out of range is an error.
"""

import math
import struct
from dataclasses import dataclass
from typing import ClassVar, Self

from inference_insitu.books.outcomes import OUTCOMES
from inference_insitu.ring.layout import (
    ATTRIBUTE_BYTES,
    BOX_BYTES,
    DETAIL_BYTES,
    DTYPES,
    MODEL_BYTES,
    MOST_DIMENSIONS,
    Side,
)

LETTERS = b"CDIR"
VERSION = 1
MOST_LAYOUT_BYTES = 1 << 22
MOST_GRANTS = 48

_HEAD = struct.Struct("<4sHHq")


class MessageError(ValueError):
    """A message is not what it must be."""


def _require(condition: bool, must: str, got: object) -> None:
    if not condition:
        raise MessageError(f"a message must {must}, got {got!r}")


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of message: integers in the order of the fields, then maybe ``tail`` bytes."""

    KIND: ClassVar[int]
    FORMAT: ClassVar[struct.Struct]
    MOST_TAIL: ClassVar[int] = 0
    NAMES: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.NAMES = tuple(cls.__annotations__)

    def encode(self, sent_ns: int) -> bytes:
        """Bytes of it; ``sent_ns`` is the sender's clock."""
        values = [getattr(self, name) for name in self.NAMES]
        tail: bytes = values.pop() if self.MOST_TAIL else b""
        return _HEAD.pack(LETTERS, VERSION, self.KIND, sent_ns) + self.FORMAT.pack(*values) + tail

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """What ``encode`` wrote behind the head."""
        size = cls.FORMAT.size
        if not size <= len(body) <= size + cls.MOST_TAIL:
            raise MessageError(f"a message must have {size} to {size + cls.MOST_TAIL} bytes, got {len(body)}")
        tail = (body[size:],) if cls.MOST_TAIL else ()
        message = cls(*cls.FORMAT.unpack(body[:size]), *tail)
        message.check()
        return message

    def check(self) -> None:
        """Raise ``MessageError`` unless every value is in range."""


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """Simulation: I am rank ``rank`` of the simulation; my ring's layout of so many bytes follows."""

    KIND, FORMAT = 1, struct.Struct("<qqqq")
    rank: int
    layout_bytes: int
    layout_check: int
    origin_ns: int

    def check(self) -> None:
        """A layout of sensible size."""
        _require(0 < self.layout_bytes <= MOST_LAYOUT_BYTES, "announce a layout of sensible size", self.layout_bytes)


@dataclass(frozen=True, slots=True)
class FrameHead(Message):
    """Simulation: the frame in my slot ``source`` goes into your slot ``slot``; its payload is under way."""

    KIND, FORMAT, MOST_TAIL = 2, struct.Struct("<iiqqqqii"), 8 * MOST_DIMENSIONS + ATTRIBUTE_BYTES
    slot: int
    source: int
    sequence: int
    step: int
    published_ns: int
    size: int
    dtype: int
    dimensions: int
    rest: bytes

    @staticmethod
    def tail(shape: tuple[int, ...], attributes: bytes) -> bytes:
        """What ``rest`` holds: the array's shape, then JSON."""
        return struct.pack(f"<{len(shape)}q", *shape) + attributes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return struct.unpack_from(f"<{self.dimensions}q", self.rest)

    @property
    def attributes(self) -> bytes:
        """JSON that travels with it."""
        return self.rest[8 * self.dimensions :]

    def check(self) -> None:
        """A type that we know, and as many bytes as it takes."""
        _require(0 <= self.dtype < len(DTYPES), "name a known type", self.dtype)
        _require(0 <= self.dimensions <= MOST_DIMENSIONS, f"have 0 to {MOST_DIMENSIONS} dimensions", self.dimensions)
        length = len(self.rest) - 8 * self.dimensions
        _require(0 <= length <= ATTRIBUTE_BYTES, f"have at most {ATTRIBUTE_BYTES} bytes of attributes", length)
        _require(min(self.shape, default=0) >= 0, "have lengths of at least 0", self.shape)
        needed = math.prod(self.shape) * DTYPES[self.dtype].itemsize
        _require(self.size == needed, f"announce the {needed} bytes of its array", self.size)


@dataclass(frozen=True, slots=True)
class End(Message):
    """Simulation: no frame follows these ``frames``."""

    KIND, FORMAT = 3, struct.Struct("<q")
    frames: int


@dataclass(frozen=True, slots=True)
class Closed(Message):
    """Simulation: my books are closed."""

    KIND, FORMAT = 4, struct.Struct("<")


@dataclass(frozen=True, slots=True)
class Seen(Message):
    """Simulation: I have read how you stand, and have published so many frames."""

    KIND, FORMAT = 5, struct.Struct("<q")
    published: int


@dataclass(frozen=True, slots=True)
class Grant(Message):
    """Keeper: my slots ``pairs`` (slot, stream) are held out; flat int32 numbers."""

    KIND, FORMAT, MOST_TAIL = 6, struct.Struct("<"), 8 * MOST_GRANTS
    flat: bytes

    @classmethod
    def of(cls, pairs: list[tuple[int, int]]) -> "Grant":
        """At most ``MOST_GRANTS`` slots and the number of their stream."""
        return cls(struct.pack(f"<{2 * len(pairs)}i", *(number for pair in pairs for number in pair)))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Slots and the number of their stream."""
        return list(struct.iter_unpack("<ii", self.flat))

    def check(self) -> None:
        """Whole pairs."""
        _require(len(self.flat) % 8 == 0, "grant whole pairs", len(self.flat))


@dataclass(frozen=True, slots=True)
class Outcome(Message):
    """Keeper: how the frame of your slot ``source`` ended; with ``granted`` my slot ``slot`` is held out again."""

    KIND, FORMAT, MOST_TAIL = 7, struct.Struct("<iiqiiiq"), DETAIL_BYTES
    slot: int
    source: int
    sequence: int
    outcome: int
    attempts: int
    granted: int
    inferred_ns: int
    detail: bytes

    def check(self) -> None:
        """An outcome that we know."""
        _require(0 <= self.outcome < len(OUTCOMES), "name a known outcome", self.outcome)
        _require(self.inferred_ns >= 0, "have taken no negative time", self.inferred_ns)


@dataclass(frozen=True, slots=True)
class Standing(Message):
    """Keeper: how the worker and its supervisor stand, and which model answers."""

    KIND, FORMAT, MOST_TAIL = 8, struct.Struct("<iiq"), MODEL_BYTES
    consumer: int
    supervisor: int
    beat_age_ns: int
    model: bytes

    def check(self) -> None:
        """States that we know."""
        for state in (self.consumer, self.supervisor):
            _require(state in Side._value2member_map_, "name a known state", state)


@dataclass(frozen=True, slots=True)
class Proposal(Message):
    """Keeper: a record for your box."""

    KIND, FORMAT, MOST_TAIL = 9, struct.Struct("<"), BOX_BYTES
    record: bytes


@dataclass(frozen=True, slots=True)
class Refusal(Message):
    """Keeper: I do not serve you, for this reason."""

    KIND, FORMAT, MOST_TAIL = 10, struct.Struct("<"), 512
    text: bytes


ToKeeper = Hello | FrameHead | End | Closed | Seen
ToSimulation = Grant | Outcome | Standing | Proposal | Refusal

_TO_KEEPER = {kind.KIND: kind for kind in (Hello, FrameHead, End, Closed, Seen)}
_TO_SIMULATION = {kind.KIND: kind for kind in (Grant, Outcome, Standing, Proposal, Refusal)}

LARGEST_TO_KEEPER = _HEAD.size + FrameHead.FORMAT.size + FrameHead.MOST_TAIL
LARGEST_TO_SIMULATION = _HEAD.size + 1024


def decode_to_keeper(data: bytes) -> tuple[ToKeeper, int]:
    """A message from a simulation rank, and when it was sent on its clock.

    Raises
    ------
    MessageError
        If it is none.
    """
    kind, sent_ns = _head(data)
    _require(kind in _TO_KEEPER, "be of a kind that a simulation rank sends", kind)
    return _TO_KEEPER[kind].parse(data[_HEAD.size :]), sent_ns


def decode_to_simulation(data: bytes) -> tuple[ToSimulation, int]:
    """A message from a keeper, and when it was sent on its clock.

    Raises
    ------
    MessageError
        If it is none.
    """
    kind, sent_ns = _head(data)
    _require(kind in _TO_SIMULATION, "be of a kind that a keeper sends", kind)
    return _TO_SIMULATION[kind].parse(data[_HEAD.size :]), sent_ns


def _head(data: bytes) -> tuple[int, int]:
    _require(len(data) >= _HEAD.size, "have a head", len(data))
    letters, version, kind, sent_ns = _HEAD.unpack_from(data)
    _require(letters == LETTERS, "begin with CDIR", letters)
    if version != VERSION:
        raise MessageError(
            f"a message must be of version {VERSION}, got {version}; is the same program installed on every node?"
        )
    return int(kind), int(sent_ns)
