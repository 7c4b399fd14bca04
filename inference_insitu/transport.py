"""Messages between the simulation and an inference rank, and the queue twin of the MPI link.

A ``Link`` never waits: ``send`` starts a transfer, ``receive`` returns what has arrived. All
waiting is done above it, with a timeout. The protocol on top of it (``publisher``, ``service``):

    simulation                              inference
        ──  hello (t)                  ──▶
        ◀─  ready (t)                   ──       one credit: one frame may be under way
        ──  frame (step, …; intensity) ──▶
        ◀─  outcome (step, …)           ──       the credit comes back
        ──  alive                      ──▶       heartbeat between frames
        ──  end                        ──▶
        ◀─  closed (counts)             ──
"""

import json
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
_PREFIX = 8


@dataclass(frozen=True)
class Message:
    """A ``kind``, JSON-compatible ``fields`` and at most one float32 ``array``."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    array: NDArray[np.float32] | None = None

    def encode(self) -> Bytes:
        """One contiguous buffer: length of the JSON header (8 bytes, little endian), header, array."""
        shape = None if self.array is None else list(self.array.shape)
        header = json.dumps({"kind": self.kind, "fields": self.fields, "shape": shape}).encode()
        body = b"" if self.array is None else np.ascontiguousarray(self.array, "<f4").tobytes()
        return np.frombuffer(len(header).to_bytes(_PREFIX, "little") + header + body, np.uint8)

    @classmethod
    def decode(cls, buffer: Bytes) -> "Message":
        """The message that ``encode`` wrote."""
        data = buffer.tobytes()
        end = _PREFIX + int.from_bytes(data[:_PREFIX], "little")
        header = json.loads(data[_PREFIX:end])
        array = None if header["shape"] is None else np.frombuffer(data, "<f4", offset=end).reshape(header["shape"])
        return cls(header["kind"], header["fields"], array)


class Link(Protocol):
    """One side of a connection; no method ever waits."""

    def send(self, message: Message) -> None:
        """Start sending; the message is kept until it is delivered."""

    def receive(self) -> Message | None:
        """The next message that has wholly arrived, or None."""

    def pending(self) -> int:
        """Messages whose sending has not finished."""


class QueueLink:
    """The twin without MPI: two queues between threads; the same bytes go through."""

    def __init__(self, outgoing: "queue.SimpleQueue[Bytes]", incoming: "queue.SimpleQueue[Bytes]") -> None:
        self._outgoing, self._incoming = outgoing, incoming

    @classmethod
    def pair(cls) -> tuple["QueueLink", "QueueLink"]:
        """Both ends of one connection."""
        there: queue.SimpleQueue[Bytes] = queue.SimpleQueue()
        back: queue.SimpleQueue[Bytes] = queue.SimpleQueue()
        return cls(there, back), cls(back, there)

    def send(self, message: Message) -> None:
        """Put the encoded message into the outgoing queue."""
        self._outgoing.put(message.encode())

    def receive(self) -> Message | None:
        """The next message of the incoming queue, or None."""
        try:
            return Message.decode(self._incoming.get_nowait())
        except queue.Empty:
            return None

    def pending(self) -> int:
        """Always 0: a queue takes everything at once."""
        return 0


def wait_until(condition: Callable[[], bool], *, timeout_s: float, interval_s: float = 0.002) -> bool:
    """Whether ``condition`` came true within ``timeout_s``, looked at every ``interval_s``.

    Sleeping between looks leaves the core to the simulation; MPI's own waits spin.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(interval_s)
    return True


def wait_for_message(link: Link, kind: str, *, timeout_s: float) -> Message:
    """The next message, which must be of ``kind``.

    Raises
    ------
    TimeoutError
        If nothing arrives in time.
    ValueError
        If something else arrives.
    """
    arrived: list[Message] = []

    def look() -> bool:
        message = link.receive()
        if message is not None:
            arrived.append(message)
        return bool(arrived)

    if not wait_until(look, timeout_s=timeout_s):
        raise TimeoutError(f"no {kind!r} message within {timeout_s:g} s")
    if arrived[0].kind != kind:
        raise ValueError(f"message must be {kind!r}, got {arrived[0].kind!r}")
    return arrived[0]
