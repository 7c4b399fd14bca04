"""What ``scaling_events`` plays with, frames and the ranks that publish them, and what comes of it."""

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from inference_insitu.ring.layout import Kind


@dataclass(slots=True, eq=False)
class Frame:
    """One frame that was accepted; ``state`` is waiting, under way, ready, taken or ended."""

    rank: int
    step: int
    published_s: float
    kind: Kind = Kind.MEMORY
    state: str = "waiting"
    visible_s: float = 0.0
    answered_s: float = 0.0


@dataclass
class Rank:
    """The slots of one simulation rank, by kind, and what lies in them, oldest first."""

    free: dict[Kind, int]
    credits: int
    frames: deque[Frame] = field(default_factory=deque)
    step: int = 0
    began_s: float = 0.0
    blocked: Frame | None = None


@dataclass
class Outcome:
    """What came of it. ``counted`` leaves the run's beginning and end out, the counters do not.

    ``waited_s`` is what a policy that waits adds to a step: where ranks meet, the longest wait among them. ``compute``
    and ``polling`` are shares of the time until the last answer, ``frames_s`` the integral of the frames in the system.
    """

    published: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    latency_s: list[float] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    waited_s: list[float] = field(default_factory=list)
    ended_s: float = 0.0
    compute: float = 0.0
    polling: float = 0.0
    frames_s: float = 0.0
    batches: int = 0

    @property
    def inferred(self) -> int:
        """Frames that were answered."""
        return self.fates["inferred"]

    @property
    def dropped(self) -> int:
        """Frames that were not."""
        return self.fates.total() - self.inferred

    @property
    def drop_fraction(self) -> float:
        """Share of the counted frames without an answer."""
        return 1 - self.counted["inferred"] / max(self.counted.total(), 1)

    @property
    def throughput(self) -> float:
        """Answers a second, from the first publication to the last answer."""
        return self.inferred / max(self.ended_s, 1e-12)

    def latency(self, percent: float) -> float | None:
        """Percentile of the latencies."""
        return float(np.percentile(self.latency_s, percent)) if self.latency_s else None
