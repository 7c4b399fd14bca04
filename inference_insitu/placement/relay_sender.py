"""A simulation rank's end of a relay: its frames leave by messages, and what inference says comes back by them.

The ring lies in this rank's own memory, and a frame's slot stays taken until its outcome is here. What
is under way is therefore not lost with the keeper: a worker of this rank's own can take it over.
"""

import sys
import time
import zlib
from collections.abc import Callable

from inference_insitu.inference.supervisor import Supervisor
from inference_insitu.placement.carrier import OfRing, SharedMemory
from inference_insitu.placement.relay_message import (
    LARGEST_TO_SIMULATION,
    Closed,
    End,
    Grant,
    Hello,
    Message,
    MessageError,
    Outcome,
    Proposal,
    Refusal,
    Seen,
    Standing,
    ToSimulation,
    decode_to_simulation,
)
from inference_insitu.placement.relay_outbox import Outbox
from inference_insitu.placement.relay_wire import (
    LAYOUT_TAG,
    TO_KEEPER_TAG,
    TO_SIMULATION_TAG,
    Mailbox,
    Wire,
    WireError,
)
from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.region import Region
from inference_insitu.waiting import wait_until
from inference_insitu.watching.events import EventLog

SILENCE_NS = 60_000_000_000
"""A keeper that has said nothing for so long, while we listened, counts as lost."""
INATTENTION_NS = 1_000_000_000
"""Between calls further apart than this we did not listen."""
END_TIMEOUT_S = 5.0

_PRODUCER_STATE, _PUBLISHED, _SUPERVISOR = int(Word.PRODUCER_STATE), int(Word.PUBLISHED), int(Word.SUPERVISOR_STATE)
_FILLED = int(Word.FILLED)
_ENDING, _CLOSED = int(Side.ENDING), int(Side.CLOSED)


class Sender(OfRing):
    """Relays the frames of ``region``, which this process created; implements ``placement.carrier.Carrier``.

    Parameters
    ----------
    region : Region
    wire : to the keeper that serves this rank.
    events : told of a proposal for which there is no room; the first one.
    take_over : starts a worker here once the keeper is lost, or None; the region must then have a path.
    """

    carries = True

    def __init__(
        self, region: Region, wire: Wire, *, events: EventLog, take_over: Callable[[], Supervisor] | None = None
    ) -> None:
        super().__init__(region)
        self._wire, self._events, self._take_over = wire, events, take_over
        self._outbox = Outbox(region, wire)
        self._looked = 0
        self._end_told = self._closed_told = False
        self._refused = False
        self._lost = False
        self._local: SharedMemory | None = None
        self._listened_ns = self._heard_ns = time.monotonic_ns()
        self._attempt(self._greet)

    def progress(self) -> None:
        """Send what can be sent and take in what has come; never waits."""
        if self._local is not None:
            self._local.progress()
        elif not self._lost:
            self._attempt(self._step)

    @property
    def supervisor_lost(self) -> bool:
        """Whether the keeper has died or is silent."""
        return self._lost

    def close(self) -> None:
        """The end: say so, bounded in time, and free what is ours."""
        self.progress()
        if self._local is not None:
            self._local.close()
        elif not self._lost:
            wait_until(self._all_sent, timeout_s=END_TIMEOUT_S)
            if not self._lost:
                self._attempt(self._mail.close)
        self._region.unlink()

    def _all_sent(self) -> bool:
        self.progress()
        try:
            return self._lost or (self._mail.sent() and self._layout.done() and self._outbox.done())
        except WireError as error:
            self._lose(str(error))
            return True

    def _attempt(self, act: Callable[[], None]) -> None:
        try:
            act()
        except WireError as error:
            self._lose(str(error))
        except MessageError as error:
            self._refuse(f"what the keeper sends is not understood: {error}")

    def _greet(self) -> None:
        self._mail = Mailbox(
            self._wire, send_tag=TO_KEEPER_TAG, receive_tag=TO_SIMULATION_TAG, largest=LARGEST_TO_SIMULATION
        )
        layout = self._region.layout.encode()
        origin = self._words[Word.ORIGIN_NS] or time.monotonic_ns()
        self._post(Hello(self._words[Word.RANK], len(layout), zlib.crc32(layout), origin))
        self._layout = self._wire.send(layout, LAYOUT_TAG)

    def _step(self) -> None:
        now = time.monotonic_ns()
        if now - self._listened_ns > INATTENTION_NS:
            self._heard_ns += now - self._listened_ns
        self._listened_ns = now
        credit = False
        while (data := self._mail.take()) is not None:
            self._heard_ns = now
            credit |= self._handle(decode_to_simulation(data)[0])
        if self._outbox.early:
            self._outbox.settle_early()
        words = self._words
        published = words[_PUBLISHED] + words[_FILLED]
        if credit or published != self._looked:
            self._looked = published
            self._send_waiting()
        if words[_PRODUCER_STATE] >= _ENDING:
            self._tell_end(closed=words[_PRODUCER_STATE] >= _CLOSED)
        self._mail.sent()
        if now - self._heard_ns > SILENCE_NS:
            self._lose(f"no sign of life for {SILENCE_NS * 1e-9:g} s")

    def _handle(self, message: ToSimulation) -> bool:
        """Take ``message`` in; whether it may bring a credit."""
        match message:
            case Grant():
                self._outbox.grant(message)
                return True
            case Outcome():
                self._outbox.ended(message)
                return bool(message.granted)
            case Standing():
                self._stands(message)
            case Proposal():
                if not self._region.leave(message.record):
                    self._events.first("proposal_lost", "", rank=self._words[Word.RANK])
            case Refusal():
                self._refuse(message.text.decode(errors="replace"))
        return False

    def _stands(self, standing: Standing) -> None:
        words, now = self._words, time.monotonic_ns()
        if not self._refused:
            words[Word.CONSUMER_BEAT_NS] = now - max(standing.beat_age_ns, 0)
            self._region.model = standing.model.decode(errors="replace")
            words[Word.CONSUMER_STATE], words[Word.SUPERVISOR_STATE] = standing.consumer, standing.supervisor
        self._post(Seen(words[Word.PUBLISHED]))

    def _send_waiting(self) -> None:
        if self._refused or self._words[_SUPERVISOR] >= _CLOSED:  # FAILED too
            return
        for number, into in self._outbox.next():
            head = self._outbox.take(number, into)
            self._post(head)
            self._outbox.send(head)

    def _tell_end(self, *, closed: bool) -> None:
        if not self._end_told and not self._refused and not self._outbox.waiting:
            self._end_told = True
            self._post(End(self._outbox.sent))
        if closed and not self._closed_told:
            self._closed_told = True
            self._post(Closed())

    def _post(self, message: Message) -> None:
        self._mail.post(message.encode(time.monotonic_ns()))

    def _refuse(self, why: str) -> None:
        """Nobody infers for us; the keeper lives, and is told when we end."""
        if not self._refused:
            self._refused = True
            self._fail(why)

    def _lose(self, why: str) -> None:
        """The keeper is gone: no message is exchanged any more."""
        self._lost = True
        if self._take_over is None or self._words[_PRODUCER_STATE] >= Side.CLOSED:
            self._fail(f"the rank that supervises inference is lost: {why}")
            return
        self._say(f"the rank that supervises inference is lost, this rank takes over: {why}")
        # What was under way is claimed by a reader that died: the new one's recovery gives it another try.
        try:
            self._local = SharedMemory(self._region, self._take_over())
        except Exception as error:
            self._fail(f"no worker can be started here: {type(error).__name__}: {error}")

    def _fail(self, why: str) -> None:
        self._words[Word.CONSUMER_STATE], self._words[Word.SUPERVISOR_STATE] = Side.ABSENT, Side.FAILED
        self._say(why)

    def _say(self, why: str) -> None:
        text = " ".join(why.split())
        print(f"cdi: simulation rank {self._words[Word.RANK]}: {text}", file=sys.stderr, flush=True)
