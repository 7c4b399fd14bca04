"""The simulation's side of a ring: publishes, and never waits unless a policy says so.

Nearly every frame goes by a lane (``ring.lane``), which is compiled; this is the same in Python, and all that a lane
leaves to it.

Slots go FREE → WRITING → READY here, READY → TAKEN → DONE with the worker, and DONE → FREE here
again, when their outcome is written into the ledger. ``latest`` takes READY slots back: each side
raises its own flag and looks at the other's (Dekker), with a fence between, so that no frame is
both read and overwritten, and neither side ever waits for the other.

Where a payload comes after its publication (``ring.filling``) its slot is FILLING meanwhile, and so are
those that were published behind it on its stream.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np

from cdi.requirements import nearest
from inference_insitu.books.ledger import Ledger, Settled
from inference_insitu.books.outcomes import DROPPED, INFERRED, OUTCOMES
from inference_insitu.native.compiled import lane_type
from inference_insitu.ring.fence import fence
from inference_insitu.ring.lane import Lane, Said
from inference_insitu.ring.layout import ATTRIBUTE_BYTES, DTYPES, MOST_DIMENSIONS, Kind, Row, Side, State, Word
from inference_insitu.ring.region import Region, Slot
from inference_insitu.ring.stream import Shaped, Stream, StreamPlan

BEAT_TIMEOUT_NS = 5_000_000_000
"""A worker that has not stamped its beat for this long is not waited for."""
SHORTEST_NAP_S, LONGEST_NAP_S = 0.0002, 0.005
NAP_SHARE = 0.05
"""Of the time that a blocked call has waited: a look takes processor time that inference beside it may lack."""

_DTYPE_CODES = {dtype: code for code, dtype in enumerate(DTYPES)}
# Plain integers: looking members up in an enumeration takes longer than the rest of a look at a slot.
_STATE, _EVICT, _TAKEN, _ATTEMPTS = int(Row.STATE), int(Row.EVICT), int(Row.TAKEN), int(Row.ATTEMPTS)
_STEP = int(Row.STEP)
_PUBLISHED, _SUPERVISOR = int(Word.PUBLISHED), int(Word.SUPERVISOR_STATE)
_NEWEST = int(Word.SEQUENCE)
_OUTCOME, _PUBLISHED_NS = int(Row.OUTCOME), int(Row.PUBLISHED_NS)
_TAKEN_NS, _DONE_NS = int(Row.TAKEN_NS), int(Row.DONE_NS)
_FAILED = int(Side.FAILED)
_FREE, _WRITING, _READY, _, _DONE, _ = map(int, State)


@dataclass(frozen=True)
class Publication:
    """What became of a ``publish``: taken into the ring, or not and why. Its end is told by the ledger."""

    status: Literal["accepted", "dropped", "failed"]
    reason: str = ""

    def __bool__(self) -> bool:
        """Whether the frame was accepted."""
        return self.status == "accepted"


ACCEPTED = Publication("accepted")
SUPERSEDED = Settled("superseded")
_DROPPED = {name: Publication("dropped", name) for name in DROPPED}
SAID: dict[int, Publication] = {Said.ACCEPTED: ACCEPTED, Said.FULL: _DROPPED["full"], Said.SAMPLED: _DROPPED["sampled"]}
"""Of what a lane says, but ``ASK``."""


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
    carries : whether ``progress`` may make room in the ring, so that it comes before anything is replaced.
    """

    def __init__(
        self,
        region: Region,
        streams: Mapping[str, StreamPlan],
        ledger: Ledger,
        *,
        progress: Callable[[], None] = lambda: None,
        carries: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.region = region
        self.ledger = ledger
        self._streams = {
            name: Stream(name, plan, [slot for slot in region.slots if slot.place.stream == name])
            for name, plan in streams.items()
        }
        self._words = region.words
        self._progress, self._clock, self._sleep = progress, clock, sleep
        self._words[Word.ORIGIN_NS] = ledger.origin_ns
        self._words[Word.PRODUCER_STATE] = Side.READY
        compiled = lane_type() if clock is time.monotonic_ns else None  # it reads that clock
        if compiled is not None:
            for stream in self._streams.values():
                stream.lane = Lane(compiled, region, stream, ledger, decides=not carries)

    @property
    def lanes(self) -> dict[str, Callable[[Any, int], int]]:
        """By stream, what takes an array without attributes and its step, and says what became of it: of ``SAID``.

        Where that is ``Said.ASK``, or there is none, ``publish`` is to be asked.
        """
        return {name: stream.lane.publish for name, stream in self._streams.items() if stream.lane is not None}

    def publish(self, name: str, array: Any, step: int, attributes: Mapping[str, Any] | None = None) -> Publication:
        """Hand ``array`` over as the frame of ``step``; the array may be changed as soon as this returns.

        ``attributes`` are JSON values of at most 2 KB that travel with it.

        Raises
        ------
        ValueError
            If the stream is unknown, or the attributes are no JSON or too long.
        """
        stream = self._streams.get(name) or self._unknown(name)
        lane = stream.lane
        if lane is None:
            return self._publish(stream, array, step, attributes)
        if not attributes:
            said = lane.publish(array, step) or self._by_lane_again(stream, lane, array, step)
            if said:
                return SAID[said]
        lane.take()
        published = self._publish(stream, array, step, attributes)
        lane.lend()
        return published

    def _by_lane_again(self, stream: Stream, lane: Lane, array: Any, step: int) -> int:
        """What ``lane`` says of the frame now: most often frames that have ended were in the way, or it had no more."""
        lane.take()
        if stream.free_memory or stream.seen % stream.one_in:
            return Said.ASK
        self._harvest(stream, all_of_them=True)
        lane.lend()
        return int(lane.publish(array, step))

    def _publish(self, stream: Stream, array: Any, step: int, attributes: Mapping[str, Any] | None) -> Publication:
        now = self._clock()
        values = np.asarray(array)
        encoded = encode_attributes(attributes) if attributes else b""
        refusal = self._refusal(stream, values, step)
        if refusal is not None:
            return self._refuse(stream, step, now, refusal)
        slot = self._slot(stream)
        if isinstance(slot, str):
            return self._refuse(stream, step, now, slot)
        stream.formed(values)
        return self._store(stream, slot, values, step, encoded, now)

    def _store(
        self,
        stream: Stream,
        slot: Slot,
        values: Any,
        step: int,
        attributes: bytes,
        now: int,
        fill: Callable[[Slot, int, Any], None] = Slot.fill,
    ) -> Publication:
        """Fill ``slot``, which is ours, and hand it over when its turn comes."""
        if slot.place.kind is Kind.COARSE:
            values = None if stream.coarsen is None else stream.coarsen(values)
            if values is None:
                self._let_go(stream, slot)
                return self._refuse(stream, step, now, "full")
        code = _DTYPE_CODES[values.dtype]
        try:
            fill(slot, code, values)
        except (OSError, MemoryError) as error:  # of the file that frames spill to
            self._let_go(stream, slot)
            return self._fail(stream, step, now, error)
        words, base = self._words, slot.base
        sequence = words[_NEWEST] = words[_NEWEST] + 1
        slot.describe((sequence, step, now, values.nbytes), code, values.shape, attributes)
        fence()
        words[base + _STATE] = stream.state
        words[base + _EVICT] = 0
        words[_PUBLISHED] += 1  # once it has a row or a slot: who ends our books finds every one
        stream.line.append(slot)
        self.ledger.accept(stream.name, step, now)
        return ACCEPTED

    def _take(self, stream: Stream) -> None:
        if stream.lane is not None:
            stream.lane.take()

    def poll(self) -> None:
        """Take outcomes into the ledger. They are safe in their slots meanwhile, and taken in together cost less."""
        now = self._clock()
        for stream in self._streams.values():
            self._take(stream)
            self._harvest(stream)
            if stream.lane is not None:
                stream.lane.lend()
        self.ledger.keep_up(now)

    @property
    def open(self) -> int:
        """Frames accepted that have not ended."""
        for stream in self._streams.values():
            self._take(stream)
        return self.ledger.open

    def announce_end(self) -> None:
        """No frame will follow."""
        fence()
        self._words[Word.PRODUCER_STATE] = Side.ENDING

    def close(self) -> None:
        """Settle what is still open, whoever has it, and close the books."""
        self.poll()
        nobody = self._words[_SUPERVISOR] == _FAILED
        for stream in self._streams.values():
            self._take(stream)
            self._harvest(stream, all_of_them=True)
            for slot in stream.flying:
                if self._words[slot.base + _STATE] == _READY:
                    self._settle(stream, slot, Settled("no_inference" if nobody else "undelivered"))
                else:
                    attempts = self._words[slot.base + _ATTEMPTS] + 1
                    self._settle(stream, slot, Settled("lost" if nobody else "unanswered", attempts=attempts))
            stream.flying.clear()
            stream.lane = None  # it refers to our memory, which is to go at once
        fence()
        self._words[Word.PRODUCER_STATE] = Side.CLOSED
        self.ledger.close()

    def _unknown(self, name: str) -> NoReturn:
        raise ValueError(f"name must be a stream of the configuration, got {name!r}; {nearest(name, self._streams)}")

    def _refusal(self, stream: Stream, values: Shaped, step: int) -> str | None:
        if step <= stream.last_step:
            return "repeated"
        stream.last_step = step
        stream.seen += 1
        if (stream.seen - 1) % stream.one_in:
            return "sampled"
        if values.nbytes > stream.capacity or values.ndim > MOST_DIMENSIONS:
            return "too_large"
        if values.dtype not in _DTYPE_CODES:
            raise ValueError(
                f"array must be of one of the types {', '.join(dtype.name for dtype in DTYPES)}, got {values.dtype}"
            )
        if self._words[_SUPERVISOR] == _FAILED:
            return "no_inference"
        return None

    def _refuse(self, stream: Stream, step: int, now: int, reason: str) -> Publication:
        self.ledger.refuse(stream.name, step, now, reason)
        stream.refused.add(reason)
        self._words[_PUBLISHED] += 1
        return _DROPPED[reason]

    def _fail(self, stream: Stream, step: int, now: int, error: Exception) -> Publication:
        self.ledger.refuse(stream.name, step, now, "failed", status="failed")
        self._words[_PUBLISHED] += 1
        return Publication("failed", str(error))

    def _slot(self, stream: Stream) -> Slot | str:
        """A slot that is ours to write to, or the reason why there is none."""
        slot = self._free(stream)
        if slot is None:
            # A relay learns in here what inference has said while the simulation computed.
            self._progress()
            slot = self._free(stream)
        if slot is None and stream.policy.wait_s:
            slot = self._wait(stream)
        if slot is not None:
            return slot
        match stream.policy.when_full:
            case "latest":
                slot = self._evict(stream) or self._free(stream)
            case "degrade" | "spill":
                slot = stream.free_spare.pop() if stream.free_spare else None
            case "drop_newest":
                return "timeout" if stream.policy.wait_s else "full"
        return slot or "full"

    def _free(self, stream: Stream) -> Slot | None:
        if not stream.free_memory:
            self._harvest(stream, all_of_them=True)
        return stream.free_memory.pop() if stream.free_memory else None

    def _wait(self, stream: Stream) -> Slot | None:
        """A slot that became free within the policy's wait, as long as somebody is there to free it."""
        began = self._clock()
        end = began + int(stream.policy.wait_s * 1e9)
        while (now := self._clock()) < end and self._consumer_lives():
            self._progress()
            self._harvest(stream, all_of_them=True)
            slot = self._free(stream)
            if slot is not None:
                return slot
            nap_s = min(max(SHORTEST_NAP_S, NAP_SHARE * 1e-9 * (now - began)), LONGEST_NAP_S)
            self._sleep(min(nap_s, max(0.0, 1e-9 * (end - now))))
        return None

    def _consumer_lives(self) -> bool:
        words = self._words
        beat_age = self._clock() - words[Word.CONSUMER_BEAT_NS]
        return words[Word.CONSUMER_STATE] == Side.READY and beat_age < BEAT_TIMEOUT_NS

    def _evict(self, stream: Stream) -> Slot | None:
        """The oldest slot that waits, taken back from the reader; None where it has them all."""
        words = self._words
        for index, slot in enumerate(stream.flying):
            if words[slot.base + _STATE] != _READY:
                continue
            words[slot.base + _EVICT] = 1
            fence()
            if words[slot.base + _TAKEN]:
                words[slot.base + _EVICT] = 0
                continue
            # Its row first: a frame is in the ring or in the ledger at any moment.
            self.ledger.settle(stream.name, words[slot.base + _STEP], SUPERSEDED)
            words[slot.base + _STATE], words[slot.base + _ATTEMPTS] = _WRITING, 0
            del stream.flying[index]
            return slot
        return None

    def _harvest(self, stream: Stream, *, all_of_them: bool = False) -> None:
        """Take outcomes in: of the oldest frames, or of all that are under way, which may end in any order."""
        words, flying = self._words, stream.flying
        while flying and words[flying[0].base + _STATE] == _DONE:
            slot = flying.popleft()
            self._settle(stream, slot, ended(self.region, slot))
        if all_of_them and flying:
            for slot in [slot for slot in flying if words[slot.base + _STATE] == _DONE]:
                flying.remove(slot)
                self._settle(stream, slot, ended(self.region, slot))

    def _let_go(self, stream: Stream, slot: Slot) -> None:
        self._words[slot.base + _STATE], self._words[slot.base + _ATTEMPTS] = _FREE, 0
        self._words[slot.base + _EVICT] = 0
        stream.free[slot.place.kind].append(slot)

    def _settle(self, stream: Stream, slot: Slot, settled: Settled) -> None:
        self.ledger.settle(stream.name, self._words[slot.base + _STEP], settled)
        self._let_go(stream, slot)


def ended(region: Region, slot: Slot) -> Settled:
    """What the worker has left in ``slot``, which is DONE."""
    row = slot.row()
    code, published, taken, done = row[_OUTCOME], row[_PUBLISHED_NS], row[_TAKEN_NS], row[_DONE_NS]
    queued_s, inferred_s, attempts = (taken - published) * 1e-9, (done - taken) * 1e-9, row[_ATTEMPTS] + 1
    outcome = OUTCOMES[code] if 0 <= code < len(OUTCOMES) else "failed"
    if outcome == INFERRED:
        model = slot.detail() or region.model  # what answered this one: models change while a run goes on
        return Settled(outcome, "", queued_s, inferred_s, (done - published) * 1e-9, attempts, model)
    return Settled(outcome, slot.detail(), queued_s, inferred_s, None, attempts)


def encode_attributes(attributes: Mapping[str, Any] | None, room: int = 0) -> bytes:
    """JSON bytes of ``attributes``, which leave ``room`` for others.

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
    if len(encoded) > ATTRIBUTE_BYTES - room:
        raise ValueError(f"attributes must take at most {ATTRIBUTE_BYTES - room} bytes as JSON, got {len(encoded)}")
    return encoded
