"""One session of a serving job: ``python -m inference_insitu.placement.job_serving OUTPUT TIMEOUT_S``.

Receives the frames of all couriers into rings of its own, which a worker process serves like any others.
Where a courier is lost the session ends, and ``serve_job`` begins another one.
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from cdi.config import read_config
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.spec import WorkerSpec
from inference_insitu.inference.supervisor import Supervisor
from inference_insitu.placement.job import (
    ABSENT,
    ENDED,
    FOLDER,
    GAVE_UP,
    LONGEST_NAP_S,
    LOST,
    REFUSED,
    SHORTEST_NAP_S,
    SPEC,
    announce,
    ended_mark,
    guard,
)
from inference_insitu.placement.job_wire import ServerWire, stream_path
from inference_insitu.placement.keeper import slots_under_way
from inference_insitu.placement.relay_receiver import Receiver
from inference_insitu.placement.sst import CONTACT
from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.region import PREFIX, SHARED_MEMORY, Region
from inference_insitu.watching.events import EventLog

OPEN_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 0.1


class JobReceiver(Receiver):
    """Serves one courier. Where that is lost its ring is left alone: the simulation's books are kept over there."""

    def __init__(self, wire: ServerWire, rank: int, token: str, config: CouplingConfig, events: EventLog) -> None:
        self.wire = wire
        self.lost = False
        super().__init__(
            wire,
            rank=rank,
            path=SHARED_MEMORY / f"{PREFIX}{token}-{rank}",
            slots_of=lambda stream, slots: slots_under_way(config, stream, slots),
            tell=lambda line: events.log("relay", rank=rank, line=line),
        )

    def progress(self) -> bool:
        """Move everything on; whether there was anything to do."""
        if self.over:
            return False
        busy = self.wire.move() | super().progress()
        return self.wire.move() or busy  # what was just said leaves at once

    def _refuse(self, why: str) -> None:
        super()._refuse(why)
        self.lost = self.has_ring  # it takes itself for lost as well, and waits for the next session

    def _lose(self, why: str) -> None:
        self.over = True
        self.lost = not self._closing_ns
        if self.lost:
            self._tell(f"the courier of simulation rank {self._rank} is lost: {why}")
        if self._ring is not None:
            self._ring.say(Side.CLOSED)


class Session:
    """A session of the serving job of the process ``parent``: one receiver for each courier, one worker for all."""

    def __init__(self, output: Path, parent: int) -> None:
        self._folder, self._parent = output / FOLDER, parent
        self._spec = WorkerSpec.read(self._folder / SPEC)
        self._config = read_config(CouplingConfig, self._spec.config)
        guard(self._config)
        self._number, self._token = announce(output)
        self._events = EventLog(output / "events-serving0.jsonl", "serving0")
        self._events.log("session", number=self._number, session=self._token, pid=os.getpid())
        self._receivers: list[JobReceiver] = []
        self._supervisor: Supervisor | None = None

    def run(self, output: Path, timeout_s: float) -> int:
        """Serve for as long as every courier lives; how it ended."""
        try:
            code = self._meet(output, time.monotonic() + timeout_s)
            if code is None:
                code = self._serve() if self._receivers else ENDED
        finally:
            self._end()
        self._events.log("closed", code=code)
        return code

    def _meet(self, output: Path, end_s: float) -> int | None:
        """Find the courier of every rank that has not ended; how the session ends where that is not to be."""
        for rank in range(len(self._spec.regions)):
            while not ended_mark(output, rank).exists() and not self._met(rank):
                if time.monotonic() > end_s or self._abandoned:
                    return ABSENT
                if any(receiver.lost for receiver in self._receivers):
                    return LOST
                self._progress()
                time.sleep(LONGEST_NAP_S)
        return None

    @property
    def _abandoned(self) -> bool:
        return os.getppid() != self._parent

    def _met(self, rank: int) -> bool:
        stream = stream_path(self._folder, rank, self._token)
        if not stream.with_name(stream.name + CONTACT).exists():
            return False
        wire = ServerWire(self._folder, rank, self._token, timeout_s=OPEN_TIMEOUT_S)
        self._receivers.append(JobReceiver(wire, rank, self._token, self._config, self._events))
        return True

    def _progress(self) -> bool:
        guard(self._config)
        busy = [receiver.progress() for receiver in self._receivers]
        return any(busy)

    def _serve(self) -> int:
        nap_s = SHORTEST_NAP_S
        while True:
            time.sleep(nap_s)
            nap_s = SHORTEST_NAP_S if self._progress() else min(2 * nap_s, LONGEST_NAP_S)
            if self._abandoned or any(receiver.lost for receiver in self._receivers):
                return LOST
            if self._supervisor is None:
                if any(receiver.over and not receiver.has_ring for receiver in self._receivers):
                    return REFUSED
                if all(receiver.has_ring for receiver in self._receivers):
                    self._supervisor = self._started()
                continue
            self._supervisor.poll()
            if self._supervisor.over:
                if self._supervisor.regions[0].words[Word.SUPERVISOR_STATE] == Side.FAILED:
                    self._progress()  # what became of its frames
                    return GAVE_UP
                if all(receiver.over for receiver in self._receivers):
                    return ENDED

    def _started(self) -> Supervisor:
        paths = [receiver.path for receiver in self._receivers]
        path = self._folder / f"worker-{self._token}.json"
        replace(self._spec, regions=tuple(map(str, paths))).write(path)
        return Supervisor(
            path,
            [Region.open(one) for one in paths],
            failure=self._config.on_inference_failure,
            placement=self._config.placement,
            events=self._events,
            first_incarnation=1000 * self._number,  # answers of every session in files of their own
        )

    def _end(self) -> None:
        guard(None)
        if self._supervisor is not None:
            self._supervisor.stop(timeout_s=STOP_TIMEOUT_S)
        guard(self._config)
        for receiver in self._receivers:
            receiver.close()
            receiver.wire.close()


if __name__ == "__main__":
    parent = os.getppid()
    try:
        code = Session(Path(sys.argv[1]), parent).run(Path(sys.argv[1]), float(sys.argv[2]))
    except OSError as error:
        print(f"cdi: the session failed: {error}", file=sys.stderr)
        code = LOST
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # ADIOS2's binding tells at length what it leaks
