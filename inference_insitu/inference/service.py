"""What a worker does: look at the rings, form batches, answer them, settle every frame.

Free of processes, so that it is tested with rings and analyses alone. Whatever an analysis does
with a frame (raise, answer NaN, run out of memory), the frame gets an outcome and the next is served.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_insitu.books.outcomes import HANDED_OVER, INFERRED
from inference_insitu.inference.analysis import Analysis, answers_or_errors, plain_values
from inference_insitu.inference.batching import Batch, Batcher, Pending
from inference_insitu.inference.elsewhere import Elsewhere, Nowhere, Route
from inference_insitu.inference.frame import Frame
from inference_insitu.inference.located import FrameMaker
from inference_insitu.inference.outputs import Outputs, Told
from inference_insitu.ring.consumer import Claimed, Consumer, Ready, finite
from inference_insitu.ring.layout import Side

ReadyFrame = tuple[Consumer, Ready]

LOOK_NS = 50_000_000
"""How often it is looked whether the simulation's processes live."""
ENDING = (Side.ENDING, Side.CLOSED)


@dataclass(frozen=True)
class Served:
    """A stream as the service sees it: who answers it, how urgent it is, for how long an answer is of use."""

    analysis: str
    priority: int = 0
    deadline_s: float | None = None


class Service:
    """Serves the rings of ``consumers``.

    Parameters
    ----------
    consumers : one for each simulation rank; the list is the service's own from then on.
    analyses : by name.
    streams : by name.
    batcher : knows the same analyses.
    outputs : Outputs
    frames : makes frames of slots.
    elsewhere : what may take frames over.
    """

    def __init__(
        self,
        consumers: list[Consumer],
        analyses: Mapping[str, Analysis],
        streams: Mapping[str, Served],
        batcher: Batcher[ReadyFrame],
        outputs: Outputs,
        frames: FrameMaker | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._consumers, self._analyses, self._streams = consumers, analyses, streams
        self._batcher, self._outputs = batcher, outputs
        self._frames, self._elsewhere = frames or FrameMaker(), elsewhere or Nowhere()
        self._known: dict[tuple[int, int], int] = {}
        self._looked_ns, self._all_dead = 0, False

    @property
    def consumers(self) -> Sequence[Consumer]:
        """Of the rings that are served."""
        return self._consumers

    def join(self, consumer: Consumer) -> None:
        """Serve one ring more."""
        self._consumers.append(consumer)
        self._all_dead = False

    def leave(self, consumer: Consumer) -> None:
        """Serve it no more; its frames wait for somebody else."""
        self._consumers.remove(consumer)
        consumer.stop_moving()
        self._batcher.discard(lambda pending: pending.item[0] is consumer)
        self._known = {key: sequence for key, sequence in self._known.items() if key[0] != consumer.rank}

    def serve_once(self) -> bool:
        """Answer at most one batch; whether there was anything to do."""
        handed_over = self._look()
        self._batcher.discard(lambda pending: not pending.item[0].holds(pending.item[1]))
        now = time.monotonic_ns()
        late = self._batcher.late(now)
        for pending in late:
            self._settle_late(pending)
        batch = self._batcher.next(now, drain=self.ending)
        if batch is not None:
            self._answer(batch)
        self._outputs.metrics.queue(self._batcher.depth)
        return bool(late) or batch is not None or handed_over

    @property
    def ending(self) -> bool:
        """Whether no simulation rank will publish any more."""
        publishing = [one for one in self._consumers if one.producer_state not in ENDING]
        now = time.monotonic_ns()
        # Asking the system for a process takes longer than all else in a look; who is dead stays so.
        if publishing and not self._all_dead and now - self._looked_ns > LOOK_NS:
            self._looked_ns = now
            self._all_dead = not any(one.producer_lives for one in publishing)
        return not publishing or self._all_dead

    @property
    def finished(self) -> bool:
        """Whether no frame will come and none waits."""
        return self.ending and self._batcher.depth == 0 and not any(one.ready() for one in self._consumers)

    def _look(self) -> bool:
        """Meet the frames that have come; whether any was handed over."""
        away: list[ReadyFrame] = []
        for consumer in self._consumers:
            held: set[str] = set()  # no frame overtakes one of its stream
            for ready in consumer.ready():
                key = (consumer.rank, ready.slot.place.number)
                if self._known.get(key) == ready.sequence or ready.stream in held:
                    continue
                route = self._elsewhere.route(ready.stream, ready.rank, ready.step)
                if route is Route.HERE:
                    self._known[key] = ready.sequence
                    self._batcher.add(self._pending(consumer, ready))
                elif route is Route.AWAY:
                    away.append((consumer, ready))
                else:
                    held.add(ready.stream)
        return bool(away) and self._hand_over(away)

    def _hand_over(self, away: Sequence[ReadyFrame]) -> bool:
        """Give frames away, all together, for a log acknowledges many as fast as one; False where they still wait."""
        claimed: list[tuple[Consumer, Claimed, Frame]] = []
        for consumer, ready in away:
            one = self._claim(consumer, ready)
            if one is None:
                continue
            try:
                claimed.append((consumer, one, self._frames.frame(one, on_device=False)))
            except (RuntimeError, ValueError) as error:
                self._settle(consumer, one, "failed", f"it cannot be reached: {error}")
        self._busy(time.monotonic_ns())
        try:
            taken = self._elsewhere.hand_over([(frame, one.attempts) for _, one, frame in claimed])
        finally:
            self._busy(0)
        for consumer, one, _ in claimed:
            if taken:
                consumer.settle(one, HANDED_OVER)
            else:
                consumer.give_back(one)
        return taken

    def _pending(self, consumer: Consumer, ready: Ready) -> Pending[ReadyFrame]:
        served = self._streams[ready.stream]
        deadline = None if served.deadline_s is None else ready.published_ns + int(served.deadline_s * 1e9)
        dtype, shape = ready.slot.described()
        return Pending(
            (consumer, ready),
            served.analysis,
            ready.stream,
            ready.rank,
            ready.step,
            shape,
            dtype,
            ready.published_ns,
            served.priority,
            deadline,
        )

    def _settle_late(self, pending: Pending[ReadyFrame]) -> None:
        consumer, ready = pending.item
        claimed = self._claim(consumer, ready)
        if claimed is not None:
            self._settle(consumer, claimed, "late", "its deadline passed before its turn")

    def _answer(self, batch: Batch[ReadyFrame]) -> None:
        fresh = [item for item in batch.items if not item[1].attempts]
        if (seconds := self._answer_together(batch.analysis, fresh)) is not None and len(fresh) == len(batch):
            self._batcher.served(batch, seconds)
        # A frame with which a worker died may be what killed it: it goes alone, lest others be lost with it.
        for item in batch.items:
            if item[1].attempts:
                self._answer_together(batch.analysis, [item])

    def _answer_together(self, analysis: str, items: Sequence[ReadyFrame]) -> float | None:
        """How long it took; None where no frame was left to be answered."""
        self._busy(time.monotonic_ns())
        try:
            return self._answered(analysis, items)
        finally:
            self._busy(0)

    def _answered(self, analysis: str, items: Sequence[ReadyFrame]) -> float | None:
        claimed: list[tuple[Consumer, Claimed]] = []
        frames: list[Frame] = []
        for consumer, ready in items:
            one = self._claim(consumer, ready)
            frame = None if one is None else self._frame(consumer, one, analysis)
            if one is not None and frame is not None:
                claimed.append((consumer, one))
                frames.append(frame)
        if not claimed:
            return None
        started = time.monotonic_ns()
        answers = answers_or_errors(self._analyses[analysis], analysis, frames)
        try:
            self._frames.finish()
        except RuntimeError as error:
            answers = [error] * len(frames)
        seconds = (time.monotonic_ns() - started) * 1e-9
        self._outputs.metrics.batch(len(claimed), seconds)
        for (consumer, one), answer in zip(claimed, answers, strict=True):
            self._keep(consumer, one, analysis, answer, len(claimed), seconds)
        return seconds

    def _frame(self, consumer: Consumer, one: Claimed, analysis: str) -> Frame | None:
        """What the analysis sees of ``one``; None where that is settled already."""
        try:
            frame = self._frames.frame(one, on_device=self._analyses[analysis].wants_device)
        except Exception as error:
            self._settle(consumer, one, "failed", f"it cannot be reached: {error}")
            return None
        if frame.device is None and not finite(frame.array):
            self._settle(consumer, one, "nonfinite", "the frame holds NaN or infinity")
            return None
        return frame

    def _keep(
        self,
        consumer: Consumer,
        one: Claimed,
        analysis: str,
        answer: Mapping[str, Any] | BaseException,
        batch: int,
        seconds: float,
    ) -> None:
        try:
            if isinstance(answer, BaseException):
                raise answer
            values = plain_values(answer)
            model = self._analyses[analysis].model
            self._outputs.write(
                Told(one.stream, one.rank, one.step, analysis, model, one.published_ns, seconds, batch), values
            )
        except FloatingPointError as error:
            self._settle(consumer, one, "nonfinite", str(error))
        except OSError as error:
            self._settle(consumer, one, "unsaved", str(error))
        except (Exception, SystemExit) as error:
            self._settle(consumer, one, "failed", f"{type(error).__name__}: {error}")
        else:
            self._settle(consumer, one, INFERRED, model)
            self._outputs.metrics.said(one.stream, values)
            self._outputs.consider(consumer.region, one.stream, analysis, one.rank, one.step, values)

    def _claim(self, consumer: Consumer, ready: Ready) -> Claimed | None:
        try:
            claimed = consumer.claim(ready)
        except ValueError:
            return None  # settled as failed by the ring itself
        if claimed is None:
            # Both sides may have left it to the other: if it is still there, it is found again.
            self._known.pop((consumer.rank, ready.slot.place.number), None)
        return claimed

    def _settle(self, consumer: Consumer, one: Claimed, outcome: str, detail: str) -> None:
        detail = " ".join(detail.split())
        consumer.settle(one, outcome, detail)
        self._elsewhere.answered(one.stream, one.rank, one.step, outcome)
        self._outputs.settled(one.stream, one.rank, one.step, outcome, detail, one.published_ns)

    def _busy(self, since_ns: int) -> None:
        for consumer in self._consumers:
            consumer.busy(since_ns)
