"""A snapshot of an operator as bytes, for an engine's checkpoint: a header that says where it stands, then states."""

import json
import struct
import zlib
from dataclasses import dataclass

from inference_insitu.transit.operators.lane import Lane, Phase
from inference_insitu.transit.operators.operator_state import StateRefusedError

MAGIC = b"CDISNAP1"

_HEAD = struct.Struct("<8sII")


@dataclass(frozen=True)
class Snapshot:
    """Of the operator of ``topic``: goes on behind ``offset``, with ``lanes`` and the encoded state of each."""

    topic: str
    offset: int
    lanes: tuple[tuple[Lane, bytes | memoryview], ...]

    def encode(self) -> bytes:
        """8 bytes of format, length and CRC-32 of the JSON header, the header, the states one after the other."""
        lanes = [
            {
                "rank": lane.rank,
                "analysis": lane.analysis,
                "version": lane.version,
                "phase": lane.phase.value,
                "step": lane.step,
                "offset": lane.offset,
                "dtype": lane.dtype,
                "shape": lane.shape,
                "holds": lane.holds,
                "prepared": lane.prepared,
                "bytes": len(state),
            }
            for lane, state in self.lanes
        ]
        head = json.dumps({"topic": self.topic, "offset": self.offset, "lanes": lanes}).encode()
        return b"".join((_HEAD.pack(MAGIC, len(head), zlib.crc32(head)), head, *(state for _, state in self.lanes)))

    @classmethod
    def decode(cls, encoded: bytes | memoryview) -> "Snapshot":
        """What ``encode`` made. The states have checksums of their own.

        Raises
        ------
        StateRefusedError
            If it is not that.
        """
        view = memoryview(encoded)
        if len(view) < _HEAD.size:
            raise StateRefusedError(f"a snapshot must have at least {_HEAD.size} bytes, got {len(view)}")
        magic, length, crc = _HEAD.unpack_from(view)
        place = _HEAD.size + length
        if magic != MAGIC or zlib.crc32(view[_HEAD.size : place]) != crc:
            raise StateRefusedError(f"a snapshot must begin with {MAGIC!r} and be whole, got {magic!r}")
        try:
            head = json.loads(bytes(view[_HEAD.size : place]))
            lanes = []
            for told in head["lanes"]:
                size, phase, shape = told.pop("bytes"), Phase(told.pop("phase")), tuple(told.pop("shape"))
                lanes.append((Lane(**told, phase=phase, shape=shape), view[place : place + size]))
                place += size
            if place != len(view):
                raise ValueError(f"{place} bytes are spoken of, got {len(view)}")
            return cls(head["topic"], head["offset"], tuple(lanes))
        except (ValueError, TypeError, KeyError) as error:
            raise StateRefusedError(f"the snapshot must be whole, got: {error}") from error
