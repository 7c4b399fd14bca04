"""The simulation's side of a coupling: what ``attach`` returns on a simulation rank.

No call waits for inference unless the stream's policy says so, and no failure of inference
reaches the simulation unless ``on_inference_failure`` is ``abort``.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdi.errors import RunError
from cdi.requirements import nearest
from inference_insitu.books.ledger import Ledger
from inference_insitu.books.summary import joined_books, summary_line, write_books
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.device.arrays import DeviceArray, device_array
from inference_insitu.device.publishing import DevicePublisher
from inference_insitu.placement.carrier import Carrier
from inference_insitu.reduction.group import Group
from inference_insitu.reduction.pipeline import Pipeline
from inference_insitu.ring.filling import FillingProducer
from inference_insitu.ring.layout import Side
from inference_insitu.ring.producer import SAID, Publication
from inference_insitu.steering.agreement import Steering
from inference_insitu.steering.collective import Collective, Pending
from inference_insitu.steering.commands import Command
from inference_insitu.steering.encoding import decode
from inference_insitu.waiting import AGREE_TIMEOUT_S, wait_until
from inference_insitu.watching.events import EventLog

REDUCED = Publication("dropped", "reduced")
CLOSED = "the coupling is closed"
LOOK_S = 0.005
"""Between looks at whether all ranks have drained."""
LOOK_NS = 100_000_000
DEVICE_TIMEOUT_S = 5.0
"""How long the end waits for a GPU's copies, and for a worker that maps its memory to be gone."""


class InferenceFailedError(RunError):
    """Nobody infers any more, and ``on_inference_failure`` is ``abort``: every rank raises it at the same step."""


@dataclass(frozen=True)
class Parts:
    """What a coupling is made of, one simulation rank's share.

    ``gather`` brings every rank's bytes to rank 0 (None elsewhere). ``leave`` parts from the ranks that infer and says
    whether they live, and then ``free`` gives the communicators back; ``give_up`` is for a rank that has failed.
    """

    simulation_comm: Any
    group: Group
    config: CouplingConfig
    output: Path
    ledger: Ledger
    producer: FillingProducer | None
    reductions: Mapping[str, Pipeline]
    carrier: Carrier
    steering: Steering
    events: EventLog
    gather: Callable[[bytes], list[bytes] | None]
    leave: Callable[[], bool]
    give_up: Callable[[], None]
    free: Callable[[], None]
    collective: Collective


class Coupling:
    """A simulation rank's connection to inference; made by ``attach``.

    Attributes
    ----------
    simulation_comm : communicator of the simulation ranks, for the simulation's own use until ``close``.
    """

    def __init__(self, parts: Parts) -> None:
        self.simulation_comm = parts.simulation_comm
        self._parts = parts
        self._started_s = time.monotonic()
        self._step = self._polled = -1
        self._failed = False
        self._asked: Pending | None = None
        self._closed = False
        self._reduced: dict[str, Any] = {}
        config, rank = parts.config, parts.simulation_comm.rank
        self._look_ns = 0
        # Frames that leave by messages, and ranks that must agree, need every step.
        self._at_every_step = parts.carrier.carries or config.on_inference_failure.action == "abort"
        # Frames that leave by messages, and what is reduced first, go the long way.
        short = {} if parts.producer is None or parts.carrier.carries else parts.producer.lanes
        self._lanes = {name: lane for name, lane in short.items() if name not in parts.reductions}
        self._device = DevicePublisher(parts.producer, config.device, config.placement.kind, parts.events, rank)

    def publish(self, name: str, array: Any, step: int, attributes: Mapping[str, Any] | None = None) -> Publication:
        """Hand ``array`` over as the frame of the stream ``name`` at ``step``; it may be changed once this returns.

        An ``array`` on a GPU may be changed by work that is ordered after this call on the stream it was made on.
        ``attributes`` are JSON values of at most 2 KB. Collective where the stream has a collective operator
        (``sum_to_root``): every rank must publish then.

        Returns
        -------
        Publication
            ``accepted``, or ``dropped`` or ``failed`` with the reason; the ledger says how an accepted frame ended.

        Raises
        ------
        ValueError
            If the name is no stream, the attributes are no JSON, or an array on a GPU is none that can be published,
            by the path that ``device`` names at least.
        """
        lane = self._lanes.get(name)
        said = 0 if lane is None or attributes else lane(array, step)
        if said:
            return SAID[said]
        if self._closed:
            raise RunError(CLOSED)
        parts = self._parts
        on_device = None if type(array) is np.ndarray else device_array(array)
        reduction = parts.reductions.get(name)
        if reduction is not None:
            self._reduced[name] = None
            try:
                on_device, array = None, self._reduction(reduction, array, on_device)
            except Exception as error:
                return self._unreduced(name, step, error)
            self._reduced[name] = array
            if array is None:
                parts.ledger.refuse(name, step, time.monotonic_ns(), "reduced")
                return REDUCED
        if parts.producer is None:
            raise ValueError(f"name must be a stream, got {name!r}; {nearest(name, parts.config.streams)}")
        if on_device is None:
            published = parts.producer.publish(name, array, step, attributes)
        else:
            published = self._device.publish(name, on_device, step, attributes)
        if not published:
            parts.events.first("drop", published.reason, stream=name, step=step, reason=published.reason)
        if parts.carrier.carries:
            parts.carrier.progress()
        return published

    def _reduction(self, reduction: Pipeline, array: Any, on_device: DeviceArray | None) -> NDArray[Any] | None:
        """What ``reduction`` makes of ``array``; a rank that cannot give its part says so where the ranks meet."""
        group = self._parts.group
        try:
            host = np.asarray(array if on_device is None else self._device.host(on_device))
        except Exception:
            reduction.miss(group)
            raise
        return reduction(host, group)

    def reduced(self, name: str) -> Any:
        """What the operators of the stream ``name`` made of the array published last, valid until the next one.

        None where nothing was published yet, the stream has no operators, or this rank's content went into another's.
        """
        return self._reduced.get(name)

    @property
    def inference_failed(self) -> bool:
        """Whether nobody infers any more, as far as this rank knows."""
        return self._parts.carrier.failed

    def end_step(self, step: int) -> None:
        """All frames of ``step`` are published; collective where ``on_inference_failure`` is ``abort``.

        Raises
        ------
        InferenceFailedError
            If inference has failed and ``on_inference_failure`` is ``abort``; on every rank at the same step. Outside
            of the coupling's ``with`` it has become one line and the exit code 1.
        """
        if self._closed:
            raise RunError(CLOSED)
        self._step = step
        if self._at_every_step or self._device.filling or time.monotonic_ns() > self._look_ns:
            self._look()

    def _look(self) -> None:
        """Take in what inference has said; seldom where nothing depends on it: it costs more than a frame."""
        parts = self._parts
        self._look_ns = time.monotonic_ns() + LOOK_NS
        self._device.poll()
        if parts.producer is not None:
            parts.producer.poll()
        else:
            parts.ledger.keep_up(time.monotonic_ns())
        parts.carrier.progress()
        self._notice_failure()
        if parts.config.on_inference_failure.action == "abort" and self._failed_anywhere():
            self._last_word()
            raise InferenceFailedError(f"inference failed before step {self._step} (on_inference_failure: abort)")

    def _notice_failure(self) -> None:
        if not self._failed and self._parts.carrier.failed:
            self._failed = True
            self._parts.events.log("inference_failed", step=self._step)

    def poll_steering(self) -> tuple[Command, ...]:
        """The commands that every rank applies now, at the step that ended last; collective over the simulation.

        Nothing is due before a step has ended, nor a second time at one step.

        Raises
        ------
        RunError
            If another simulation rank does not take part.
        """
        if self._closed:
            raise RunError(CLOSED)
        if self._step <= self._polled:  # every rank asks twice alike
            return ()
        self._polled = self._step
        return self._parts.steering.step(self._step, self._proposals())

    def close(self) -> None:
        """End: inference finishes what is under way, the books are closed and printed. Collective."""
        if self._closed:
            return
        self._closed = True
        self._lanes.clear()
        try:
            self._end()
        except BaseException as error:
            self._desert(error)
            raise

    def _end(self) -> None:
        parts = self._parts
        if parts.producer is not None:
            wait_until(self._device.poll, timeout_s=DEVICE_TIMEOUT_S)
            parts.producer.fail_unfilled("the GPU did not hand it over before the end")
            parts.producer.announce_end()
            wait_until(self._drained, timeout_s=parts.config.on_inference_failure.drain_timeout_s)
            parts.producer.close()
        else:
            parts.ledger.close()
        self._notice_failure()  # since the last look
        self._wait_for_all()
        self._last_word()
        parts.steering.close()
        parts.events.log("end", open=parts.ledger.open, unwritten=parts.ledger.unwritten)
        summaries = parts.gather(json.dumps(parts.ledger.summary()).encode())
        latencies = parts.gather(parts.ledger.latency_quantiles().tobytes())
        all_live = parts.leave()
        parts.carrier.close()
        self._device.close(DEVICE_TIMEOUT_S)
        if all_live:
            parts.free()
        if summaries is not None and latencies is not None:
            self._report([json.loads(one) for one in summaries], np.frombuffer(b"".join(latencies)).reshape(-1, 2))
        parts.events.log("closed")
        parts.events.close()

    def _wait_for_all(self) -> None:
        """Until every rank has drained or given up: they may take minutes longer than this one, and what follows meets.

        Raises
        ------
        RunError
            If some rank does not come.
        """
        pending = self._parts.collective.start_max(0)
        end = time.monotonic() + self._parts.config.on_inference_failure.drain_timeout_s + AGREE_TIMEOUT_S
        while True:
            self._parts.carrier.progress()
            try:
                pending.result(LOOK_S)
                return
            except TimeoutError as error:
                if time.monotonic() > end:
                    raise RunError(f"the ranks did not end together: {error}") from error

    def abandon(self, why: BaseException) -> None:
        """Leave without a word to other ranks, after a failure of the simulation on this one; the books are closed."""
        if not self._closed:
            self._closed = True
            self._lanes.clear()
            self._desert(why)

    def _desert(self, why: BaseException) -> None:
        parts = self._parts
        parts.events.log("abandoned", error=f"{type(why).__name__}: {why}")
        parts.steering.abandon(f"{type(why).__name__}: {why}")
        if parts.producer is not None:
            parts.producer.announce_end()
            parts.producer.close()
        else:
            parts.ledger.close()
        parts.carrier.close()
        self._device.close(0.0)
        parts.give_up()
        parts.events.close()

    def __enter__(self) -> "Coupling":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon(error)
        if isinstance(error, InferenceFailedError):
            if self.simulation_comm.rank == 0:
                print(f"cdi: {error}", file=sys.stderr, flush=True)
            raise SystemExit(1) from error

    def _failed_anywhere(self) -> bool:
        """Whether inference had failed for any rank one step before; the same on every rank, as they ask in step."""
        answer = self._asked
        self._asked = self._parts.collective.start_max(int(self._failed))
        return answer is not None and self._word(answer) > 0

    def _last_word(self) -> None:
        if self._asked is not None:
            answer, self._asked = self._asked, None
            self._word(answer)

    def _word(self, pending: Pending) -> int:
        try:
            return pending.result(AGREE_TIMEOUT_S)
        except TimeoutError as error:
            raise RunError(f"the ranks did not agree whether inference has failed: {error}") from error

    def _unreduced(self, name: str, step: int, error: Exception) -> Publication:
        """A reduction that fails costs its frame, not the simulation."""
        line = f"{type(error).__name__}: {' '.join(str(error).split())}"
        self._parts.ledger.refuse(name, step, time.monotonic_ns(), "unreduced", status="failed")
        self._parts.events.first("drop", f"{name} unreduced", stream=name, step=step, reason="unreduced", detail=line)
        return Publication("failed", line)

    def _proposals(self) -> list[Command]:
        producer = self._parts.producer
        proposals = []
        for record in [] if producer is None else producer.region.collect():
            try:
                proposals.append(decode(record))
            except ValueError as error:  # on one rank alone: the others must not wait for it
                self._parts.events.log("steering_damaged", error=str(error))
        return proposals

    def _drained(self) -> bool:
        parts = self._parts
        parts.carrier.progress()
        assert parts.producer is not None
        parts.producer.poll()
        state = parts.carrier.state
        if state in (Side.FAILED, Side.CLOSED):
            return True
        # What was handed over to a log is a worker's until it has ended: where it dies its successor needs the ring.
        return parts.producer.open == 0 and not parts.ledger.handed_over

    def _report(self, summaries: list[dict[str, Any]], latencies: NDArray[np.float64]) -> None:
        books = joined_books(summaries, latencies, wall_s=time.monotonic() - self._started_s)
        try:
            write_books(self._parts.output, books)
        except OSError as error:
            print(f"cdi: the books are not written: {error}", file=sys.stderr, flush=True)
        print(f"cdi: {summary_line(books)}", file=sys.stderr, flush=True)
