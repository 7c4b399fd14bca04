"""Which waiting frames are answered together, and when: across ranks and streams, without a clock of its own.

A batch is of one analysis, one shape and one dtype, so that it stacks. It is formed once it is full, once its oldest
frame has waited long enough, or while its earliest deadline can still be met: highest priority first, then oldest.

Order: frames of one (stream, rank) leave in the order of their steps within an analysis, across shapes too. A lane,
the queue of one (analysis, stream, rank), therefore offers only the frames at its head that share their shape; a
degraded frame behind a whole one waits for it. An urgent frame lends its priority and its deadline to its lane.

Fairness: a class (one stream's lanes of one priority, analysis and shape) that was ready and passed over
``fair_every - 1`` times in a row comes before any priority, the longest passed over first. With m classes waiting each
is served at least every ``fair_every + m - 2``-th batch: where priorities hold one back, every ``fair_every``-th.

Times are whole nanoseconds of one clock, that of the process which asks.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from operator import attrgetter
from typing import Generic, Literal

from inference_insitu.inference.pending import Bucket, Item, Lane, Pending
from inference_insitu.inference.service_times import ServiceTimes

__all__ = ["Batch", "BatchConfig", "Batcher", "Pending"]

Cause = Literal["full", "waited", "deadline", "drain"]

MOST_FRAMES = 4096
"""Largest batch that a configuration may ask for."""

_AT_ONCE_NS = 0

_Class = tuple[Bucket, str, int]
_Rank = tuple[int, int, int, str, int]


@dataclass(frozen=True)
class BatchConfig:
    """How the frames of one analysis are put together.

    Parameters
    ----------
    size : most frames of a batch.
    delay_s : how long a frame waits for others, in seconds since it was published; 0 does not wait.
    buckets : ascending sizes that the caller pads batches to, for a compiled model; with () nothing is padded.
    """

    size: int = 8
    delay_s: float = 0.01
    buckets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MOST_FRAMES:
            raise ValueError(f"size must lie in [1, {MOST_FRAMES}], got {self.size!r}")
        if not (isfinite(self.delay_s) and 0 <= self.delay_s <= 3600):
            raise ValueError(f"delay_s must lie in [0, 3600] s, got {self.delay_s!r}")
        ascending = all(low < high for low, high in zip((0, *self.buckets), self.buckets, strict=False))
        if self.buckets and not (ascending and self.buckets[-1] >= self.size):
            raise ValueError(f"buckets must ascend from 1 or more to size ({self.size}) or more, got {self.buckets!r}")

    def padded(self, count: int) -> int:
        """The size that ``count`` frames are padded to: the smallest bucket that holds them."""
        return next((bucket for bucket in self.buckets if bucket >= count), count)


@dataclass(frozen=True, slots=True)
class Batch(Generic[Item]):
    """Frames to be answered by one call, in order; ``cause`` is why now."""

    pending: tuple[Pending[Item], ...]
    padded_size: int
    cause: Cause

    def __len__(self) -> int:
        return len(self.pending)

    @property
    def items(self) -> tuple[Item, ...]:
        """What the caller knows the frames by."""
        return tuple(each.item for each in self.pending)

    @property
    def bucket(self) -> Bucket:
        """Analysis, shape and dtype."""
        return self.pending[0].bucket

    @property
    def analysis(self) -> str:
        """The analysis that answers."""
        return self.pending[0].analysis


class Batcher(Generic[Item]):
    """The frames that wait for a worker.

    Parameters
    ----------
    configs : by name of the analysis.
    fair_every : a class that priorities hold back is served at least every so many batches.
    poll_s : the caller asks at least this often while frames wait; deadlines are served so much sooner.
    """

    def __init__(self, configs: Mapping[str, BatchConfig], *, fair_every: int = 8, poll_s: float = 0.001) -> None:
        if not configs:
            raise ValueError("configs must name an analysis, got none")
        if fair_every < 2:
            raise ValueError(f"fair_every must be at least 2, got {fair_every!r}")
        if not (isfinite(poll_s) and poll_s >= 0):
            raise ValueError(f"poll_s must be at least 0 and finite, got {poll_s!r}")
        self._configs = dict(configs)
        self._fair_every = fair_every
        self._poll_ns = round(poll_s * 1e9)
        self._lanes: dict[tuple[str, str, int], Lane[Item]] = {}
        self._passed: dict[_Class, int] = {}
        self._times = ServiceTimes[Bucket]()

    @property
    def depth(self) -> int:
        """How many frames wait."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    def add(self, pending: Pending[Item]) -> None:
        """Let one more frame wait.

        Raises
        ------
        ValueError
            For an analysis without a configuration.
        """
        if pending.analysis not in self._configs:
            raise ValueError(f"analysis must be one of {', '.join(self._configs)}, got {pending.analysis!r}")
        lane = self._lanes.get(pending.lane)
        if lane is None:
            self._lanes[pending.lane] = Lane(pending)
        else:
            lane.add(pending)

    def late(self, now_ns: int) -> list[Pending[Item]]:
        """Take out the frames whose deadline has passed, or passes before an answer can be there; oldest first.

        Whether it can is judged by how long batches took. That judgement fades a little each time it costs a frame:
        one slow batch (a model's first) must not condemn every frame after it.
        """
        end_ns: dict[Bucket, int] = {}

        def misses(pending: Pending[Item]) -> bool:
            if pending.deadline_ns is None:
                return False
            if pending.bucket not in end_ns:
                end_ns[pending.bucket] = self._end_ns(pending.bucket, 1, now_ns)
            return pending.deadline_ns <= now_ns or pending.deadline_ns < end_ns[pending.bucket]

        late = self.discard(misses)
        for bucket in {each.bucket for each in late if each.deadline_ns is not None and each.deadline_ns > now_ns}:
            self._times.doubt(bucket)
        return sorted(late, key=attrgetter("published_ns"))

    def discard(self, unwanted: Callable[[Pending[Item]], bool]) -> list[Pending[Item]]:
        """Take out the frames that are ``unwanted``, say because their slots went to newer ones."""
        gone = [each for lane in self._lanes.values() for each in lane.remove(unwanted)]
        self._forget_empty_lanes()
        return gone

    def due_ns(self) -> int | None:
        """When ``next`` has a batch though no frame is added: 0 if it has one already, None if nothing waits."""
        return min((self._due(bucket, lanes)[0] for bucket, lanes in self._offers().items()), default=None)

    def next(self, now_ns: int, *, drain: bool = False) -> Batch[Item] | None:
        """The batch to be answered now, or None while waiting for more frames is better. Ask ``late`` first.

        With ``drain`` there are no more frames to wait for.
        """
        ready: dict[Bucket, tuple[list[Lane[Item]], Cause]] = {}
        for bucket, lanes in self._offers().items():
            due_ns, cause = self._due(bucket, lanes)
            if drain or due_ns <= now_ns:
                ready[bucket] = (lanes, cause if due_ns <= now_ns else "drain")
        if not ready:
            return None
        ranked = {bucket: [(self._rank(lane), lane) for lane in lanes] for bucket, (lanes, _) in ready.items()}
        bucket = min(ranked, key=lambda each: min(rank for rank, _ in ranked[each]))
        config, cause = self._configs[bucket[0]], ready[bucket][1]
        chosen = self._in_time(self._chosen(ranked[bucket], config.size), now_ns)
        taken = Counter(each.lane for each in chosen)
        self._age([lane for lanes, _ in ready.values() for lane in lanes], [self._lanes[key] for key in taken])
        for key, count in taken.items():
            self._lanes[key].take(count)
        self._forget_empty_lanes()
        return Batch(tuple(chosen), config.padded(len(chosen)), cause)

    def flush(self, now_ns: int) -> list[Batch[Item]]:
        """All that waits, as the batches that ``next`` would give one after another."""
        batches = []
        while (batch := self.next(now_ns, drain=True)) is not None:
            batches.append(batch)
        return batches

    def served(self, batch: Batch[Item], seconds: float) -> None:
        """Learn from ``batch``, which took ``seconds``.

        Raises
        ------
        ValueError
            If ``seconds`` is not a finite number of at least 0.
        """
        self._times.learn(batch.bucket, batch.padded_size, seconds)

    def expected_s(self, bucket: Bucket, count: int) -> float:
        """Seconds that a batch of ``count`` frames should take; 0 before any was served."""
        return self._times.expected_s(bucket, self._configs[bucket[0]].padded(count))

    def _offers(self) -> dict[Bucket, list[Lane[Item]]]:
        offers: dict[Bucket, list[Lane[Item]]] = {}
        for lane in self._lanes.values():
            offers.setdefault(lane.bucket, []).append(lane)
        return offers

    def _due(self, bucket: Bucket, lanes: Sequence[Lane[Item]]) -> tuple[int, Cause]:
        """When a batch of ``lanes`` is to be formed as they stand, and why."""
        config = self._configs[bucket[0]]
        count = sum(lane.run for lane in lanes)
        if count >= config.size:
            return _AT_ONCE_NS, "full"
        waited_ns = min(lane.oldest_ns for lane in lanes) + round(config.delay_s * 1e9)
        deadlines = [lane.deadline_ns for lane in lanes if lane.deadline_ns is not None]
        if not deadlines:
            return waited_ns, "waited"
        service_ns = round(self._times.cautious_s(bucket, config.padded(count)) * 1e9)
        start_ns = max(min(deadlines) - service_ns - self._poll_ns, _AT_ONCE_NS)
        return (start_ns, "deadline") if start_ns < waited_ns else (waited_ns, "waited")

    def _end_ns(self, bucket: Bucket, count: int, now_ns: int) -> int:
        return now_ns + round(self.expected_s(bucket, count) * 1e9)

    def _chosen(self, ranked: Sequence[tuple[_Rank, Lane[Item]]], size: int) -> list[Pending[Item]]:
        """The best ``size`` frames that these lanes offer, each lane's in its order."""
        heads = [(rank, number, 0) for number, (rank, _) in enumerate(ranked)]
        heapq.heapify(heads)
        chosen: list[Pending[Item]] = []
        while heads and len(chosen) < size:
            _, number, place = heapq.heappop(heads)
            lane = ranked[number][1]
            chosen.append(lane.waiting[place])
            if place + 1 < lane.run:
                heapq.heappush(heads, (self._rank(lane, place + 1), number, place + 1))
        return chosen

    def _in_time(self, chosen: list[Pending[Item]], now_ns: int) -> list[Pending[Item]]:
        """``chosen``, or as many of them from the first on as meet the deadlines among them that can be met at all."""
        bucket = chosen[0].bucket
        first_end_ns = self._end_ns(bucket, 1, now_ns)
        for count in range(len(chosen), 1, -1):
            deadlines = (each.deadline_ns for each in chosen[:count] if each.deadline_ns is not None)
            earliest_ns = min((deadline for deadline in deadlines if deadline >= first_end_ns), default=None)
            if earliest_ns is None or self._end_ns(bucket, count, now_ns) <= earliest_ns:
                return chosen[:count]
        return chosen[:1]

    def _rank(self, lane: Lane[Item], place: int = 0) -> _Rank:
        """What is lowest comes first: held back too often, then priority, then age."""
        head = lane.waiting[place]
        passed = self._passed.get(_class_of(lane), 0)
        held_back = passed if passed >= self._fair_every - 1 else 0
        return -held_back, -lane.priority, head.published_ns, head.stream, head.rank

    def _age(self, ready: Sequence[Lane[Item]], served: Sequence[Lane[Item]]) -> None:
        """Count the batch that ``served`` are in against the other classes that were ready for one."""
        classes = {_class_of(lane) for lane in ready}
        passed = {each: self._passed.get(each, 0) + 1 for each in classes}
        passed.update((_class_of(lane), 0) for lane in served)
        waiting = {_class_of(lane) for lane in self._lanes.values()} if len(ready) < len(self._lanes) else classes
        self._passed = {each: self._passed.get(each, 0) for each in waiting} | passed

    def _forget_empty_lanes(self) -> None:
        self._lanes = {key: lane for key, lane in self._lanes.items() if lane.waiting}


def _class_of(lane: Lane[Item]) -> _Class:
    return lane.bucket, lane.waiting[0].stream, lane.priority
