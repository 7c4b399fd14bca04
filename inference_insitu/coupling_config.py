"""Configuration of a coupling: which arrays leave the simulation, who answers them, and what if something fails.

Free of torch and MPI. Read strictly: an unknown key, analysis, operator or variable names the nearest one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from cdi.requirements import nearest, require, require_positive
from inference_insitu.inference.batching import BatchConfig
from inference_insitu.inference.frame import Variable
from inference_insitu.reduction.operator_config import OperatorConfig
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.scaling import ScalingConfig
from inference_insitu.steering.config import SteeringConfig
from inference_insitu.transit.migration.config import MigrationConfig

PlacementKind = Literal["cores", "nodes", "process", "job"]
FailureAction = Literal["continue", "restart", "local", "abort"]


@dataclass(frozen=True)
class StreamConfig:
    """One stream: a variable of the simulation on its way to an analysis.

    Parameters
    ----------
    analysis : name of the analysis that answers it.
    policy : what happens when inference does not keep up.
    steps : most frames that wait in memory, for each rank.
    max_bytes : most bytes that they take; the smaller of both holds, and one frame always fits. What is left of it is
        for frames on their way to a file (``spill``), at most 16 MB, or two frames.
    operators : reductions that the simulation rank makes before it publishes, in order.
    priority : a larger one is answered first.
    deadline_s : an answer later than this after its publication is of no use; None for whenever.
    """

    analysis: str
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    steps: int = 4
    max_bytes: int = 1 << 30
    operators: tuple[OperatorConfig, ...] = ()
    priority: int = 0
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        require(1 <= self.steps <= 4096, "steps", "lie in [1, 4096]", self.steps)
        require(self.max_bytes >= 1, "max_bytes", "be at least 1", self.max_bytes)
        if self.deadline_s is not None:
            require_positive(self, "deadline_s")


@dataclass(frozen=True)
class AnalysisConfig:
    """One analysis: ``plugin``, an entry point of ``cdi.analyses`` or ``module:object``, with ``options``."""

    plugin: str
    options: dict[str, Any] = field(default_factory=dict)
    batch: BatchConfig = field(default_factory=BatchConfig)

    def __post_init__(self) -> None:
        require(bool(self.plugin), "plugin", "name an analysis", self.plugin)


@dataclass(frozen=True)
class PlacementConfig:
    """Where inference runs.

    Parameters
    ----------
    kind : ``cores``: the last ``ranks`` ranks of every node serve the others there through shared memory; ``nodes``:
        the last ``ranks`` ranks of the job serve the others by MPI; ``process``: no rank is given up, the first rank of
        every node starts a process beside it; ``job``: a job of its own reads a stream (``cdi insitu serve``).
    ranks : ranks given up: for each node (``cores``) or in all (``nodes``).
    node_ranks : take so many consecutive ranks for a node, whatever the machine says; None asks MPI. For sockets of a
        large node, and for trying several nodes on one.
    threads : threads that a worker computes with.
    wait_ready : whether the simulation's first step waits until inference is ready.
    ready_timeout_s : how long a worker may take to be ready before it counts as failed.
    scaling : with ``cores``: how many of the ``ranks`` of a node have a worker, by the frames that wait there; None for
        all of them, always. The others' cores are free meanwhile.
    """

    kind: PlacementKind = "cores"
    ranks: int = 1
    node_ranks: int | None = None
    threads: int = 1
    wait_ready: bool = True
    ready_timeout_s: float = 300.0
    scaling: ScalingConfig | None = None

    def __post_init__(self) -> None:
        kinds = get_args(PlacementKind)
        require(self.kind in kinds, "kind", f"be one of {', '.join(kinds)}", self.kind)
        require(self.ranks >= 1, "ranks", "be at least 1", self.ranks)
        require(self.node_ranks is None or self.node_ranks >= 1, "node_ranks", "be at least 1", self.node_ranks)
        require(1 <= self.threads <= 256, "threads", "lie in [1, 256]", self.threads)
        require_positive(self, "ready_timeout_s")
        if self.scaling is not None:
            require(self.kind == "cores", "kind", "be cores where workers come and go (scaling)", self.kind)
            require(
                self.scaling.most <= self.ranks, "scaling.most", f"be at most ranks = {self.ranks}", self.scaling.most
            )


@dataclass(frozen=True)
class FailureConfig:
    """What happens when inference fails; the simulation goes on in every case but ``abort``.

    Parameters
    ----------
    action : ``restart`` at most ``times`` times, after ``backoff_s`` and then twice as long each time (up to 60 s);
        ``continue`` gives up at once: later frames are dropped as ``no_inference``; ``local``: restart, and where the
        rank that supervises is gone, the simulation's own takes over; ``abort`` ends the simulation with an error.
    times, backoff_s : of ``restart`` and ``local``.
    hang_timeout_s : a worker that shows no sign of life, or is busy with one batch, for so long is killed.
    drain_timeout_s : how long the end waits for frames under way.
    """

    action: FailureAction = "restart"
    times: int = 3
    backoff_s: float = 0.5
    hang_timeout_s: float = 120.0
    drain_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        actions = get_args(FailureAction)
        require(self.action in actions, "action", f"be one of {', '.join(actions)}", self.action)
        require(self.times >= 0, "times", "be at least 0", self.times)
        require_positive(self, "backoff_s", "hang_timeout_s", "drain_timeout_s")

    @property
    def restarts(self) -> int:
        """How often a worker is started anew."""
        return self.times if self.action in ("restart", "local") else 0


@dataclass(frozen=True)
class CouplingConfig:
    """A whole coupling. A stream has the name of the simulation's variable that it carries."""

    streams: dict[str, StreamConfig]
    analyses: dict[str, AnalysisConfig]
    placement: PlacementConfig = field(default_factory=PlacementConfig)
    on_inference_failure: FailureConfig = field(default_factory=FailureConfig)
    steering: SteeringConfig = field(default_factory=SteeringConfig)
    migration: MigrationConfig = field(default_factory=MigrationConfig)
    device: Literal["auto", "ipc", "pinned", "plain"] = "auto"

    def __post_init__(self) -> None:
        require(bool(self.streams), "streams", "name at least one variable", self.streams)
        for name, stream in self.streams.items():
            if stream.analysis not in self.analyses:
                raise ValueError(
                    f"streams.{name}.analysis must be one of the analyses, got {stream.analysis!r}; "
                    f"{nearest(stream.analysis, self.analyses)}"
                )
        if self.placement.scaling is not None and self.on_inference_failure.action == "local":
            raise ValueError(
                "on_inference_failure.action must not be local where workers come and go (placement.scaling): "
                "whoever took over would not know whose rings are whose"
            )

    def check_variables(self, variables: Mapping[str, Variable]) -> None:
        """Raise ``ValueError`` unless the simulation declares every stream's variable."""
        for name in self.streams:
            if name not in variables:
                raise ValueError(
                    f"streams.{name} must be a variable that the simulation declares, got none of that name; "
                    f"{nearest(name, variables)}"
                )
