"""The worker's side of rings that change hands: gives what another is to read, takes what it is to read itself."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cdi.whole_file import whole_file
from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.service import Service
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.fence import fence
from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.region import Region
from inference_insitu.sharing.holding import holder, is_heir, is_open, reads
from inference_insitu.transit.operators.operator_state import OperatorState, StateRefusedError
from inference_insitu.watching.events import EventLog

LOOK_S = 0.02
"""Between looks at the words of rings."""
PAUSE_S = 1.0
"""After a ring could not be given."""


@dataclass(frozen=True)
class Kept:
    """What analyses have kept of the streams of a ring, in files for the worker that reads it next."""

    output: Path
    analyses: Mapping[str, Analysis]
    streams: Mapping[str, str]

    def leave(self, region: Region, rank: int, worker: int) -> int:
        """Write it for ``worker``; how many bytes.

        Raises
        ------
        OSError
            If the disk does not take it.
        """
        size = 0
        for stream, analysis, path in self._files(region, rank, worker):
            path.unlink(missing_ok=True)  # of an earlier try
            kept = self.analyses[analysis].state(stream, rank)
            if kept:
                state = OperatorState(analysis, self.analyses[analysis].model, stream, rank, -1, kept).encode()
                with whole_file(path) as file:
                    file.write_bytes(state)
                size += len(kept)
        return size

    def take(self, region: Region, rank: int, worker: int) -> str:
        """Go on from what was left for ``worker``, and remove it; what did not fit, and why.

        What this process has kept of an earlier time in which it read the ring is forgotten.
        """
        problems = []
        for stream, analysis, path in self._files(region, rank, worker):
            try:
                kept: bytes | memoryview = b""
                with suppress(FileNotFoundError):
                    state = OperatorState.decode(path.read_bytes())
                    state.check(analysis=analysis, model=self.analyses[analysis].model, stream=stream, rank=rank)
                    kept = state.data
                self.analyses[analysis].install(stream, rank, bytes(kept))
            except (StateRefusedError, ValueError, OSError) as error:
                problems.append(f"{stream}: {' '.join(str(error).split())}")
            path.unlink(missing_ok=True)
        return "; ".join(problems)

    def _files(self, region: Region, rank: int, worker: int) -> list[tuple[str, str, Path]]:
        return [
            (stream, self.streams[stream], self.output / f"handed-{rank}-{place}-to-{worker}.state")
            for place, stream in enumerate(region.layout.variables)
        ]


class Handing:
    """Of the rings ``regions`` of a node, ``worker`` serves those that it reads.

    Parameters
    ----------
    service : serves them.
    kept : what goes along.
    ready : says of a ring that it is served from now on.
    """

    def __init__(
        self,
        worker: int,
        regions: Sequence[Region],
        service: Service,
        kept: Kept,
        ready: Callable[[Consumer], None],
        events: EventLog,
    ) -> None:
        self._worker, self._regions, self._service = worker, regions, service
        self._kept, self._ready, self._events = kept, ready, events
        self._looked_s = 0.0

    def begin(self) -> None:
        """Take what was left for this worker's rings by who died before they were taken."""
        for consumer in self._service.consumers:
            self._take_kept(consumer)

    @property
    def expects(self) -> bool:
        """Whether another ring is to be read here next, or is already and was not taken yet."""
        served = [consumer.region for consumer in self._service.consumers]
        return any(
            reads(region, self._worker) or (is_heir(region, self._worker) and is_open(region))
            for region in self._regions
            if not any(region is one for one in served)
        )

    def progress(self) -> bool:
        """Between two batches: give and take; whether any ring changed hands."""
        now = time.monotonic()
        if now - self._looked_s < LOOK_S:
            return False
        self._looked_s = now
        served = {id(consumer.region): consumer for consumer in self._service.consumers}
        changed = False
        for region in self._regions:
            consumer = served.get(id(region))
            if consumer is None and reads(region, self._worker):
                self._take(region)
                changed = True
            elif consumer is not None and region.words[Word.HEIR]:
                changed |= self._give(consumer)
            elif consumer is None and is_heir(region, self._worker) and region.words[Word.HEIR] != os.getpid():
                region.words[Word.HEIR] = os.getpid()
        return changed

    def _give(self, consumer: Consumer) -> bool:
        region, rank = consumer.region, consumer.rank
        heir = int(region.words[Word.WANTED]) - 1
        if heir == holder(region) or not is_open(region):
            return False
        try:
            size = self._kept.leave(region, rank, heir)
        except Exception as error:  # an analysis may raise what it likes
            self._events.first("ring_kept", str(rank), rank=rank, error=f"{type(error).__name__}: {error}")
            self._looked_s += PAUSE_S
            return False
        self._service.leave(consumer)
        fence()
        region.words[Word.HOLDER] = heir + 1
        self._events.log("ring_given", rank=rank, to=heir, state_bytes=size)
        return True

    def _take(self, region: Region) -> None:
        consumer = Consumer(region, pid=os.getpid(), state=Side.READY)
        consumer.recover()
        self._take_kept(consumer)
        self._ready(consumer)
        self._service.join(consumer)
        self._events.log("ring_taken", rank=consumer.rank)

    def _take_kept(self, consumer: Consumer) -> None:
        problem = self._kept.take(consumer.region, consumer.rank, self._worker)
        if problem:
            self._events.log("state_lost", rank=consumer.rank, error=problem)
