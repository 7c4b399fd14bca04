"""Shares the rings of a node out among its workers: one rank of the node decides, by how many frames wait or as asked.

It only asks (``holding``): a ring is read as before until its next reader is ready for it. Who dies or cannot start
costs nothing but the attempt.
"""

import time
from collections.abc import Sequence

from inference_insitu.ring.layout import State, Word
from inference_insitu.ring.region import Region
from inference_insitu.scaling import Scaling, ScalingConfig
from inference_insitu.sharing.holding import decline, holder, inherit, is_open, is_orphaned, shares, want
from inference_insitu.sharing.wish import Wish, WishFile
from inference_insitu.watching.events import EventLog

LOOK_S = 0.1


class SharingOut:
    """Shares ``regions`` out among ``workers``, of which the first ones read them.

    Parameters
    ----------
    config : the rule.
    wishes : what was asked for instead.
    timeout_s : how long a worker may take to be ready.
    """

    def __init__(
        self,
        regions: Sequence[Region],
        workers: Sequence[int],
        config: ScalingConfig,
        wishes: WishFile,
        events: EventLog,
        *,
        timeout_s: float,
    ) -> None:
        self._regions, self._workers, self._wishes, self._events = regions, workers, wishes, events
        self._timeout_s = timeout_s
        self._scaling = Scaling(config, config.least, time.monotonic())
        self._useless: set[int] = set()
        self._wish: Wish | None = None
        self._planned: dict[int, int] = {}
        self._since_s = self._looked_s = float("-inf")
        events.log("sharing", workers=list(workers), rings=len(regions))

    def poll(self, now_s: float) -> None:
        """One look."""
        if now_s - self._looked_s < LOOK_S or not all(map(is_open, self._regions)):
            return
        self._looked_s = now_s
        if self._rescue() and not self._planned:
            self._tell_done()
        if self._planned:
            self._follow(now_s)
            return
        waiting = self.waiting
        wish = self._wishes.read()
        if wish is not None and wish != self._wish:
            self._wish = wish
            if wish.count is not None:
                self._share(wish.count, now_s, why=f"asked for {wish.count}", waiting=waiting)
            else:
                self._tell_done()
        elif (wish is None or wish.count is None) and (count := self._scaling.due(waiting, now_s)) is not None:
            if min(count, len(self._usable)) == self._reading:
                self._scaling.changed(self._reading, now_s)  # no other worker can be had: nothing to tell each time
            else:
                self._share(count, now_s, why=f"{waiting} frames wait", waiting=waiting)

    @property
    def _usable(self) -> list[int]:
        return [worker for worker in self._workers if worker not in self._useless]

    @property
    def _reading(self) -> int:
        """How many workers have rings."""
        return len({holder(region) for region in self._regions})

    @property
    def waiting(self) -> int:
        """Frames that wait in the rings."""
        return sum(len(region.standing_at(State.READY)) for region in self._regions)

    def _rescue(self) -> bool:
        """Let others read what a worker has that was given up, whose states are lost; whether there was any."""
        found = False
        for place, region in enumerate(self._regions):
            if not is_orphaned(region):
                continue
            self._useless.add(holder(region))
            self._planned.pop(place, None)
            held = [holder(one) for one in self._regions]
            if usable := self._usable:
                found = True
                heir = min(usable, key=lambda one: (held.count(one) or len(held), usable.index(one)))
                self._events.log("ring_inherited", ring=place, worker=heir, of=holder(region))
                inherit(region, heir)
        return found

    def _share(self, count: int, now_s: float, *, why: str, waiting: int) -> None:
        holders = [holder(region) for region in self._regions]
        readers = self._usable[:count] or [holders[0]]
        planned = shares(holders, readers)
        self._since_s = now_s
        for place, (before, after) in enumerate(zip(holders, planned, strict=True)):
            if before != after:
                self._planned[place] = after
                want(self._regions[place], after)
        self._events.log("workers", count=len(readers), why=why, waiting=waiting, rings=len(self._planned))
        if not self._planned:
            self._tell_done()

    def _follow(self, now_s: float) -> None:
        """See what has become of the rings that are to change hands."""
        for place, heir in [*self._planned.items()]:
            region = self._regions[place]
            declined = region.words[Word.WANTED] != heir + 1
            if holder(region) == heir or declined or now_s - self._since_s > self._timeout_s:
                del self._planned[place]
            if holder(region) != heir and place not in self._planned:
                decline(region)
                if heir not in self._useless:
                    self._events.log("worker_not_joined", worker=heir, why="it declined" if declined else "too late")
                self._useless.add(heir)
        if not self._planned:
            self._tell_done()

    def _tell_done(self) -> None:
        now_s = time.monotonic()
        rings = {str(one): 0 for one in self._workers}
        for region in self._regions:
            rings[str(holder(region))] += 1
        count = self._reading
        self._scaling.changed(count, now_s)
        wish = "" if self._wish is None else self._wish.id
        self._events.log("workers_changed", count=count, rings=rings, wish=wish)
