"""The simulation's side of a ring: publishes, and never waits unless a policy says so.

Slots go FREE → WRITING → READY here, READY → TAKEN → DONE with the worker, and DONE → FREE here
again, when their outcome is written into the ledger. ``latest`` takes READY slots back: each side
raises its own flag and looks at the other's (Dekker), with a fence between, so that no frame is
both read and overwritten, and neither side ever waits for the other.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inference_insitu.books.ledger import Ledger, Settled
from inference_insitu.books.outcomes import INFERRED, OUTCOMES
from inference_insitu.ring.fence import fence
from inference_insitu.ring.layout import ATTRIBUTE_BYTES, DTYPES, MOST_DIMENSIONS, Kind, Row, Side, State, Word
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.region import Region, Slot

Coarsen = Callable[[NDArray[Any]], NDArray[Any] | None]

BEAT_TIMEOUT_NS = 5_000_000_000
"""A worker that has not stamped its beat for this long is not waited for."""
WAIT_S = 0.0002
SPILLED_LOOKS = 8
"""Spilled slots looked at in one harvest: there may be thousands, and they end in order."""

_DTYPE_CODES = {dtype: code for code, dtype in enumerate(DTYPES)}
# Plain integers: looking members up in an enumeration takes longer than the rest of a look at a slot.
_STATE, _EVICT, _TAKEN, _ATTEMPTS = int(Row.STATE), int(Row.EVICT), int(Row.TAKEN), int(Row.ATTEMPTS)
_SEQUENCE, _STEP = int(Row.SEQUENCE), int(Row.STEP)
_PUBLISHED, _CREDITS, _SUPERVISOR = int(Word.PUBLISHED), int(Word.CREDITS), int(Word.SUPERVISOR_STATE)
_FAILED = int(Side.FAILED)
_FREE, _WRITING, _READY, _CLAIMED, _DONE = map(int, State)


@dataclass(frozen=True)
class Publication:
    """What became of a ``publish``: taken into the ring, or not and why. Its end is told by the ledger."""

    status: Literal["accepted", "dropped", "failed"]
    reason: str = ""

    def __bool__(self) -> bool:
        """Whether the frame was accepted."""
        return self.status == "accepted"


ACCEPTED = Publication("accepted")
_DROPPED = {name: Publication("dropped", name) for name in OUTCOMES[1:]}


@dataclass(frozen=True)
class StreamPlan:
    """What the producer must know of a stream: its policy, and how a frame is made coarser."""

    policy: PolicyConfig
    coarsen: Coarsen | None = None


class _Stream:
    """Slots of one stream on the producer's side."""

    def __init__(self, name: str, plan: StreamPlan, slots: list[Slot]) -> None:
        self.name = name
        self.policy = plan.policy
        self.coarsen = plan.coarsen
        self.memory = [slot for slot in slots if slot.place.kind is Kind.MEMORY]
        self.coarse = [slot for slot in slots if slot.place.kind is Kind.COARSE]
        self.spill = deque(slot for slot in slots if slot.place.kind is Kind.SPILL)
        self.spilled: deque[Slot] = deque()
        self.last_step = -1
        self.seen = 0


class Producer:
    """Publishes into ``region``.

    Parameters
    ----------
    region : Region
        Created by this process.
    streams : plans by name; every stream of the region's layout has one.
    ledger : Ledger
        Every frame gets its row there.
    progress : called while a policy waits (a relay moves its messages on).
    """

    def __init__(
        self,
        region: Region,
        streams: Mapping[str, StreamPlan],
        ledger: Ledger,
        *,
        progress: Callable[[], None] = lambda: None,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.region = region
        self.ledger = ledger
        self._streams = {
            name: _Stream(name, plan, [slot for slot in region.slots if slot.place.stream == name])
            for name, plan in streams.items()
        }
        self._of_slot = [self._streams[slot.place.stream] for slot in region.slots]
        self._words = region.words
        self._sequence = 0
        self._progress, self._clock, self._sleep = progress, clock, sleep
        self._words[Word.ORIGIN_NS] = ledger.origin_ns
        self._words[Word.PRODUCER_STATE] = Side.READY

    def publish(self, name: str, array: Any, step: int, attributes: Mapping[str, Any] | None = None) -> Publication:
        """Hand ``array`` over as the frame of ``step``; the array may be changed as soon as this returns.

        ``attributes`` are JSON values of at most 2 KB that travel with it.

        Raises
        ------
        ValueError
            If the stream is unknown, or the attributes are no JSON or too long.
        """
        now = self._clock()
        stream = self._stream(name)
        self._words[_PUBLISHED] += 1
        encoded = encode_attributes(attributes)
        values = np.asarray(array)
        refusal = self._refusal(stream, values, step)
        if refusal is not None:
            return self._refuse(stream, step, now, refusal)
        slot = self._slot(stream, values.nbytes)
        if isinstance(slot, str):
            return self._refuse(stream, step, now, slot)
        if slot.place.kind is Kind.COARSE:
            coarse = None if stream.coarsen is None else stream.coarsen(values)
            if coarse is None:
                self._words[slot.base + _STATE] = _FREE
                return self._refuse(stream, step, now, "full")
            values = coarse
        try:
            self.write(slot, values, step, encoded, now)
        except OSError as error:  # a disk that is full or gone
            self._words[slot.base + _STATE] = _FREE
            self._give_back(slot)
            return self._refuse(stream, step, now, "unspilled", detail=str(error))
        return ACCEPTED

    def write(self, slot: Slot, values: NDArray[Any], step: int, attributes: bytes, now: int) -> None:
        """Fill ``slot``, which is ours (WRITING), and hand it over."""
        code = _DTYPE_CODES[values.dtype]
        np.copyto(slot.view(code, values.shape), values)
        self._sequence += 1
        slot.describe((self._sequence, step, now, values.nbytes), code, values.shape, attributes)
        words, base = self._words, slot.base
        words[base + _ATTEMPTS] = 0
        fence()
        words[base + _STATE] = _READY
        words[base + _EVICT] = 0
        self.ledger.accept(slot.place.stream, step, now)

    def end_step(self, step: int) -> None:
        """All frames of ``step`` are published: take outcomes in and show that we live."""
        self._words[Word.LAST_STEP] = step
        self.poll()
        self.ledger.flush()

    def poll(self) -> None:
        """Take outcomes into the ledger and show that we live."""
        self._words[Word.PRODUCER_BEAT_NS] = self._clock()
        for stream in self._streams.values():
            self._harvest(stream)

    @property
    def open(self) -> int:
        """Frames accepted that have not ended."""
        return self.ledger.open

    def announce_end(self) -> None:
        """No frame will follow."""
        fence()
        self._words[Word.PRODUCER_STATE] = Side.ENDING

    def close(self) -> None:
        """Settle what is still open, whoever has it, and close the books."""
        self.poll()
        for slot in self.region.slots:
            state = self._words[slot.base + _STATE]
            if state == _READY:
                self._settle(slot, Settled("undelivered"))
            elif state == _CLAIMED:
                self._settle(slot, Settled("unanswered", attempts=self._words[slot.base + Row.ATTEMPTS] + 1))
        fence()
        self._words[Word.PRODUCER_STATE] = Side.CLOSED
        self.ledger.close()

    def _stream(self, name: str) -> _Stream:
        stream = self._streams.get(name)
        if stream is None:
            near = get_close_matches(name, self._streams, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"streams: {', '.join(self._streams)}"
            raise ValueError(f"name must be a stream of the configuration, got {name!r}; {hint}")
        return stream

    def _refusal(self, stream: _Stream, values: NDArray[Any], step: int) -> str | None:
        if step <= stream.last_step:
            return "repeated"
        stream.last_step = step
        stream.seen += 1
        if (stream.seen - 1) % stream.policy.takes_one_in:
            return "sampled"
        if values.nbytes > stream.memory[0].place.capacity or values.ndim > MOST_DIMENSIONS:
            return "too_large"
        if values.dtype not in _DTYPE_CODES:
            raise ValueError(
                f"array must be of one of the types {', '.join(dtype.name for dtype in DTYPES)}, got {values.dtype}"
            )
        if self._words[_SUPERVISOR] == _FAILED:
            return "no_inference"
        return None

    def _refuse(self, stream: _Stream, step: int, now: int, reason: str, *, detail: str = "") -> Publication:
        failed = reason == "unspilled"
        self.ledger.refuse(stream.name, step, now, reason, status="failed" if failed else "dropped")
        return Publication("failed", detail or reason) if failed else _DROPPED[reason]

    def _slot(self, stream: _Stream, size: int) -> Slot | str:
        """A slot that is ours to write to, or the reason why there is none."""
        self._harvest(stream)
        slot = self._free(stream)
        if slot is None and stream.policy.wait_s:
            slot = self._wait(stream)
        if slot is not None:
            return slot
        match stream.policy.when_full:
            case "latest":
                slot = self._evict(stream) or self._freed(stream)
            case "degrade":
                slot = next((slot for slot in stream.coarse if self._words[slot.base + _STATE] == _FREE), None)
            case "spill":
                slot = stream.spill.popleft() if stream.spill else None
                if slot is not None:
                    stream.spilled.append(slot)
            case "drop_newest":
                return "timeout" if stream.policy.wait_s else "full"
        if slot is None:
            return "full"
        self._words[slot.base + _STATE] = _WRITING
        return slot

    def _free(self, stream: _Stream) -> Slot | None:
        words, found, flying = self._words, None, 0
        for slot in stream.memory:
            if words[slot.base + _STATE] == _FREE:
                found = found or slot
            else:
                flying += 1
        credits = words[_CREDITS]
        if found is None or 0 <= credits <= flying:
            return None
        words[found.base + _STATE] = _WRITING
        return found

    def _freed(self, stream: _Stream) -> Slot | None:
        """A slot that the worker let go while we looked for one to take back."""
        self._harvest(stream)
        return self._free(stream)

    def _wait(self, stream: _Stream) -> Slot | None:
        """A slot that became free within the policy's wait, as long as somebody is there to free it."""
        end = self._clock() + int(stream.policy.wait_s * 1e9)
        while self._clock() < end and self._consumer_lives():
            self._progress()
            self._harvest(stream)
            slot = self._free(stream)
            if slot is not None:
                return slot
            self._sleep(WAIT_S)
        return None

    def _consumer_lives(self) -> bool:
        words = self._words
        beat_age = self._clock() - words[Word.CONSUMER_BEAT_NS]
        return words[Word.CONSUMER_STATE] == Side.READY and beat_age < BEAT_TIMEOUT_NS

    def _evict(self, stream: _Stream) -> Slot | None:
        """The oldest slot that waits, taken back from the reader; None where it has them all."""
        words = self._words
        waiting = [slot for slot in stream.memory if words[slot.base + _STATE] == _READY]
        for slot in sorted(waiting, key=lambda slot: words[slot.base + _SEQUENCE]):
            words[slot.base + _EVICT] = 1
            fence()
            if words[slot.base + _TAKEN]:
                words[slot.base + _EVICT] = 0
                continue
            self._settle(slot, Settled("superseded"), state=_WRITING)
            return slot
        return None

    def _harvest(self, stream: _Stream) -> None:
        words = self._words
        for slot in stream.memory:
            if words[slot.base + _STATE] == _DONE:
                self._settle(slot, self._ended(slot))
        for slot in stream.coarse:
            if words[slot.base + _STATE] == _DONE:
                self._settle(slot, self._ended(slot))
        for _ in range(min(SPILLED_LOOKS, len(stream.spilled))):
            slot = stream.spilled[0]
            if words[slot.base + _STATE] != _DONE:
                break
            self._settle(slot, self._ended(slot))
            self._give_back(slot)

    def _give_back(self, slot: Slot) -> None:
        stream = self._of_slot[slot.place.number]
        if slot.place.kind is Kind.SPILL:
            stream.spilled.remove(slot)
            stream.spill.append(slot)

    def _ended(self, slot: Slot) -> Settled:
        words, base = self._words, slot.base
        code = words[base + Row.OUTCOME]
        outcome = OUTCOMES[code] if 0 <= code < len(OUTCOMES) else "failed"
        published, taken, done = (words[base + row] for row in (Row.PUBLISHED_NS, Row.TAKEN_NS, Row.DONE_NS))
        return Settled(
            outcome,
            slot.detail() if outcome != INFERRED else "",
            queued_s=(taken - published) * 1e-9,
            inferred_s=(done - taken) * 1e-9,
            latency_s=(done - published) * 1e-9 if outcome == INFERRED else None,
            attempts=words[base + Row.ATTEMPTS] + 1,
            model=self.region.model if outcome == INFERRED else "",
        )

    def _settle(self, slot: Slot, settled: Settled, *, state: int = _FREE) -> None:
        self.ledger.settle(slot.place.stream, self._words[slot.base + _STEP], settled)
        self._words[slot.base + _STATE] = state


def encode_attributes(attributes: Mapping[str, Any] | None) -> bytes:
    """JSON bytes of ``attributes``.

    Raises
    ------
    ValueError
        If they are not JSON, or longer than a slot keeps.
    """
    if not attributes:
        return b""
    try:
        encoded = json.dumps(attributes, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"attributes must be plain finite values, got: {error}") from error
    if len(encoded) > ATTRIBUTE_BYTES:
        raise ValueError(f"attributes must take at most {ATTRIBUTE_BYTES} bytes as JSON, got {len(encoded)}")
    return encoded
