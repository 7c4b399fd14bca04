"""What the scaling model is asked about: costs of single messages, a cluster, an analysis, one worker and its ranks."""

import math
from dataclasses import dataclass, field, fields
from typing import Literal

from inference_insitu.inference.batching import BatchConfig
from inference_insitu.ring.policies import PolicyConfig

LATEST_AHEAD = 2
"""Frames of a ``latest`` stream under way to a keeper (``placement.keeper``)."""


@dataclass(frozen=True)
class Costs:
    """What one thing takes, in seconds; ``…_s_byte`` for each byte of a frame.

    Parameters
    ----------
    publish_s, copy_s_byte, end_step_s : simulation rank: ``publish``, its copy, ``end_step`` with the ledger's row.
    look_s, look_ring_s, look_frame_s : worker: one pass over its rings, more for each ring and each frame that waits.
    new_frame_s : worker: a frame seen for the first time.
    batch_s, batch_ring_s, batch_frame_s : worker: a pass that forms a batch takes more, likewise.
    frame_s, frame_s_byte : worker: claiming, checking, settling, writing one answer.
    send_s, send_s_byte : simulation rank, placement ``nodes``: a frame's messages.
    keeper_ring_s, keeper_frame_s : keeper, placement ``nodes``: a pass for each rank served, a frame there and back.
    steer_s, round_s : ``poll_steering`` that need not wait; one round of the maximum over the ranks.
    """

    publish_s: float = 0.0
    copy_s_byte: float = 0.0
    end_step_s: float = 0.0
    look_s: float = 0.0
    look_ring_s: float = 0.0
    look_frame_s: float = 0.0
    new_frame_s: float = 0.0
    batch_s: float = 0.0
    batch_ring_s: float = 0.0
    batch_frame_s: float = 0.0
    frame_s: float = 0.0
    frame_s_byte: float = 0.0
    send_s: float = 0.0
    send_s_byte: float = 0.0
    keeper_ring_s: float = 0.0
    keeper_frame_s: float = 0.0
    steer_s: float = 0.0
    round_s: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{each.name} must be at least 0 and finite, got {value!r}")


@dataclass(frozen=True)
class Machine:
    """What is given, not measured: a cluster's node and file system.

    Parameters
    ----------
    link_bytes_s, link_latency_s : network into one node.
    keepers_per_node : keepers that share a node and its link (``nodes``).
    node_cores : ranks of a node (``cores``): they bound how many one keeper can serve.
    file_operations_s : creations and small writes that the file system's servers take in a second.
    writeback_s : clients hand appended rows to the servers that often; 0 where every write goes at once.
    """

    link_bytes_s: float = 12.5e9
    link_latency_s: float = 2e-6
    keepers_per_node: int = 8
    node_cores: int = 128
    file_operations_s: float = 2e4
    writeback_s: float = 5.0


@dataclass(frozen=True)
class ServiceTime:
    """An analysis: a batch of c frames takes ``batch_s`` + c ``frame_s``."""

    batch_s: float = 0.0
    frame_s: float = 0.0

    def __call__(self, count: int) -> float:
        """Seconds of a batch of ``count``."""
        return self.batch_s + count * self.frame_s


@dataclass(frozen=True)
class Case:
    """One worker and the ``served`` simulation ranks whose rings it reads.

    Parameters
    ----------
    period_s : between two frames of a rank, what the coupling adds left out.
    placement : ``cores`` (``process`` is the same to the worker) or ``nodes``.
    slots : frames that wait in memory, for each rank.
    arrivals : ``together``: ranks meet after every step, as a simulation's do; ``apart``: each by its own clock;
        ``poisson``.
    jitter : ranks that meet leave within this share of a period.
    calls : of the coupling in a period (``end_step`` comes more often than a frame); in them alone are messages heard.
    """

    served: int
    period_s: float
    placement: Literal["cores", "nodes"] = "cores"
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    slots: int = 4
    bytes: int = 1 << 17
    batch: BatchConfig = field(default_factory=BatchConfig)
    arrivals: Literal["together", "apart", "poisson"] = "together"
    jitter: float = 0.02
    calls: int = 1

    def __post_init__(self) -> None:
        if min(self.served, self.slots, self.bytes, self.calls) < 1:
            raise ValueError(f"served, slots, bytes and calls must be at least 1, got {self}")
        if not self.period_s > 0:
            raise ValueError(f"period_s must be positive, got {self.period_s}")

    @property
    def ahead(self) -> int:
        """Frames of a rank that may be under way to its keeper."""
        return max(1, min(LATEST_AHEAD, self.slots - 1)) if self.policy.when_full == "latest" else self.slots

    @property
    def taken(self) -> float:
        """Share of the frames that the policy lets in at all."""
        return 1.0 / self.policy.takes_one_in

    @property
    def offered(self) -> float:
        """λ: frames a second that the policy lets in."""
        return self.served * self.taken / self.period_s


@dataclass(frozen=True)
class World:
    """What a case happens in."""

    costs: Costs
    service: ServiceTime
    machine: Machine = field(default_factory=Machine)
