"""The state of an analysis for one stream and rank, as it moves between machines: plain bytes, versioned and checked.

8 bytes that name the format, two uint32 (length of the header, CRC-32 of all that follows), a JSON header, the bytes
that ``Analysis.state`` gave.
"""

import json
import struct
import zlib
from dataclasses import dataclass

from cdi.requirements import require

MAGIC = b"CDISTATE"
VERSION = 1
MOST_HEADER_BYTES = 1 << 16

_HEAD = struct.Struct("<8sII")


class StateRefusedError(ValueError):
    """A state that must not be installed here."""


@dataclass(frozen=True)
class OperatorState:
    """What ``analysis`` with ``model`` has kept of ``stream`` and ``rank`` after it answered ``step`` (−1: nothing)."""

    analysis: str
    model: str
    stream: str
    rank: int
    step: int
    data: bytes | memoryview = b""

    def encode(self) -> bytes:
        """As it is sent."""
        header = {name: value for name, value in vars(self).items() if name != "data"}
        head = json.dumps({"version": VERSION, **header}).encode()
        crc = zlib.crc32(self.data, zlib.crc32(head))
        return b"".join((_HEAD.pack(MAGIC, len(head), crc), head, self.data))

    @classmethod
    def decode(cls, encoded: bytes | memoryview) -> "OperatorState":
        """What ``encode`` made.

        Raises
        ------
        StateRefusedError
            If it is of another version, cut short, damaged, or no state at all.
        """
        view = memoryview(encoded)
        if len(view) < _HEAD.size:
            raise StateRefusedError(f"a state must have at least {_HEAD.size} bytes, got {len(view)}")
        magic, length, crc = _HEAD.unpack_from(view)
        if magic != MAGIC or length > MOST_HEADER_BYTES:
            raise StateRefusedError(f"a state must begin with {MAGIC!r}, got {magic!r}")
        body = view[_HEAD.size :]
        if len(body) < length or zlib.crc32(body) != crc:
            raise StateRefusedError(f"the state's checksum must be {crc}, got {zlib.crc32(body)}: it is damaged or cut")
        try:
            header = json.loads(bytes(body[:length]))
            version = header.pop("version")
            require(version == VERSION, "the state's version", f"be {VERSION}", version)
            return cls(**header, data=body[length:])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StateRefusedError(f"the state must be one of version {VERSION}, got: {error}") from error

    def check(self, *, analysis: str, model: str, stream: str, rank: int) -> None:
        """It is a state of just this.

        Raises
        ------
        StateRefusedError
            If it is of another analysis, model, stream or rank.
        """
        expected = (analysis, model, stream, rank)
        got = (self.analysis, self.model, self.stream, self.rank)
        if got != expected:
            raise StateRefusedError(
                f"the state must be of (analysis, model, stream, rank) {expected}, got one of {got}"
            )
