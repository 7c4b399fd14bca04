"""Frames with their truth, as they are kept in files and given to who trains.

A frame carries its truth in the attribute ``truth``: a mapping whose keys the training plugin knows, and ``crystal``, a
text or a whole number that names what must stand on one side of a split. Anything may come in an attribute: it is plain
and finite, or the frame is set aside.
"""

import hashlib
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from cdi.requirements import require
from inference_insitu.inference.analysis import plain_values
from inference_insitu.inference.frame import Frame
from inference_insitu.transit.log.codec import decoded_as, encoded
from inference_insitu.transit.log.records import FrameRecord, PoisonedRecordError
from inference_insitu.transit.log.stream_log import Stored

TRUTH, CRYSTAL = "truth", "crystal"
MAGIC = b"CDIEXMP1"
_HEAD = struct.Struct("<8sIQI")
"""Format; bytes of the header and of the payload; CRC-32 of both."""


@dataclass(frozen=True, eq=False)
class Example:
    """A frame and what it shows. ``attributes`` are those of the frame without the truth."""

    stream: str
    rank: int
    step: int
    array: NDArray[Any]
    attributes: Mapping[str, Any]
    truth: Mapping[str, Any]
    group: str

    @property
    def frame(self) -> Frame:
        """As an analysis sees it."""
        return Frame(self.stream, self.rank, self.step, self.array, self.attributes)


def truth_of(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """The truth that a frame comes with; None where it has none.

    Raises
    ------
    ValueError
        If it is no mapping of plain, finite values.
    """
    told = attributes.get(TRUTH)
    if told is None:
        return None
    require(isinstance(told, Mapping), TRUTH, "be a mapping", type(told).__name__)
    crystal = told.get(CRYSTAL, "")
    whole = isinstance(crystal, str | int) and not isinstance(crystal, bool)
    require(whole, f"{TRUTH}.{CRYSTAL}", "be a text or a whole number", type(crystal).__name__)
    try:
        return plain_values(told)
    except (FloatingPointError, TypeError, RecursionError) as error:
        raise ValueError(f"{TRUTH} must hold plain finite values, got: {error}") from error


def group_of(record: FrameRecord, truth: Mapping[str, Any], block: int) -> str:
    """What the frame must not be parted from: its crystal, or the ``block`` of steps of its rank."""
    named = truth.get(CRYSTAL, "")
    place = f"crystal {named}" if named != "" else f"{record.rank} {record.step // block}"
    return f"{record.run}/{record.stream}/{place}"


def is_held_out(group: str, share: float) -> bool:
    """Whether ``group`` is of the ``share`` that is never trained on; the same in every life, on every machine."""
    number = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big")
    return number < share * 2.0**64


def example(record: FrameRecord, data: bytes | memoryview, block: int) -> Example:
    """The frame of ``record``, whose bytes are ``data``, with its truth.

    Raises
    ------
    ValueError
        If it has none, or the truth is none.
    """
    truth = truth_of(record.attributes)
    if truth is None:
        raise ValueError(f"step {record.step} of rank {record.rank} must come with its {TRUTH}, got none")
    attributes = {name: value for name, value in record.attributes.items() if name != TRUTH}
    array = record.array(data)
    group = group_of(record, truth, block)
    return Example(record.stream, record.rank, record.step, array, attributes, truth, group)


def to_bytes(record: FrameRecord) -> bytes:
    """``record``, with its payload within, as a file."""
    made = encoded(record)
    crc = zlib.crc32(made.payload, zlib.crc32(made.header))
    return _HEAD.pack(MAGIC, len(made.header), len(made.payload), crc) + made.header + bytes(made.payload)


def from_bytes(content: bytes) -> FrameRecord:
    """What ``to_bytes`` made.

    Raises
    ------
    ValueError
        If it is cut, damaged, or no such file.
    """
    if len(content) < _HEAD.size:
        raise ValueError(f"a kept frame must have at least {_HEAD.size} bytes, got {len(content)}")
    magic, header, payload, crc = _HEAD.unpack_from(content)
    body = content[_HEAD.size :]
    if magic != MAGIC or len(body) != header + payload or zlib.crc32(body) != crc:
        raise ValueError(f"a kept frame must begin with {MAGIC!r} and be whole, got {len(content)} bytes of {magic!r}")
    try:
        return decoded_as(FrameRecord, Stored(0, body[:header], body[header:]))
    except PoisonedRecordError as error:
        raise ValueError(f"a kept frame must be a frame, got: {error}") from error
