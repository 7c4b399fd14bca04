"""A keeper's end of a relay: talks to one simulation rank, and keeps the ring that stands for its own here."""

import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from inference_insitu.placement.relay_message import (
    LARGEST_TO_KEEPER,
    MOST_GRANTS,
    Closed,
    End,
    FrameHead,
    Grant,
    Hello,
    Message,
    MessageError,
    Proposal,
    Refusal,
    Seen,
    Standing,
    ToKeeper,
    decode_to_keeper,
)
from inference_insitu.placement.relay_ring import RelayedRing, SlotsOf, relayed_layout
from inference_insitu.placement.relay_wire import (
    LAYOUT_TAG,
    TO_KEEPER_TAG,
    TO_SIMULATION_TAG,
    Mailbox,
    Receiving,
    Wire,
    WireError,
)
from inference_insitu.ring.layout import Side, Word

STANDING_NS = 1_000_000_000
"""How often a simulation rank is told that all is well; the next time only once it has read the last one."""
END_TIMEOUT_NS = 5_000_000_000
OVER = (Side.FAILED, Side.CLOSED)


class Receiver:
    """Serves one simulation rank by way of ``wire``.

    Parameters
    ----------
    wire : Wire
    rank : its number among the simulation's ranks.
    path : where its ring is made.
    slots_of : stream and the number of its slots there → the number of slots here.
    tell : one line on what went wrong with it.
    """

    def __init__(self, wire: Wire, *, rank: int, path: Path, slots_of: SlotsOf, tell: Callable[[str], None]) -> None:
        self._wire, self._rank, self.path, self._slots_of, self._tell = wire, rank, path, slots_of, tell
        self._ring: RelayedRing | None = None
        self._hello: tuple[Hello, bytearray, Receiving] | None = None
        self._offset_ns: int | None = None
        self._granted = False
        self._end_after = -1
        self._parted = False
        self._told: tuple[int, ...] | None = None
        self._told_ns, self._unread, self._closing_ns = 0, 0, 0
        self.over = False
        """Whether the simulation rank has closed its books, is lost, or is not served."""
        self._attempt(self._open_mail)

    @property
    def has_ring(self) -> bool:
        """Whether there is a ring for the worker."""
        return self._ring is not None

    def progress(self) -> bool:
        """Move everything on; whether there was anything to do. Never waits."""
        return not self.over and self._attempt(self._step)

    def close(self) -> None:
        """Take all memory back from the network, and remove the ring."""
        if not self._parted:
            with suppress(WireError):
                self._part()
        if self._ring is not None:
            self._ring.region.unlink()

    def _attempt(self, act: Callable[[], bool]) -> bool:
        try:
            return act()
        except WireError as error:
            self._lose(str(error))
        except (MessageError, OSError) as error:
            self._refuse(str(error))
        return True

    def _open_mail(self) -> bool:
        self._mail = Mailbox(
            self._wire, send_tag=TO_SIMULATION_TAG, receive_tag=TO_KEEPER_TAG, largest=LARGEST_TO_KEEPER
        )
        return True

    def _step(self) -> bool:
        busy = False
        while (data := self._mail.take()) is not None:
            message, sent_ns = decode_to_keeper(data)
            offset_ns = time.monotonic_ns() - sent_ns
            # The quickest message tells best how the two clocks stand; ours is late by its way.
            self._offset_ns = offset_ns if self._offset_ns is None else min(offset_ns, self._offset_ns)
            self._handle(message)
            busy = True
        self._mail.sent()
        if self._hello is not None:
            return self._welcome() or busy
        return busy if self._ring is None else self._serve(self._ring) or busy

    def _serve(self, ring: RelayedRing) -> bool:
        # Looked at before the slots: what a worker settled before it ended is told before its end.
        standing = self._standing(ring)
        landed = ring.land(self._offset_ns or 0)
        if landed:
            self._say_ending(ring)
        outcomes = ring.harvest(over=standing[1] in OVER)
        for outcome in outcomes:
            self._post(outcome)
        if not self._granted and standing[0] == Side.READY:
            self._grant(ring)
        for record in ring.region.collect():
            self._post(Proposal(record))
        self._tell_standing(ring, standing)
        if self._closing_ns:
            self._finish(ring)
        return landed or bool(outcomes)

    def _handle(self, message: ToKeeper) -> None:
        if isinstance(message, Hello):
            self._greeted(message)
            return
        ring = self._ring
        if ring is None:
            raise MessageError(f"a message must follow a hello, got {type(message).__name__} from rank {self._rank}")
        match message:
            case FrameHead():
                ring.announce(message)
            case Seen():
                self._unread -= 1
                ring.words[Word.PUBLISHED] = message.published
            case End():
                self._end_after = message.frames
                self._say_ending(ring)
            case Closed():
                self._closing_ns = time.monotonic_ns()
                ring.close()

    def _greeted(self, hello: Hello) -> None:
        if self._hello is not None or self._ring is not None:
            raise MessageError(f"a hello must come once, got another one from rank {self._rank}")
        if hello.rank != self._rank:
            raise MessageError(f"a hello must be of simulation rank {self._rank}, got one of {hello.rank}")
        buffer = bytearray(hello.layout_bytes)
        receiving = self._wire.receiving(memoryview(buffer), LAYOUT_TAG)
        receiving.start()
        self._hello = hello, buffer, receiving

    def _welcome(self) -> bool:
        """Make the ring once its layout has come."""
        assert self._hello is not None
        hello, buffer, receiving = self._hello
        size = receiving.received()
        if size is None:
            return False
        if size != hello.layout_bytes or zlib.crc32(buffer) != hello.layout_check:
            raise MessageError(f"a layout must be the announced one, got {size} bytes from rank {self._rank}")
        receiving.cancel()
        layout = relayed_layout(bytes(buffer), self._slots_of)
        origin_ns = hello.origin_ns + (self._offset_ns or 0)
        self._ring = RelayedRing(self._wire, layout, rank=self._rank, path=self.path, origin_ns=origin_ns)
        self._hello = None
        return True

    def _grant(self, ring: RelayedRing) -> None:
        """Hold every slot out; only now, so that before a worker is ready a newer frame replaces what waits."""
        self._granted = True
        pairs = ring.hold_out()
        for start in range(0, len(pairs), MOST_GRANTS):
            self._post(Grant.of(pairs[start : start + MOST_GRANTS]))

    def _standing(self, ring: RelayedRing) -> tuple[int, int]:
        return ring.words[Word.CONSUMER_STATE], ring.words[Word.SUPERVISOR_STATE]

    def _tell_standing(self, ring: RelayedRing, standing: tuple[int, int]) -> None:
        now = time.monotonic_ns()
        due = not self._unread and now - self._told_ns > STANDING_NS
        if standing == self._told and not due:
            return
        self._told, self._told_ns = standing, now
        self._unread += 1
        beat_age_ns = now - ring.words[Word.CONSUMER_BEAT_NS]
        self._post(Standing(*standing, beat_age_ns, ring.region.model.encode()[: Standing.MOST_TAIL]))

    def _say_ending(self, ring: RelayedRing) -> None:
        if ring.frames == self._end_after and ring.words[Word.PRODUCER_STATE] == Side.READY:
            ring.say(Side.ENDING)

    def _finish(self, ring: RelayedRing) -> None:
        late = time.monotonic_ns() - self._closing_ns > END_TIMEOUT_NS
        if late or (ring.settled and self._mail.sent()):
            self._part()
            self.over = True

    def _part(self) -> None:
        self._parted = True
        if self._ring is not None:
            self._ring.give_up()
        if self._hello is not None:
            self._hello[2].cancel()
        self._mail.close()

    def _post(self, message: Message) -> None:
        self._mail.post(message.encode(time.monotonic_ns()))

    def _refuse(self, why: str) -> None:
        """Serve this rank no more, and tell it why."""
        line = " ".join(why.split())
        self._tell(f"simulation rank {self._rank} is not served: {line}")
        self.over = True
        if self._ring is not None:
            self._ring.say(Side.CLOSED)
        try:
            self._post(Refusal(line.encode()[: Refusal.MOST_TAIL]))
        except WireError:
            return

    def _lose(self, why: str) -> None:
        self._tell(f"simulation rank {self._rank} is lost: {why}")
        self.over = self._parted = True  # nothing is to be had back from a rank that died
        if self._ring is not None:
            self._ring.orphan()
