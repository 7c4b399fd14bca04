"""A simulation rank's courier: ``python -m inference_insitu.placement.job_courier OUTPUT RING``.

Takes frames out of the ring as a worker does, sends them to the serving job, and settles them with what
that answers. When the serving job is lost, what was under way waits for the next one; when the simulation
is, its books are closed here.
"""

import os
import sys
import time
from pathlib import Path

from cdi.config import read_config
from inference_insitu.books.outcomes import OUTCOMES
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.estate import settle_estate
from inference_insitu.inference.spec import WorkerSpec
from inference_insitu.placement.job import FOLDER, LONGEST_NAP_S, SHORTEST_NAP_S, SPEC, announced, ended_mark, guard
from inference_insitu.placement.job_wire import CourierWire
from inference_insitu.placement.relay_message import Outcome
from inference_insitu.placement.relay_outbox import Outbox
from inference_insitu.placement.relay_sender import Sender
from inference_insitu.ring.consumer import Claimed, Consumer
from inference_insitu.ring.layout import Row, Side, State, Word
from inference_insitu.ring.region import Region
from inference_insitu.watching.events import EventLog

LOOK_S = 0.1
"""Between looks for a new session and for the simulation's life."""


class Claims(Outbox):
    """An outbox whose frames are claimed as a worker claims them: their producer is another process."""

    def __init__(self, consumer: Consumer, wire: CourierWire) -> None:
        super().__init__(consumer.region, wire)
        self._consumer = consumer
        self._claimed: dict[int, Claimed] = {}

    def next(self) -> list[tuple[int, int]]:
        """Frames that are ours now, and that may leave."""
        found: list[tuple[int, int]] = []
        if not self.waiting:
            return found
        for ready in self._consumer.ready():
            credits = self._credits[ready.stream]
            try:
                claimed = self._consumer.claim(ready) if credits else None
            except ValueError:
                continue  # settled as failed by the ring itself
            if claimed is not None:
                number = ready.slot.place.number
                self._claimed[number] = claimed
                found.append((number, credits.popleft()))
        return found

    def _settle(self, outcome: Outcome) -> None:
        self._under_way.pop(outcome.source, None)
        claimed, words, now = self._claimed.pop(outcome.source), self._words, time.monotonic_ns()
        words[claimed.slot.base + Row.TAKEN_NS] = max(claimed.published_ns, now - outcome.inferred_ns)
        words[claimed.slot.base + Row.ATTEMPTS] += outcome.attempts
        detail = outcome.detail.decode(errors="replace")
        self._consumer.settle(claimed, OUTCOMES[outcome.outcome], detail)


class Courier(Sender):
    """A sender whose loss of the other side is not the end of inference: another session follows."""

    def __init__(self, consumer: Consumer, wire: CourierWire, events: EventLog) -> None:
        super().__init__(consumer.region, wire, events=events)
        self._outbox = Claims(consumer, wire)
        self._moves = wire.move
        self.lost_because = ""

    def progress(self) -> None:
        """Send what can be sent and take in what has come."""
        heard = self._moves()
        self._looked = -1  # the simulation publishes meanwhile
        super().progress()
        self.busy = self._moves() or heard  # what was just said leaves at once

    def _lose(self, why: str) -> None:
        self._lost, self.lost_because = True, why

    def _refuse(self, why: str) -> None:
        self._lose(why)


class Rounds:
    """The courier's whole life with the ring of ``consumer``: one session after the other."""

    def __init__(self, consumer: Consumer, output: Path, config: CouplingConfig, events: EventLog) -> None:
        self._consumer, self._output, self._config, self._events = consumer, output, config, events
        self._words = consumer.region.words
        self._looked_s, self._token = 0.0, ""
        self._give_up_s: float | None = None
        self._stands(Side.STARTING if announced(output)[1] else Side.ABSENT)

    def run(self) -> None:
        """Return once the books are closed and the serving job, if there is one, knows."""
        token = ""
        while not self._over():
            guard(self._config)
            if self._token != token:
                token = self._token
                self._session(token)
            time.sleep(0.02)

    def _session(self, token: str) -> None:
        wire = CourierWire(self._output / FOLDER, self._consumer.rank, token)
        courier = Courier(self._consumer, wire, self._events)
        nap_s, told = SHORTEST_NAP_S, False
        while not (over := self._over(serving=True)) and not courier.supervisor_lost and self._token == token:
            guard(self._config)
            courier.progress()
            if wire.connected and not told:
                told = True
                self._events.log("serving_job", session=token)
            nap_s = SHORTEST_NAP_S if courier.busy else min(2 * nap_s, LONGEST_NAP_S)
            time.sleep(nap_s)
        guard(self._config)
        if over:
            courier.close()
            wire.close()
            return
        why = courier.lost_because or "another one has taken its place"
        again, lost = self._consumer.recover()
        failed = self._config.on_inference_failure.action == "abort" or courier.failed
        self._stands(Side.STARTING, Side.FAILED if failed else Side.STARTING)
        self._events.log("serving_job_lost", why=why, again=again, lost=lost)
        wire.close()

    def _over(self, *, serving: bool = False) -> bool:
        """Whether the books are closed. Where the simulation is dead we close them, once nothing is under way."""
        if time.monotonic() - self._looked_s > LOOK_S:
            self._looked_s = time.monotonic()
            self._token = announced(self._output)[1]
            if not self._consumer.producer_lives and self._consumer.producer_state is not Side.CLOSED:
                self._inherit(serving)
        return self._consumer.producer_state is Side.CLOSED

    def _inherit(self, serving: bool) -> None:
        words, now = self._words, time.monotonic()
        words[Word.PRODUCER_STATE] = Side.ENDING
        if self._give_up_s is None:
            self._give_up_s = now + self._config.on_inference_failure.drain_timeout_s
        flying = any(words[slot.base + Row.STATE] in (State.READY, State.TAKEN) for slot in self._consumer.region.slots)
        if not (serving and flying) or now > self._give_up_s:
            settle_estate(self._consumer, self._output, self._events)
            words[Word.PRODUCER_STATE] = Side.CLOSED

    def _stands(self, consumer: Side, supervisor: Side = Side.STARTING) -> None:
        self._words[Word.CONSUMER_STATE], self._words[Word.SUPERVISOR_STATE] = consumer, supervisor


def main(output: Path, ring: Path) -> None:
    """Carry frames until the simulation has ended, one way or the other."""
    spec = WorkerSpec.read(output / FOLDER / SPEC)
    config = read_config(CouplingConfig, spec.config)
    guard(config)
    consumer = Consumer(Region.open(ring), pid=os.getpid())
    events = EventLog(output / f"events-courier{consumer.rank}.jsonl", f"courier{consumer.rank}")
    again, lost = consumer.recover()
    events.log("courier_started", pid=os.getpid(), again=again, lost=lost)
    Rounds(consumer, output, config, events).run()
    ended_mark(output, consumer.rank).touch()
    events.log("closed")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)  # ADIOS2's binding tells at length what it leaks
