"""A worker and the rings that it serves, event by event: the coupling's own batcher and policies on a model's clock.

Workers share nothing but what ``scaling_model`` accounts for (file system, steering), so one of them stands for all.
Of the rings there are the slots alone, of the frames the moments. What takes time does so by ``scaling_model.Costs``.
"""

import heapq
from collections.abc import Callable

import numpy as np
from scaling_case import Case, World
from scaling_model import added_s, answers_s, handling_s, look_s
from scaling_outcome import Frame, Outcome, Rank

from inference_insitu.inference.batching import Batcher, Pending
from inference_insitu.ring.layout import Kind

SHORTEST_NAP_S, LONGEST_NAP_S = 0.0002, 0.002
"""Of a worker and of a keeper that find nothing."""
WAIT_S = 0.0002
"""Between a blocked rank's looks."""
SHAPES = {Kind.MEMORY: (1,), Kind.SPILL: (1,), Kind.COARSE: (0,)}
"""A coarser frame is not stacked with whole ones."""
STEADY = (0.55, 0.75)
"""Shares of a run of ``frames_of`` frames between which rings are as full as they will be, and not yet drained."""


def play(
    case: Case,
    world: World,
    *,
    frames: int,
    seed: int,
    ranks: int = 1,
    counted: tuple[float, float] = (0.2, 0.8),
    backlog: int = 0,
) -> Outcome:
    """Every rank publishes ``frames`` frames; those between the shares ``counted`` of the run make steady figures.

    ``backlog`` frames lie in every ring at the beginning, as after a pause of the worker; they are published, too.
    """
    return _Play(case, world, frames, seed, ranks, counted).run(backlog)


def frames_of(case: Case) -> int:
    """Frames of each rank until a case is steady; fewer of many ranks, whose rings are full soon."""
    return 40 if case.served <= 128 else 14


class _Play:
    def __init__(
        self, case: Case, world: World, frames: int, seed: int, ranks: int, counted: tuple[float, float]
    ) -> None:
        self._case, self._world, self._frames = case, world, frames
        self._first, self._last = (int(share * frames) for share in counted)
        self._random = np.random.default_rng(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = 0
        self._added_s = added_s(case, world, ranks)
        spare = {kind: case.slots if case.policy.when_full == name else 0 for kind, name in
                 ((Kind.COARSE, "degrade"), (Kind.SPILL, "spill"))}  # fmt: skip
        if case.policy.when_full == "spill":
            spare[Kind.SPILL] = max(1, case.policy.spill_bytes // case.bytes)
        self._ranks = [Rank({Kind.MEMORY: case.slots} | spare, case.ahead) for _ in range(case.served)]
        self._batcher = Batcher[Frame]({"answer": case.batch})
        self._unseen: list[Frame] = []
        self._met = 0
        self._met_s = self._longest_s = 0.0
        self._finished = 0
        self._link_s = self._keeper_s = 0.0
        self._last_s = 0.0
        self._in_system = 0
        self.outcome = Outcome()

    def run(self, backlog: int) -> Outcome:
        case = self._case
        for number, rank in enumerate(self._ranks):
            for _ in range(min(backlog, case.slots)):
                self.outcome.published += 1
                self._enter(rank, Frame(number, 0, 0.0), 0.0)
        for number in range(case.served):
            start_s = self._random.uniform(0, case.period_s) if case.arrivals != "together" else self._jitter()
            self._at(start_s, self._publish, number)
        self._serve()
        out = self.outcome
        if out.ended_s:
            out.compute, out.polling = out.compute / out.ended_s, out.polling / out.ended_s
        return out

    # The simulation's ranks

    def _publish(self, now_s: float, number: int) -> None:
        rank = self._ranks[number]
        rank.began_s = now_s
        rank.step += 1
        self.outcome.published += 1
        if (rank.step - 1) % self._case.policy.takes_one_in:
            self._refuse(rank.step, "sampled")
            self._released(now_s, number)
            return
        frame = Frame(number, rank.step, now_s)
        if self._enter(rank, frame, now_s):
            self._released(now_s, number)
        elif self._case.policy.wait_s:
            rank.blocked = frame
            self._at(now_s + self._case.policy.wait_s, self._gives_up, number, frame)
        else:
            self._full(rank, frame, now_s)

    def _enter(self, rank: Rank, frame: Frame, now_s: float) -> bool:
        if not rank.free[frame.kind]:
            return False
        rank.free[frame.kind] -= 1
        rank.frames.append(frame)
        self._count(now_s, 1)
        if self._case.placement == "cores":
            self._show(frame, now_s + self._copy_s)
        else:
            self._send(rank, now_s)
        return True

    def _full(self, rank: Rank, frame: Frame, now_s: float) -> None:
        """No slot, and no wait (any more): what the policy does."""
        when_full = self._case.policy.when_full
        if when_full == "latest":
            state = "ready" if self._case.placement == "cores" else "waiting"
            oldest = next((one for one in rank.frames if one.state == state), None)
            if oldest is not None:
                self._end(oldest, now_s, "superseded")
                rank.free[oldest.kind] += 1
        elif when_full in ("degrade", "spill"):
            frame.kind = Kind.COARSE if when_full == "degrade" else Kind.SPILL
        if not self._enter(rank, frame, now_s):
            self._refuse(frame.step, "timeout" if self._case.policy.wait_s and when_full == "drop_newest" else "full")
        self._released(now_s, frame.rank)

    def _gives_up(self, now_s: float, number: int, frame: Frame) -> None:
        rank = self._ranks[number]
        if rank.blocked is frame:
            rank.blocked = None
            self._full(rank, frame, now_s)

    def _freed(self, now_s: float, number: int) -> None:
        rank = self._ranks[number]
        if rank.blocked is not None and self._enter(rank, rank.blocked, now_s):
            rank.blocked = None
            self._released(now_s, number)

    def _released(self, now_s: float, number: int) -> None:
        """``publish`` returns; the next step begins, at once or when all ranks have come so far."""
        rank, case = self._ranks[number], self._case
        waited_s = now_s - rank.began_s
        if case.arrivals == "together":
            self._longest_s = waited_s = max(waited_s, self._longest_s)
        if self._first < rank.step <= self._last and (case.arrivals != "together" or self._met == case.served - 1):
            self.outcome.waited_s.append(waited_s)
        if case.arrivals != "together":
            pause_s = case.period_s if case.arrivals == "apart" else self._random.exponential(case.period_s)
            self._next(now_s + pause_s + self._added_s, number)
            return
        self._met += 1
        self._met_s = max(self._met_s, now_s)
        if self._met == case.served:
            for other in range(case.served):
                self._next(self._met_s + self._added_s + case.period_s + self._jitter(), other)
            self._met, self._met_s, self._longest_s = 0, 0.0, 0.0

    def _next(self, at_s: float, number: int) -> None:
        if self._ranks[number].step < self._frames:
            self._at(at_s, self._publish, number)
        else:
            self._finished += 1

    # On the way to the worker and back

    def _send(self, rank: Rank, now_s: float) -> None:
        """What has a place over there leaves: through the link, one after another, then seen by the keeper."""
        for frame in rank.frames:
            if frame.state != "waiting" or not rank.credits:
                continue
            rank.credits -= 1
            frame.state = "under way"
            machine = self._world.machine
            share = machine.link_bytes_s / machine.keepers_per_node
            self._link_s = max(self._link_s, now_s + self._copy_s) + self._case.bytes / share
            self._at(self._through_keeper(self._link_s + machine.link_latency_s), self._arrive, frame)

    def _arrive(self, now_s: float, frame: Frame) -> None:
        self._show(frame, now_s)

    def _told(self, now_s: float, frame: Frame) -> None:
        """The simulation rank hears of an outcome, and has the slot over there again."""
        rank = self._ranks[frame.rank]
        rank.credits += 1
        rank.frames.remove(frame)
        rank.free[frame.kind] += 1
        self._end(frame, now_s, "inferred")
        self._send(rank, now_s)
        self._freed(now_s, frame.rank)

    def _through_keeper(self, now_s: float) -> float:
        """When a keeper that passes over all its ranks in turn has handled what comes now."""
        costs = self._world.costs
        pass_s = costs.keeper_ring_s * self._case.served
        seen_s = now_s + self._random.uniform(0, 1) * (pass_s + SHORTEST_NAP_S)
        self._keeper_s = max(seen_s, self._keeper_s) + costs.keeper_frame_s / 2
        return self._keeper_s

    def _show(self, frame: Frame, now_s: float) -> None:
        frame.state, frame.visible_s = "ready", now_s
        self._unseen.append(frame)

    # The worker

    def _serve(self) -> None:
        case, costs = self._case, self._world.costs
        now_s, nap_s = 0.0, SHORTEST_NAP_S
        while True:
            if not self._unseen and not self._batcher.depth:
                if not self._events:
                    return
                self._advance(self._events[0][0])
                if self._unseen:  # found in the middle of a nap or of a pass over empty rings
                    pause_s = self._random.uniform(0, 1) * self._idle_s
                    now_s = max(now_s, min(one.visible_s for one in self._unseen) + pause_s)
                    nap_s = SHORTEST_NAP_S
                continue
            self._advance(now_s + look_s(case, costs, self._batcher.depth))
            new = self._see(now_s)
            looked_s = now_s + look_s(case, costs, self._batcher.depth, new)
            self._advance(looked_s)
            self._batcher.discard(lambda pending: pending.item.state != "ready")
            waiting = self._batcher.depth
            batch = self._batcher.next(round(looked_s * 1e9), drain=self._finished == case.served)
            if batch is None:
                now_s = looked_s + nap_s
                nap_s = min(2 * nap_s, LONGEST_NAP_S)
                self._advance(now_s)
                continue
            for frame in batch.items:
                frame.state = "taken"
            service_s = self._world.service(len(batch))
            done_s = looked_s + answers_s(case, self._world, len(batch), waiting)
            self._advance(done_s - len(batch) * handling_s(case, costs))
            self._batcher.served(batch, service_s)
            self.outcome.batches += 1
            self.outcome.compute += service_s
            self.outcome.polling += done_s - now_s - service_s
            for index, frame in enumerate(batch.items):
                self._answer(frame, done_s - (len(batch) - 1 - index) * handling_s(case, costs))
            now_s, nap_s = done_s, SHORTEST_NAP_S
            self._advance(now_s)

    def _see(self, began_s: float) -> int:
        """Ring after ring: a frame is seen if it was there when its ring's turn came; how many are."""
        costs, before = self._world.costs, self._batcher.depth
        later = []
        for frame in self._unseen:
            if frame.state != "ready":
                continue
            if frame.visible_s > began_s + costs.look_s + costs.look_ring_s * frame.rank:
                later.append(frame)
                continue
            self._batcher.add(
                Pending(frame, "answer", "frames", frame.rank, frame.step, SHAPES[frame.kind], "float32",
                        round(frame.published_s * 1e9))
            )  # fmt: skip
        self._unseen = later
        return self._batcher.depth - before

    def _answer(self, frame: Frame, done_s: float) -> None:
        frame.answered_s = done_s
        self.outcome.ended_s = max(self.outcome.ended_s, done_s)
        if self._case.placement == "cores":
            self._at(done_s, self._answered, frame)
            return
        back_s = self._through_keeper(done_s) + self._world.machine.link_latency_s
        rank = self._ranks[frame.rank]
        # The rank listens in its calls alone, unless it waits for just this.
        call_s = self._case.period_s / self._case.calls
        calls = -(-max(back_s - rank.began_s, 0.0) // call_s)
        at_s = back_s + WAIT_S if rank.blocked is not None else max(back_s, rank.began_s + calls * call_s)
        self._at(at_s, self._told, frame)

    def _answered(self, now_s: float, frame: Frame) -> None:
        rank = self._ranks[frame.rank]
        rank.frames.remove(frame)
        rank.free[frame.kind] += 1
        self._end(frame, now_s, "inferred")
        if rank.blocked is not None:
            self._at(now_s + WAIT_S / 2, self._freed, frame.rank)

    # Time and books

    @property
    def _copy_s(self) -> float:
        return self._world.costs.publish_s + self._case.bytes * self._world.costs.copy_s_byte

    @property
    def _idle_s(self) -> float:
        return LONGEST_NAP_S + look_s(self._case, self._world.costs, 0) if self._world.costs.look_s else 0.0

    def _jitter(self) -> float:
        return float(self._random.uniform(0, self._case.jitter * self._case.period_s))

    def _at(self, at_s: float, act: Callable[..., None], *given: object) -> None:
        self._order += 1
        heapq.heappush(self._events, (at_s, self._order, act, given))

    def _advance(self, until_s: float) -> None:
        while self._events and self._events[0][0] <= until_s:
            at_s, _, act, given = heapq.heappop(self._events)
            act(at_s, *given)

    def _count(self, now_s: float, change: int) -> None:
        """Frames in the system, over time."""
        self.outcome.frames_s += self._in_system * max(now_s - self._last_s, 0.0)
        self._last_s = max(now_s, self._last_s)
        self._in_system += change

    def _refuse(self, step: int, fate: str) -> None:
        self.outcome.fates[fate] += 1
        if self._first < step <= self._last:
            self.outcome.counted[fate] += 1

    def _end(self, frame: Frame, now_s: float, fate: str) -> None:
        frame.state = "ended"
        self._count(now_s, -1)
        self._refuse(frame.step, fate)
        if fate == "superseded":
            self._ranks[frame.rank].frames.remove(frame)
        elif self._first < frame.step <= self._last:
            self.outcome.latency_s.append(now_s - frame.published_s)
