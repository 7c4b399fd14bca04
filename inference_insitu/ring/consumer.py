"""The worker's side of a ring: looks at what is ready, claims it, and says how it ended.

A worker claims a frame only when it is about to infer it, so that ``latest`` can still replace
what waits. What a dead worker had claimed is recovered by the next one.

Spilled frames that wait in memory (``ring.staging``) are moved to their file meanwhile, by a thread beside the one
that infers. Claiming and the end of a move take turns, so that nobody reads a frame from memory that is given to the
next one. A frame that is being moved may be claimed, but its slot is given back only when the move is over: what is
written late must not be over a later frame.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_insitu.books.outcomes import CODES
from inference_insitu.ring.fence import fence
from inference_insitu.ring.layout import Row, Side, State, Word
from inference_insitu.ring.processes import runs, started_at
from inference_insitu.ring.region import Region, Slot

MOST_ATTEMPTS = 2
"""A frame that was being inferred when its worker died is tried once more: it may have been what killed it."""
MOVE_TIMEOUT_S = 60.0
"""How long a file may take for one frame; a worker that waits for longer ends, and the next one finds it in memory."""


@dataclass(frozen=True)
class Ready:
    """A frame that waits. It may be gone when it is claimed: ``sequence`` tells."""

    slot: Slot
    sequence: int
    stream: str
    rank: int
    step: int
    published_ns: int
    attempts: int


@dataclass(frozen=True)
class Claimed:
    """A frame that is ours until it is settled; ``array`` is the slot's own memory, valid until then."""

    slot: Slot
    stream: str
    rank: int
    step: int
    published_ns: int
    attempts: int
    array: NDArray[Any]
    attributes: dict[str, Any]


class Consumer:
    """Reads ``region`` from process ``pid``; no other one reads it at the same time.

    ``state`` is what the other side is told: READY where another reader has just left it, and nobody is to notice.
    """

    def __init__(self, region: Region, *, pid: int, state: Side = Side.STARTING) -> None:
        self.region = region
        self.rank = int(region.words[Word.RANK])
        self._words = region.words
        self._turn = threading.Condition()
        self._moving: Slot | None = None
        self._moves = True
        self._words[Word.CONSUMER_PID], self._words[Word.CONSUMER_STARTED] = pid, started_at(pid) or 0
        self.beat()
        self.state = state

    @property
    def state(self) -> Side:
        """What the other side may know of us."""
        return Side(self._words[Word.CONSUMER_STATE])

    @state.setter
    def state(self, state: Side) -> None:
        fence()
        self._words[Word.CONSUMER_STATE] = state

    def on_device(self, wanted: bool) -> None:
        """Say whether frames may stay on a GPU; a simulation looks before it publishes the first that is there."""
        self._words[Word.ON_DEVICE] = wanted

    def beat(self) -> None:
        """Show that this process runs."""
        self._words[Word.CONSUMER_BEAT_NS] = time.monotonic_ns()

    def busy(self, since_ns: int) -> None:
        """Show since when one answer has been under way; 0 for none."""
        self._words[Word.BUSY_SINCE_NS] = since_ns

    def recover(self) -> tuple[int, int]:
        """Give back what a dead worker had claimed: frames to try again, and frames given up as ``lost``."""
        again = lost = 0
        for slot in self.region.slots:
            words, base = self._words, slot.base
            state = words[base + Row.STATE]
            words[base + Row.TAKEN] = 0
            if state == State.TAKEN:
                if words[base + Row.ATTEMPTS] + 1 < MOST_ATTEMPTS:
                    words[base + Row.ATTEMPTS] += 1
                    fence()
                    words[base + Row.STATE] = State.READY
                    again += 1
                else:
                    self._end(slot, "lost", "the worker died with it twice")
                    lost += 1
        return again, lost

    @property
    def newest_step(self) -> int:
        """The last step of any frame that was published here, as far as slots know, answered or not; −1 before any."""
        words = self._words
        used = (slot.base for slot in self.region.slots if words[slot.base + Row.SEQUENCE])
        return max((words[base + Row.STEP] for base in used), default=-1)

    def ready(self) -> list[Ready]:
        """Frames that wait, in the order in which they were published."""
        words = self._words
        found = [
            Ready(
                slot,
                words[slot.base + Row.SEQUENCE],
                slot.place.stream,
                self.rank,
                words[slot.base + Row.STEP],
                words[slot.base + Row.PUBLISHED_NS],
                words[slot.base + Row.ATTEMPTS],
            )
            for slot in self.region.standing_at(State.READY)
            if not words[slot.base + Row.EVICT]
        ]
        return sorted(found, key=lambda ready: ready.sequence)

    def holds(self, ready: Ready) -> bool:
        """Whether the frame still waits; ``latest`` may have replaced it."""
        words, base = self._words, ready.slot.base
        return words[base + Row.STATE] == State.READY and words[base + Row.SEQUENCE] == ready.sequence

    def claim(self, ready: Ready) -> Claimed | None:
        """The frame, now ours; None where the producer has taken it back.

        Raises
        ------
        ValueError
            If the slot holds nonsense; it has then been settled as ``failed``.
        """
        with self._turn:
            if not self._take(ready):
                return None
        try:
            array = ready.slot.array()
            attributes = json.loads(ready.slot.attributes() or b"{}")
        except ValueError as error:
            self._end(ready.slot, "failed", str(error))
            raise
        return Claimed(
            ready.slot, ready.stream, ready.rank, ready.step, ready.published_ns, ready.attempts, array, attributes
        )

    def _take(self, ready: Ready) -> bool:
        words, base = self._words, ready.slot.base
        words[base + Row.TAKEN] = 1
        fence()
        if (
            words[base + Row.EVICT]
            or words[base + Row.STATE] != State.READY
            or words[base + Row.SEQUENCE] != ready.sequence
        ):
            words[base + Row.TAKEN] = 0
            return False
        words[base + Row.STATE] = State.TAKEN
        words[base + Row.TAKEN_NS] = time.monotonic_ns()
        return True

    def move(self) -> bool:
        """Move a frame that waits in memory to its file; whether there was one. For one thread of this process.

        Raises
        ------
        OSError
            If the file does not take it; it stays where it is.
        """
        for staging in self.region.stagings.values():
            with self._turn:
                staged = staging.newest() if self._moves else None
                if staged is None:
                    continue
                slot = self._moving = self.region.slot_at(staged.base)
            whole = False
            try:
                slot.write_out(staging.payloads[staged.number])
                whole = True
            finally:
                with self._turn:
                    if whole and self._words[slot.base + Row.STATE] == State.READY:
                        fence()
                        staging.written(staged)
                    self._moving = None
                    self._turn.notify_all()
            return True
        return False

    def stop_moving(self) -> None:
        """Move no frame any more, from when this returns: another process is to read the ring.

        Raises
        ------
        RuntimeError
            If the file has not taken the frame under way after ``MOVE_TIMEOUT_S``.
        """
        with self._turn:
            self._moves = False
            self._wait(lambda: self._moving is None)

    def give_back(self, claimed: Claimed) -> None:
        """Let a claimed frame wait again, as if it had not been claimed."""
        words, base = self._words, claimed.slot.base
        words[base + Row.TAKEN] = 0
        fence()
        words[base + Row.STATE] = State.READY

    def settle(self, claimed: Claimed, outcome: str, detail: str = "") -> None:
        """Say how a claimed frame ended; its memory is the producer's again. Raises as ``stop_moving``."""
        self._end(claimed.slot, outcome, detail)

    @property
    def producer_state(self) -> Side:
        """Where the simulation's side stands."""
        return Side(self._words[Word.PRODUCER_STATE])

    @property
    def publishing(self) -> bool:
        """Whether the simulation's side may publish yet."""
        return self.producer_state not in (Side.ENDING, Side.CLOSED) and self.producer_lives

    @property
    def producer_lives(self) -> bool:
        """Whether the process that created the ring still runs."""
        return runs(self._words[Word.OWNER_PID], self._words[Word.OWNER_STARTED])

    def _end(self, slot: Slot, outcome: str, detail: str) -> None:
        with self._turn:
            self._wait(lambda: self._moving is not slot)
        words, base = self._words, slot.base
        slot.write_detail(detail)
        words[base + Row.OUTCOME] = CODES[outcome]
        words[base + Row.DONE_NS] = time.monotonic_ns()
        words[base + Row.TAKEN] = 0
        fence()
        words[base + Row.STATE] = State.DONE

    def _wait(self, over: Callable[[], bool]) -> None:
        """Until the move that ``over`` asks for has ended."""
        if not self._turn.wait_for(over, MOVE_TIMEOUT_S):
            raise RuntimeError(f"{self.region.layout.spill_file} has not taken a frame in {MOVE_TIMEOUT_S:g} s")


def finite(array: NDArray[Any]) -> bool:
    """Whether every value is a number."""
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())
