"""Batches across ranks and streams: what leaves together, when, and in which order."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_insitu.inference.batching import Batch, BatchConfig, Batcher, Pending
from inference_insitu.inference.pending import Lane
from inference_insitu.inference.service_times import ServiceTimes

MS = 1_000_000
SHAPES = ((8, 8, 8), (4, 4, 4))


def frame(
    step: int,
    *,
    analysis: str = "a",
    stream: str = "s",
    rank: int = 0,
    shape: tuple[int, ...] = SHAPES[0],
    at_ms: float | None = None,
    priority: int = 0,
    deadline_ms: float | None = None,
) -> Pending[str]:
    published_ns = round((step if at_ms is None else at_ms) * MS)
    deadline_ns = None if deadline_ms is None else round(deadline_ms * MS)
    item = f"{analysis}/{stream}/{rank}/{step}"
    return Pending(item, analysis, stream, rank, step, shape, "<f4", published_ns, priority, deadline_ns)


def batcher(size: int = 4, delay_ms: float = 0.0, buckets: tuple[int, ...] = (), **options: Any) -> Batcher[str]:
    return Batcher({"a": BatchConfig(size, delay_ms / 1000, buckets)}, **options)


def steps(batch: Batch[str] | None) -> list[int]:
    assert batch is not None
    return [each.step for each in batch.pending]


def streams(batch: Batch[str] | None) -> list[str]:
    assert batch is not None
    return [each.stream for each in batch.pending]


def test_a_batch_is_formed_once_it_is_full() -> None:
    waiting = batcher(size=3, delay_ms=1000)
    for rank in range(2):
        waiting.add(frame(0, rank=rank))
    assert waiting.next(1 * MS) is None
    assert waiting.depth == 2
    waiting.add(frame(0, rank=2))
    assert waiting.due_ns() == 0
    batch = waiting.next(1 * MS)
    assert batch is not None
    assert (len(batch), batch.cause, waiting.depth) == (3, "full", 0)
    assert batch.items == ("a/s/0/0", "a/s/1/0", "a/s/2/0")
    assert waiting.next(1 * MS) is None
    assert waiting.due_ns() is None


def test_a_batch_is_formed_once_its_oldest_frame_has_waited() -> None:
    waiting = batcher(size=8, delay_ms=10)
    waiting.add(frame(0, rank=0, at_ms=5))
    waiting.add(frame(0, rank=1, at_ms=12))
    assert waiting.due_ns() == 15 * MS
    assert waiting.next(15 * MS - 1) is None
    batch = waiting.next(15 * MS)
    assert batch is not None
    assert (len(batch), batch.cause) == (2, "waited")


def test_shapes_dtypes_and_analyses_do_not_mix() -> None:
    waiting = Batcher[str]({"a": BatchConfig(8, 0.0), "b": BatchConfig(2, 0.0)})
    for rank in range(3):
        waiting.add(frame(0, rank=rank, shape=SHAPES[rank % 2]))
        waiting.add(frame(0, rank=rank, analysis="b"))
    batches = waiting.flush(0)
    assert sorted(len(batch) for batch in batches) == [1, 1, 2, 2]
    assert all({each.bucket for each in batch.pending} == {batch.bucket} for batch in batches)


def test_highest_priority_first_then_oldest() -> None:
    waiting = batcher(size=2)
    waiting.add(frame(0, stream="old", at_ms=1))
    waiting.add(frame(0, stream="high", at_ms=3, priority=5))
    waiting.add(frame(0, stream="older", at_ms=0))
    assert streams(waiting.next(10 * MS)) == ["high", "older"]
    assert streams(waiting.next(10 * MS)) == ["old"]


def test_a_ready_low_priority_does_not_wait_for_a_high_one_that_is_not_ready() -> None:
    waiting = Batcher[str]({"a": BatchConfig(8, 1.0), "b": BatchConfig(1, 0.0)})
    waiting.add(frame(0, priority=9))
    waiting.add(frame(0, analysis="b"))
    batch = waiting.next(2 * MS)
    assert batch is not None
    assert batch.analysis == "b"


def test_a_degraded_frame_does_not_overtake_a_whole_one() -> None:
    """One rank: whole, small, whole. Another rank's small frames fill the batch in between."""
    waiting = batcher(size=4)
    for step, shape in enumerate((SHAPES[0], SHAPES[1], SHAPES[0])):
        waiting.add(frame(step, shape=shape))
    waiting.add(frame(0, rank=1, shape=SHAPES[1], at_ms=0.5))
    taken = [[(each.rank, each.step) for each in batch.pending] for batch in waiting.flush(10 * MS)]
    assert taken == [[(0, 0)], [(1, 0), (0, 1)], [(0, 2)]]


def test_frames_of_a_rank_leave_by_step_whatever_order_they_came_in() -> None:
    waiting = batcher(size=2)
    for step in (3, 1, 0, 2):
        waiting.add(frame(step))
    assert [steps(batch) for batch in waiting.flush(10 * MS)] == [[0, 1], [2, 3]]


def test_an_urgent_frame_lends_its_priority_to_those_ahead_of_it() -> None:
    waiting = batcher(size=1)
    waiting.add(frame(0, stream="rival", at_ms=0, priority=1))
    waiting.add(frame(1, stream="s", at_ms=1))
    waiting.add(frame(2, stream="s", at_ms=2, priority=2))
    assert [streams(batch) for batch in waiting.flush(9 * MS)] == [["s"], ["s"], ["rival"]]


@pytest.mark.parametrize(("count", "padded"), [(1, 1), (2, 2), (3, 4), (5, 8), (6, 8)])
def test_sizes_are_padded_to_the_buckets(count: int, padded: int) -> None:
    waiting = batcher(size=6, buckets=(1, 2, 4, 8))
    for rank in range(count):
        waiting.add(frame(0, rank=rank))
    batch = waiting.next(0)
    assert batch is not None
    assert (len(batch), batch.padded_size) == (count, padded)


def test_without_buckets_nothing_is_padded() -> None:
    assert [BatchConfig().padded(count) for count in (1, 3, 8)] == [1, 3, 8]


def test_frames_past_their_deadline_are_late() -> None:
    waiting = batcher(size=8, delay_ms=1000)
    waiting.add(frame(0, rank=0, deadline_ms=5))
    waiting.add(frame(0, rank=1, deadline_ms=50))
    waiting.add(frame(0, rank=2))
    assert waiting.late(4 * MS) == []
    assert [each.rank for each in waiting.late(5 * MS)] == [0]
    assert waiting.depth == 2


def served(seconds: float, count: int = 1, **options: Any) -> Batcher[str]:
    """A batcher that has seen two batches of ``count`` frames take exactly ``seconds`` each."""
    waiting = batcher(size=8, delay_ms=1000, **options)
    for _ in range(30):
        for rank in range(count):
            waiting.add(frame(0, rank=rank))
        batch = waiting.next(0, drain=True)
        assert batch is not None
        waiting.served(batch, seconds)
    return waiting


def test_frames_that_cannot_be_answered_in_time_are_late() -> None:
    waiting = served(0.020)
    waiting.add(frame(1, rank=0, at_ms=0, deadline_ms=19))
    waiting.add(frame(1, rank=1, at_ms=0, deadline_ms=21))
    assert [each.rank for each in waiting.late(0)] == [0]


def test_a_deadline_forms_the_batch_while_it_can_be_met() -> None:
    """20 ms of work before a deadline at 100 ms begin near 80 ms, not after a second's delay."""
    waiting = served(0.020, poll_s=0.001)
    waiting.add(frame(1, at_ms=0, deadline_ms=100))
    due_ns = waiting.due_ns()
    assert due_ns is not None
    assert 75 * MS < due_ns < 79.5 * MS
    assert waiting.next(due_ns - 1) is None
    assert waiting.late(due_ns) == []
    batch = waiting.next(due_ns)
    assert batch is not None
    assert batch.cause == "deadline"


def test_a_deadline_behind_another_shape_hurries_the_head_of_its_lane() -> None:
    waiting = served(0.020)
    waiting.add(frame(1, at_ms=0))
    waiting.add(frame(2, at_ms=0, shape=SHAPES[1], deadline_ms=100))
    assert waiting.next(70 * MS) is None
    assert steps(waiting.next(80 * MS)) == [1]
    assert steps(waiting.next(100 * MS)) == [2]


def test_a_batch_is_cut_short_where_its_deadline_could_not_be_met() -> None:
    """Eight frames take 80 ms, in proportion: 35 ms leave time for three."""
    waiting = served(0.080, count=8)
    for rank in range(8):
        waiting.add(frame(1, rank=rank, at_ms=0, deadline_ms=35 if rank == 0 else None))
    batch = waiting.next(0)
    assert batch is not None
    assert [each.rank for each in batch.pending] == [0, 1, 2]


def test_a_hopeless_deadline_does_not_cut_a_batch() -> None:
    waiting = served(0.080, count=8)
    for rank in range(8):
        waiting.add(frame(1, rank=rank, at_ms=0, deadline_ms=3))
    batch = waiting.next(0)
    assert batch is not None
    assert len(batch) == 8


def test_one_slow_batch_does_not_condemn_every_later_frame() -> None:
    """After a first call of 10 s frames are late by expectation; the expectation fades until one is tried."""
    waiting = batcher(size=1)
    waiting.add(frame(0))
    first = waiting.next(0)
    assert first is not None
    waiting.served(first, 10.0)
    lost = 0
    for step in range(1, 200):
        now_ns = step * 1000 * MS
        waiting.add(frame(step, at_ms=step * 1000, deadline_ms=step * 1000 + 100))
        lost += len(waiting.late(now_ns))
        batch = waiting.next(now_ns)
        if batch is not None:
            waiting.served(batch, 0.01)
    assert 1 < lost < 60
    assert waiting.expected_s(("a", SHAPES[0], "<f4"), 1) == pytest.approx(0.01, rel=0.05)


def test_unwanted_frames_are_discarded() -> None:
    waiting = batcher(size=4)
    for step in range(4):
        waiting.add(frame(step))
    assert [each.step for each in waiting.discard(lambda each: each.step % 2 == 0)] == [0, 2]
    assert [steps(batch) for batch in waiting.flush(9 * MS)] == [[1, 3]]


@pytest.mark.parametrize("fair_every", [2, 3, 8])
def test_what_priorities_hold_back_is_served_every_kth_batch(fair_every: int) -> None:
    waiting = batcher(size=2, fair_every=fair_every)
    for step in range(200):
        waiting.add(frame(step, stream="high", priority=10))
        waiting.add(frame(step, stream="low", shape=SHAPES[1]))
    order = [streams(waiting.next(10**12))[0] for _ in range(90)]
    turns = [place for place, stream in enumerate(order) if stream == "low"]
    assert {late - early for early, late in pairwise(turns)} == {fair_every}


def test_priority_takes_all_turns_but_the_fair_ones() -> None:
    waiting = batcher(size=1, fair_every=4)
    for step in range(40):
        for stream, priority in (("high", 2), ("low", 1)):
            waiting.add(frame(step, stream=stream, priority=priority))
    order = [streams(waiting.next(10**12))[0] for _ in range(40)]
    assert order.count("high") == 30


frames = st.fixed_dictionaries(
    {
        "analysis": st.sampled_from("ab"),
        "stream": st.sampled_from("st"),
        "rank": st.integers(0, 2),
        "shape": st.sampled_from(SHAPES),
        "priority": st.integers(0, 2),
        "deadline": st.none() | st.integers(0, 60),
    }
)
scripts = st.lists(frames | st.integers(0, 15), min_size=1, max_size=60)
CONFIGS = {"a": BatchConfig(3, 0.010, (1, 2, 4)), "b": BatchConfig(5, 0.004)}


class Run:
    """Plays a script (frames, or ms that pass before the worker asks) and keeps what happened."""

    def __init__(self, took_ms: float, fair_every: int) -> None:
        self.batcher = Batcher[str](CONFIGS, fair_every=fair_every)
        self.now_ns, self.took_ms = 0, took_ms
        self.waiting: dict[str, Pending[str]] = {}
        self.added: list[Pending[str]] = []
        self.answered: list[Pending[str]] = []
        self.late: list[Pending[str]] = []

    def play(self, script: list[dict[str, Any] | int]) -> None:
        for event in script:
            if isinstance(event, int):
                self.now_ns += event * MS
                self.ask()
            else:
                self.add(**event)
        while self.batcher.depth:
            self.ask(drain=True)

    def add(self, deadline: int | None, **options: Any) -> None:
        now_ms = self.now_ns / MS
        deadline_ms = None if deadline is None else now_ms + deadline
        pending = frame(len(self.added), at_ms=now_ms, deadline_ms=deadline_ms, **options)
        self.added.append(pending)
        self.waiting[pending.item] = pending
        self.batcher.add(pending)

    def ask(self, drain: bool = False) -> None:
        late = self.batcher.late(self.now_ns)
        self.late += late
        for each in late:
            del self.waiting[each.item]
        due_ns = self.batcher.due_ns()
        batch = self.batcher.next(self.now_ns, drain=drain)
        assert (batch is not None) == (due_ns is not None and (drain or due_ns <= self.now_ns))
        if batch is None:
            self.check_patience()
            return
        self.check(batch)
        self.answered += batch.pending
        for each in batch.pending:
            del self.waiting[each.item]
        assert self.batcher.depth == len(self.waiting)
        self.now_ns += round(self.took_ms * MS)
        self.batcher.served(batch, self.took_ms / 1000)

    def check_patience(self) -> None:
        """Nothing is held back that has waited its delay, or that would fill a batch."""
        full: dict[tuple[object, ...], int] = defaultdict(int)
        heads: dict[tuple[object, ...], Pending[str]] = {}
        for each in self.waiting.values():
            assert self.now_ns < each.published_ns + CONFIGS[each.analysis].delay_s * 1e9
            assert each.deadline_ns is None or each.deadline_ns > self.now_ns
            if heads.setdefault(each.lane, each).bucket == each.bucket:
                full[each.bucket] += heads[each.lane] is each
        assert all(count < CONFIGS[str(bucket[0])].size for bucket, count in full.items())

    def check(self, batch: Batch[str]) -> None:
        config = CONFIGS[batch.analysis]
        assert 1 <= len(batch) <= config.size
        assert len(batch) <= batch.padded_size
        assert not config.buckets or batch.padded_size in config.buckets
        assert {each.bucket for each in batch.pending} == {batch.bucket}


@given(script=scripts, took_ms=st.sampled_from([0.0, 1.0, 30.0]), fair_every=st.sampled_from([2, 3, 1000]))
@settings(max_examples=200, deadline=None)
def test_every_frame_leaves_once_in_order_and_in_time(
    script: list[dict[str, Any] | int], took_ms: float, fair_every: int
) -> None:
    run = Run(took_ms, fair_every)
    run.play(script)
    assert sorted(each.key for each in run.answered + run.late) == sorted(each.key for each in run.added)
    assert all(each.deadline_ns is not None for each in run.late)
    lanes: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for each in run.answered:
        lanes[each.lane].append(each.step)
    assert all(order == sorted(order) for order in lanes.values())


@given(
    waiting=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=30),
    size=st.integers(1, 8),
)
@settings(deadline=None)
def test_without_ageing_frames_leave_by_priority_then_age(waiting: list[tuple[int, int]], size: int) -> None:
    """Each frame in a lane of its own, all of one shape: the order is that of a sort."""
    batches = batcher(size=size, fair_every=10**9)
    for rank, (priority, at_ms) in enumerate(waiting):
        batches.add(frame(0, rank=rank, at_ms=at_ms, priority=priority))
    left = [each for batch in batches.flush(100 * MS) for each in batch.pending]
    assert left == sorted(left, key=lambda each: (-each.priority, each.published_ns, each.rank))
    assert len(left) == len(waiting)


@given(
    priorities=st.lists(st.integers(0, 1000), min_size=2, max_size=5),
    fair_every=st.integers(2, 6),
    size=st.integers(1, 4),
)
@settings(deadline=None)
def test_no_stream_starves(priorities: list[int], fair_every: int, size: int) -> None:
    """m streams that never run dry: each is in one of any ``fair_every + m - 2`` batches in a row."""
    batches = batcher(size=size, fair_every=fair_every)
    step = 0
    order: list[set[str]] = []
    for _ in range(60):
        while batches.depth < 4 * len(priorities) * size:
            for number, priority in enumerate(priorities):
                shape = (number % 2 + 1, 4, 4)
                batches.add(frame(step, stream=f"{number}", priority=priority, shape=shape))
            step += 1
        order.append(set(streams(batches.next(10**15))))
    longest = fair_every + len(priorities) - 2
    for number in range(len(priorities)):
        turns = [-1, *(place for place, served in enumerate(order) if f"{number}" in served)]
        gaps = [late - early for early, late in zip(turns, [*turns[1:], len(order)], strict=True)]
        assert max(gaps) <= longest


@given(adds=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(SHAPES)), min_size=1, max_size=12))
def test_a_lane_knows_how_many_at_its_head_share_a_shape(adds: list[tuple[int, tuple[int, ...]]]) -> None:
    pending = [frame(step, shape=shape, priority=step, deadline_ms=step + 0.5) for step, shape in adds]
    lane = Lane(pending[0])
    for each in pending[1:]:
        lane.add(each)
    assert lane.waiting == sorted(pending, key=lambda each: each.step)
    same = [each.shape == lane.waiting[0].shape for each in lane.waiting]
    assert lane.run == ([*same, False]).index(False)
    assert lane.bucket == lane.waiting[0].bucket
    assert lane.priority == max(step for step, _ in adds)
    assert lane.deadline_ns == min(each.deadline_ns for each in pending if each.deadline_ns is not None)


def test_service_times_follow_what_was_measured() -> None:
    times = ServiceTimes[str]()
    assert times.expected_s("a", 4) == 0
    times.learn("a", 4, 0.4)
    assert times.expected_s("a", 4) == pytest.approx(0.4)
    assert times.expected_s("a", 1) == pytest.approx(0.1)
    assert times.cautious_s("a", 4) > times.expected_s("a", 4)
    for _ in range(60):
        times.learn("a", 4, 0.2)
    assert times.expected_s("a", 4) == pytest.approx(0.2, rel=1e-3)
    assert times.cautious_s("a", 4) == pytest.approx(0.2, rel=0.02)
    times.learn("a", 1, 0.15)
    assert times.expected_s("a", 1) == pytest.approx(0.15)
    assert times.expected_s("b", 1) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must lie in"),
        ({"size": 5000}, "size must lie in"),
        ({"delay_s": -1.0}, "delay_s must lie in"),
        ({"delay_s": float("nan")}, "delay_s must lie in"),
        ({"buckets": (1, 2, 4)}, r"buckets must ascend from 1 or more to size \(8\) or more, got \(1, 2, 4\)"),
        ({"buckets": (8, 8)}, "buckets must ascend"),
        ({"buckets": (0, 8)}, "buckets must ascend"),
    ],
    ids=str,
)
def test_bad_configurations_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchConfig(**options)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="configs must name an analysis"):
        Batcher({})
    with pytest.raises(ValueError, match="fair_every must be at least 2"):
        batcher(fair_every=1)
    with pytest.raises(ValueError, match="poll_s must be at least 0"):
        batcher(poll_s=-1.0)
    waiting = batcher()
    with pytest.raises(ValueError, match="analysis must be one of a, got 'b'"):
        waiting.add(frame(0, analysis="b"))
    waiting.add(frame(0))
    batch = waiting.next(0)
    assert batch is not None
    with pytest.raises(ValueError, match="seconds must be at least 0 and finite"):
        waiting.served(batch, float("nan"))
