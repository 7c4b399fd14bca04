"""A frame that waits for an analysis, and the lane in which the frames of one rank wait behind each other."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

Item = TypeVar("Item")

Bucket = tuple[str, tuple[int, ...], str]
"""Analysis, shape and dtype: what the frames of a batch have in common."""


@dataclass(frozen=True, slots=True)
class Pending(Generic[Item]):
    """A frame that waits for one analysis; ``item`` is what the caller knows it by.

    ``published_ns`` and ``deadline_ns``, when its answer must be there (None: whenever), are of the clock of the
    process that asks. A larger ``priority`` comes first.
    """

    item: Item
    analysis: str
    stream: str
    rank: int
    step: int
    shape: tuple[int, ...]
    dtype: str
    published_ns: int
    priority: int = 0
    deadline_ns: int | None = None

    @property
    def key(self) -> tuple[str, str, int, int]:
        """Analysis, stream, rank and step."""
        return self.analysis, self.stream, self.rank, self.step

    @property
    def lane(self) -> tuple[str, str, int]:
        """Analysis, stream and rank, whose frames keep their order."""
        return self.analysis, self.stream, self.rank

    @property
    def bucket(self) -> Bucket:
        """Analysis, shape and dtype."""
        return self.analysis, self.shape, self.dtype


class Lane(Generic[Item]):
    """The frames of one (analysis, stream, rank), by step. Only its ``run`` may leave.

    Attributes
    ----------
    waiting : by ascending step.
    bucket, run : that of the frame at the head, and how many from there on share it.
    priority, oldest_ns, deadline_ns : highest, earliest and earliest of all that wait: the frames ahead of an urgent
        one are as urgent, since it cannot leave before them.
    """

    __slots__ = ("bucket", "deadline_ns", "oldest_ns", "priority", "run", "waiting")

    bucket: Bucket
    run: int
    priority: int
    oldest_ns: int
    deadline_ns: int | None

    def __init__(self, first: Pending[Item]) -> None:
        self.waiting = [first]
        self._summarise()

    def add(self, pending: Pending[Item]) -> None:
        """Let ``pending`` wait at its step's place, behind an equal one."""
        place = len(self.waiting)
        if pending.step < self.waiting[-1].step:
            place = bisect_right(self.waiting, pending.step, key=attrgetter("step"))
        self.waiting.insert(place, pending)
        self.priority = max(self.priority, pending.priority)
        self.oldest_ns = min(self.oldest_ns, pending.published_ns)
        if pending.deadline_ns is not None and (self.deadline_ns is None or pending.deadline_ns < self.deadline_ns):
            self.deadline_ns = pending.deadline_ns
        if place <= self.run and pending.bucket == self.bucket:
            self.run += 1
        elif place < self.run:  # another shape cuts the run, or is the new head
            self.run = place or 1
            self.bucket = self.waiting[0].bucket

    def take(self, count: int) -> None:
        """Remove the first ``count`` frames."""
        del self.waiting[:count]
        self._summarise()

    def remove(self, unwanted: Callable[[Pending[Item]], bool]) -> list[Pending[Item]]:
        """Take out the frames that are ``unwanted``."""
        gone = [each for each in self.waiting if unwanted(each)]
        if gone:
            left = {id(each) for each in gone}
            self.waiting = [each for each in self.waiting if id(each) not in left]
            self._summarise()
        return gone

    def _summarise(self) -> None:
        if not self.waiting:
            self.run = 0
            return
        self.priority = max(each.priority for each in self.waiting)
        self.oldest_ns = min(each.published_ns for each in self.waiting)
        deadlines = [each.deadline_ns for each in self.waiting if each.deadline_ns is not None]
        self.deadline_ns = min(deadlines, default=None)
        self.bucket = self.waiting[0].bucket
        others = (place for place, each in enumerate(self.waiting) if each.bucket != self.bucket)
        self.run = next(others, len(self.waiting))
