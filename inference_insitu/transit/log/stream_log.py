"""The durable log between a simulation's site and a stream engine: what any broker behind it must do.

A *topic* is one partition of one stream of a run. Its records lie in one order and are numbered 1, 2, 3 …: the
*offset*, which no clock enters. A record is a header (JSON, what ``records`` writes) and a payload (raw bytes); the log
looks into neither. Free of any broker: ``redis_log`` is one.

Whoever reads says up to where it will never ask again (``commit``); what every reader has committed may be removed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

MOST_HEADER_BYTES = 1 << 20
MOST_PAYLOAD_BYTES = 1 << 28
"""Of one record. Larger arrays are written once and referred to (``payloads``)."""

ANSWERS, ALERTS, QUARANTINE, MOVES, FRAMES = "answers", "alerts", "quarantine", "moves", "frames"
KINDS = (FRAMES, ANSWERS, ALERTS, QUARANTINE, MOVES)

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class LogFull(RuntimeError):  # noqa: N818 (a state, which a policy answers)
    """The log takes no more now: its topic, its memory or its disk is full. Frames stay with whoever has them."""


class LogAway(RuntimeError):  # noqa: N818
    """The broker does not answer, and did not within the time that was allowed for it."""


@dataclass(frozen=True)
class Topic:
    """Partition ``partition`` of what ``kind`` of records ``run`` has; ``stream`` names whose frames they are.

    Answers, alerts, quarantine and moves are one topic a run, with ``stream`` empty.
    """

    run: str
    kind: str
    stream: str = ""
    partition: int = 0

    def __post_init__(self) -> None:
        if not _RUN.fullmatch(self.run):
            raise ValueError(f"run must be 1 to 64 letters, digits, '.', '_' or '-', got {self.run!r}")
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if bool(self.stream) != (self.kind == FRAMES):
            raise ValueError(f"stream must be given for frames and for nothing else, got {self.stream!r}")
        if len(self.stream.encode()) > 200:
            raise ValueError(f"stream must have at most 200 bytes, got {len(self.stream.encode())}")
        if not 0 <= self.partition < 1 << 16:
            raise ValueError(f"partition must lie in [0, 65535], got {self.partition}")

    @property
    def name(self) -> str:
        """What a broker calls it."""
        return f"{self.run}/{self.kind}/{quote(self.stream, safe='')}/{self.partition}"


def frames_topic(run: str, stream: str, rank: int, partitions: int) -> Topic:
    """Where the frames of ``stream`` on simulation rank ``rank`` go: always to the same partition."""
    if partitions < 1:
        raise ValueError(f"partitions must be at least 1, got {partitions}")
    return Topic(run, FRAMES, stream, rank % partitions)


@dataclass(frozen=True)
class Record:
    """What is appended."""

    header: bytes
    payload: bytes | memoryview = b""

    def __post_init__(self) -> None:
        if len(self.header) > MOST_HEADER_BYTES:
            raise ValueError(f"header must have at most {MOST_HEADER_BYTES} bytes, got {len(self.header)}")
        if len(self.payload) > MOST_PAYLOAD_BYTES:
            raise ValueError(f"payload must have at most {MOST_PAYLOAD_BYTES} bytes, got {len(self.payload)}")


@dataclass(frozen=True)
class Stored:
    """A record as the log gives it back."""

    offset: int
    header: bytes
    payload: bytes


@dataclass(frozen=True)
class Once:
    """Numbers the records of one writer: a number not above the last one that was appended is there already.

    The number of a frame is its step, and its writer is its stream and rank: whoever repeats an append whose
    acknowledgement was lost, or answers again after a restart, adds nothing.
    """

    writer: str
    number: int


@dataclass(frozen=True)
class Standing:
    """How a topic stands: offsets of the first and the last record there (0, 0 where none ever was), bytes held.

    ``first`` is ``last + 1`` where every record has been removed.
    """

    first: int
    last: int
    held_bytes: int


class StreamLog(Protocol):
    """A broker. Every call raises ``LogAway`` where it cannot be reached within its patience."""

    def append(self, topic: Topic, record: Record, *, once: Once | None = None) -> int | None:
        """Keep ``record``; it is durable when this returns. Its offset, or None where ``once`` says it is there.

        Raises
        ------
        LogFull
            If it cannot be kept; nothing was.
        """
        ...

    def append_all(self, topic: Topic, records: Sequence[tuple[Record, Once | None]]) -> list[int | None]:
        """``append`` for each in order, acknowledged together; those before a failure may have been kept."""
        ...

    def read(self, topic: Topic, *, after: int, count: int, wait_s: float = 0.0) -> list[Stored]:
        """Up to ``count`` records behind offset ``after``; waits at most ``wait_s`` for the first."""
        ...

    def standing(self, topic: Topic) -> Standing:
        """What the topic holds."""
        ...

    def register(self, topic: Topic, reader: str) -> int:
        """Let nothing be removed that ``reader`` has not committed; what it has committed so far."""
        ...

    def forget(self, topic: Topic, reader: str) -> None:
        """``reader`` will not read any more."""
        ...

    def commit(self, topic: Topic, reader: str, offset: int) -> None:
        """``reader`` will never ask for ``offset`` or anything before it again. Works in a full log too."""
        ...

    def committed(self, topic: Topic) -> Mapping[str, int]:
        """What each reader has committed."""
        ...

    def headers(self, topic: Topic, *, after: int, through: int, count: int) -> list[tuple[int, bytes]]:
        """Offsets and headers, without payloads, of up to ``count`` records in (``after``, ``through``]."""
        ...

    def trim(self, topic: Topic, *, through: int) -> int:
        """Remove the records up to ``through``, as far as every reader has committed; the offset reached."""
        ...

    def close(self) -> None:
        """Let go of the broker."""
        ...


def lag(log: StreamLog, topic: Topic, reader: str) -> int:
    """How many records ``reader`` has not committed."""
    return log.standing(topic).last - log.committed(topic).get(reader, 0)
