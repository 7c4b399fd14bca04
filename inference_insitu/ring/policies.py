"""What happens to a frame whose ring is full, and which frames go in at all."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

WhenFull = Literal["drop_newest", "latest", "degrade", "spill"]
PolicyKind = Literal["block", "latest", "drop_newest", "sample", "degrade", "spill", "sync", "async"]

SYNC_TIMEOUT_S = 60.0
MOST_SPILLED = 4096
"""Every look of the worker goes over all slots."""


@dataclass(frozen=True)
class PolicyConfig:
    """Policy of one stream.

    Parameters
    ----------
    kind : ``latest`` replaces the oldest frame that waits; ``drop_newest`` refuses the new one; ``degrade`` takes it in
        a coarser form; ``spill`` takes it to a file on the node's disk, to be inferred later; ``block`` waits at most
        ``timeout_s`` for a slot, as long as the worker lives, then falls back; ``sample`` takes one frame in ``every``.
        Presets: ``sync`` is ``block`` for 60 s, ``async`` is ``latest``.
    fallback : what ``block`` does after its wait and ``sample`` when full.
    factor : ``degrade`` adds up blocks of ``factor`` voxels along every axis.
    spill_bytes : most that the stream may have on disk, for each rank; never more than ``MOST_SPILLED`` frames.
    """

    kind: PolicyKind = "latest"
    timeout_s: float = 1.0
    fallback: WhenFull = "drop_newest"
    every: int = 1
    factor: int = 2
    spill_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        if self.kind not in get_args(PolicyKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(PolicyKind))}, got {self.kind!r}")
        if self.fallback not in get_args(WhenFull):
            raise ValueError(f"fallback must be one of {', '.join(get_args(WhenFull))}, got {self.fallback!r}")
        if not (isfinite(self.timeout_s) and self.timeout_s > 0):
            raise ValueError(f"timeout_s must be positive and finite, got {self.timeout_s}")
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")
        if not 2 <= self.factor <= 16:
            raise ValueError(f"factor must lie in [2, 16], got {self.factor}")
        if self.spill_bytes < 1:
            raise ValueError(f"spill_bytes must be at least 1, got {self.spill_bytes}")

    @property
    def wait_s(self) -> float:
        """How long a full ring is waited for; 0 where the policy never waits."""
        return {"block": self.timeout_s, "sync": SYNC_TIMEOUT_S}.get(self.kind, 0.0)

    @property
    def when_full(self) -> WhenFull:
        """What happens when there is no free slot (any more)."""
        match self.kind:
            case "block" | "sample":
                return self.fallback
            case "sync":
                return "drop_newest"
            case "async" | "latest":
                return "latest"
            case "drop_newest" | "degrade" | "spill":
                return self.kind
        raise ValueError(f"kind must be a policy, got {self.kind!r}")

    @property
    def takes_one_in(self) -> int:
        """Frames of which one is taken."""
        return self.every if self.kind == "sample" else 1
