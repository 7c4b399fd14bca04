"""Messages between a simulation rank and the one that infers for it: what carries them, and letter boxes. Free of MPI.

A wire is between two ranks. It behaves as MPI does: messages of one tag arrive in the order in which
they were sent and go to the buffers in the order in which these were held out. Nothing here waits.
Whatever is under way moves on inside these calls only: while a simulation computes, its messages rest
(unless the network moves them by itself, as RDMA does).
"""

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from cdi.errors import RunError
from inference_insitu.ring.layout import Layout

Data = bytes | memoryview

TO_KEEPER_TAG, TO_SIMULATION_TAG, LAYOUT_TAG, PAYLOAD_TAG = 1, 2, 3, 16
"""``PAYLOAD_TAG + n`` is that of what goes into the slot ``n``."""
LAST_TAG = 32767
"""The largest that every MPI has."""
PIECE_BYTES = 1 << 30
"""A payload travels in pieces of at most so many bytes: some libraries count with 31 bits."""
DEPTH = 8
"""Buffers held out for short messages; more than that wait inside the MPI library."""


class WireError(RunError):
    """The other side cannot be reached any more."""


class Sending(Protocol):
    """A message under way; its memory must not change before it is ``done``."""

    def done(self) -> bool:
        """Whether its memory may be used again."""


class Receiving(Protocol):
    """A buffer of which each ``start`` holds it out for one message."""

    def start(self) -> None:
        """Hold the buffer out."""

    def received(self) -> int | None:
        """Bytes of the message that has arrived; None before."""

    def cancel(self) -> None:
        """Take the buffer back for good, if nothing is on its way to it; ``received`` then never gives a number."""


class Wire(Protocol):
    """Connects this rank to one other. Every method raises ``WireError`` where the other one is gone."""

    def send(self, data: Data, tag: int) -> Sending:
        """Start to send."""

    def receiving(self, into: memoryview, tag: int) -> Receiving:
        """A buffer for messages of ``tag``; not held out yet."""


class Mailbox:
    """Short messages to the other side and from there, in order.

    Parameters
    ----------
    wire : Wire
    send_tag, receive_tag : of the two directions.
    largest : most bytes of a message that is received.
    """

    def __init__(self, wire: Wire, *, send_tag: int, receive_tag: int, largest: int) -> None:
        self._wire, self._send_tag = wire, send_tag
        self._sending: deque[Sending] = deque()
        self._boxes: deque[tuple[memoryview, Receiving]] = deque()
        for _ in range(DEPTH):
            buffer = memoryview(bytearray(largest))
            receiving = wire.receiving(buffer, receive_tag)
            receiving.start()
            self._boxes.append((buffer, receiving))

    def post(self, data: bytes) -> None:
        """Send ``data`` behind all that was posted before."""
        self._sending.append(self._wire.send(data, self._send_tag))

    def take(self) -> bytes | None:
        """The next message; None while there is none."""
        buffer, receiving = self._boxes[0]
        size = receiving.received()
        if size is None:
            return None
        data = bytes(buffer[:size])
        receiving.start()
        self._boxes.rotate(-1)
        return data

    def sent(self) -> bool:
        """Whether all that was posted is on its way for good."""
        sending = self._sending
        while sending and sending[0].done():
            sending.popleft()
        return not sending

    def close(self) -> None:
        """Take the buffers back."""
        for _, receiving in self._boxes:
            receiving.cancel()


class Payload:
    """A payload that is being sent: read where it lies, without a copy."""

    def __init__(self, wire: Wire, slot: int, payload: memoryview, *, size: int, capacity: int) -> None:
        self._pieces = [wire.send(piece, PAYLOAD_TAG + slot) for piece in pieces(payload, size, capacity)]

    def done(self) -> bool:
        """Whether its memory may be used again."""
        while self._pieces and self._pieces[-1].done():
            self._pieces.pop()
        return not self._pieces


class Landing:
    """The memory of a slot, held out for payloads, which arrive there without a copy."""

    def __init__(self, wire: Wire, slot: int, payload: memoryview) -> None:
        capacity = len(payload)
        self._pieces = [wire.receiving(piece, PAYLOAD_TAG + slot) for piece in pieces(payload, capacity, capacity)]
        self._sizes: list[int] = []

    def start(self) -> None:
        """Hold it out for the next one."""
        self._sizes = []
        for piece in self._pieces:
            piece.start()

    def landed(self) -> int | None:
        """Bytes of the payload that has arrived; None before."""
        while len(self._sizes) < len(self._pieces):
            size = self._pieces[len(self._sizes)].received()
            if size is None:
                return None
            self._sizes.append(size)
        return sum(self._sizes)

    def cancel(self) -> None:
        """Take it back for good."""
        for piece in self._pieces:
            piece.cancel()


def pieces(payload: memoryview, size: int, capacity: int) -> Iterator[memoryview]:
    """The first ``size`` bytes in as many pieces as a slot of ``capacity`` has, the last ones maybe empty."""
    for start in range(0, max(capacity, 1), PIECE_BYTES):
        yield payload[min(start, size) : min(start + PIECE_BYTES, size)]


def stream_capacities(layout: Layout) -> dict[str, int]:
    """Bytes of the largest frame of each stream, in the order by which messages number the streams."""
    found: dict[str, int] = {}
    for group in layout.groups:
        found[group.stream] = max(group.capacity, found.get(group.stream, 0))
    return found
