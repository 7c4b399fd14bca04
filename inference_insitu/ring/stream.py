"""A stream on the producer's side of a ring: its policy, and where each of its slots stands."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inference_insitu.ring.layout import Kind, State
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.region import Slot

if TYPE_CHECKING:
    from inference_insitu.ring.lane import Lane

Coarsen = Callable[[NDArray[Any]], NDArray[Any] | None]
"""Adds up blocks of the policy's ``factor`` along every axis of an array as declared; None of another."""


class Shaped(Protocol):
    """An array as far as its slot must know it."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    @property
    def ndim(self) -> int: ...  # noqa: D102
    @property
    def nbytes(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class StreamPlan:
    """What the producer must know of a stream: its policy, and how a frame is made coarser."""

    policy: PolicyConfig
    coarsen: Coarsen | None = None


class Stream:
    """Slots of one stream on the producer's side: those that are free, by kind, and those under way, oldest first."""

    def __init__(self, name: str, plan: StreamPlan, slots: list[Slot]) -> None:
        self.name = name
        self.policy = plan.policy
        self.one_in = plan.policy.takes_one_in
        self.coarsen = plan.coarsen
        self.free: dict[Kind, list[Slot]] = {kind: [] for kind in Kind}
        for slot in reversed(slots):
            self.free[slot.place.kind].append(slot)
        self.free_memory = self.free[Kind.MEMORY]
        # What a frame is given where no slot in memory is left; empty where the policy has nothing for that.
        self.free_spare = self.free[Kind.SPILL if plan.policy.when_full == "spill" else Kind.COARSE]
        self.capacity = self.free_memory[0].place.capacity
        self.flying: deque[Slot] = deque()
        self.filling: deque[Slot] = deque()  # the first that is being filled, and all that came after it
        self.unfilled: set[int] = set()
        self.in_turn(State.READY, self.flying)
        self.last_step = -1
        self.seen = 0
        self.refused: set[str] = set()  # for which reasons there were refusals
        self.form: NDArray[Any] | None = None  # an array of the type and shape of the newest frame
        self.lane: Lane | None = None

    def formed(self, array: Shaped) -> None:
        """Keep the form of ``array``, which holds no memory of its size."""
        if self.form is None or self.form.shape != array.shape or self.form.dtype != array.dtype:
            self.form = np.broadcast_to(np.empty((), array.dtype), array.shape)

    def in_turn(self, state: int, line: deque[Slot]) -> None:
        """What becomes of the next slot once it is written: its state, and where it stands in line."""
        self.state, self.line = state, line
