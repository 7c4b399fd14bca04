"""The simulation's side of the coupling: hands frames over and never waits for the network.

One frame at a time is under way to each inference rank (its credit). While none is free the
newest frame waits in a mailbox of one slot; a frame that it replaces is dropped as
``superseded``. ``poll`` takes outcomes in and hands over what waits; the simulation calls it
every few steps, so that a free inference rank does not idle until the next coupling step.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from inference_insitu.books import INFERRED, Books
from inference_insitu.frame import Frame, Outcome
from inference_insitu.transport import Link, Message, wait_for_message, wait_until

Clock = Callable[[], float]
PINGS = 8


@dataclass
class _Peer:
    """One inference rank as its root sees it."""

    link: Link
    clock_offset_s: float = 0.0
    under_way: int | None = None
    last_sent: float = 0.0
    closed: bool = False
    counts: dict[str, int] = field(default_factory=dict)


class Publisher:
    """Publishes frames to the inference ranks behind ``links``.

    Parameters
    ----------
    links : one to each inference rank.
    heartbeat_s : longest silence towards an inference rank while the simulation runs.
    clock : seconds from any origin.
    """

    def __init__(self, links: Sequence[Link], *, heartbeat_s: float = 5.0, clock: Clock = time.monotonic) -> None:
        if not links:
            raise ValueError("links must hold at least one inference rank, got none")
        self.books = Books()
        self.unanswering = 0
        self._peers = [_Peer(link) for link in links]
        self._waiting: Frame | None = None
        self._published_at: dict[int, float] = {}
        self._heartbeat_s = heartbeat_s
        self._clock = clock

    def connect(self, *, timeout_s: float) -> None:
        """Meet every inference rank and measure its clock against ours (half the shortest round trip).

        Raises
        ------
        TimeoutError
            If one does not answer.
        """
        for peer in self._peers:
            trips = []
            for _ in range(PINGS):
                asked = self._clock()
                self._send(peer, Message("hello"))
                theirs = wait_for_message(peer.link, "ready", timeout_s=timeout_s).fields["clock"]
                answered = self._clock()
                trips.append((answered - asked, theirs - (asked + answered) / 2))
            peer.clock_offset_s = min(trips)[1]

    def publish(self, frame: Frame) -> None:
        """Hand ``frame`` over, or keep it as the newest; returns at once either way."""
        self.books.publish()
        self._published_at[frame.step] = self._clock()
        self._take_outcomes()
        if self._waiting is not None:
            self._settle(self._waiting.step, "superseded")
        self._waiting = frame
        self._hand_over()

    def poll(self) -> None:
        """Take outcomes in, hand the waiting frame over if an inference rank is free, keep links alive."""
        self._take_outcomes()
        self._hand_over()
        now = self._clock()
        for peer in self._peers:
            if now - peer.last_sent > self._heartbeat_s and peer.link.pending() == 0:
                self._send(peer, Message("alive"))

    def finish(self, *, timeout_s: float) -> Books:
        """Wait, at most ``timeout_s``, for what is under way; then close the links and the books.

        Afterwards ``unanswering`` is the number of inference ranks that did not close in time.
        """
        deadline = self._clock() + timeout_s

        def left() -> float:
            return max(0.0, deadline - self._clock())

        wait_until(self._idle, timeout_s=left())
        if self._waiting is not None:
            self._settle(self._waiting.step, "undelivered")
            self._waiting = None
        for peer in self._peers:
            self._send(peer, Message("end"))
        wait_until(self._all_closed, timeout_s=left())
        for peer in self._peers:
            if peer.under_way is not None:
                self._settle(peer.under_way, "unanswered")
        self.unanswering = sum(not peer.closed for peer in self._peers)
        return self.books

    def _idle(self) -> bool:
        self.poll()
        return self._waiting is None and all(peer.under_way is None for peer in self._peers)

    def _all_closed(self) -> bool:
        self._take_outcomes()
        return all(peer.closed for peer in self._peers)

    def _take_outcomes(self) -> None:
        for peer in self._peers:
            while (message := peer.link.receive()) is not None:
                if message.kind == "closed":
                    peer.closed, peer.counts = True, message.fields
                elif message.kind == "outcome":
                    self._take_outcome(peer, Outcome.from_message(message))

    def _take_outcome(self, peer: _Peer, outcome: Outcome) -> None:
        peer.under_way = None
        finished = outcome.finished_at - peer.clock_offset_s
        latency = finished - self._published_at[outcome.step] if outcome.outcome == INFERRED else None
        self._settle(outcome.step, outcome.outcome, latency)

    def _hand_over(self) -> None:
        free = next((peer for peer in self._peers if peer.under_way is None), None)
        if free is None or self._waiting is None:
            return
        frame, self._waiting = self._waiting, None
        free.under_way = frame.step
        self._send(free, frame.to_message(published=self.books.published, dropped=self.books.dropped.total()))

    def _settle(self, step: int, outcome: str, latency_s: float | None = None) -> None:
        self.books.settle(step, outcome, latency_s)
        del self._published_at[step]

    def _send(self, peer: _Peer, message: Message) -> None:
        peer.last_sent = self._clock()
        peer.link.send(message)
