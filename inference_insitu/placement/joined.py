"""What every rank of a coupling knows once roles are given, and how the ranks that infer are supervised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.frame import Variable
from inference_insitu.inference.spec import WorkerSpec
from inference_insitu.inference.supervisor import Supervisor
from inference_insitu.placement.plan import ranks_with_rings
from inference_insitu.placement.roles import Roles
from inference_insitu.ring.region import PREFIX, SHARED_MEMORY, Region
from inference_insitu.ring.stale import remove_stale
from inference_insitu.steering.commands import CommandSpec
from inference_insitu.watching.events import EventLog

if TYPE_CHECKING:
    from mpi4py import MPI

CONFIG = "coupling.yaml"
"""In the run's folder: the configuration, as workers read it."""


@dataclass(frozen=True)
class Joined:
    """What every rank knows once roles are given."""

    world: "MPI.Intracomm"
    own: "MPI.Intracomm"
    roles: Roles
    config: CouplingConfig
    variables: Mapping[str, Variable]
    output: Path
    run_id: str
    commands: tuple[CommandSpec, ...]
    first_of_node: bool = False

    @property
    def rank(self) -> int:
        """This rank among all."""
        return self.world.rank

    @property
    def given_up(self) -> tuple[int, ...]:
        """The ranks that infer and do not simulate."""
        return self.roles.keepers if self.roles.dedicated else ()

    @property
    def simulation_ranks(self) -> int:
        """How many ranks simulate."""
        return self.roles.simulating_before(self.world.size)

    def simulation_rank(self, rank: int) -> int:
        """Number among the simulation's ranks of ``rank`` among all."""
        return self.roles.simulating_before(rank)

    def ring_path(self, simulation_rank: int) -> Path:
        """Where the worker finds the ring of a simulation rank."""
        return SHARED_MEMORY / f"{PREFIX}{self.run_id}-{simulation_rank}"

    def own_ring_path(self, simulation_rank: int) -> Path | None:
        """Where a simulation rank makes its ring; None for memory of its own, where only messages leave it."""
        if self.config.placement.kind != "nodes":
            return self.ring_path(simulation_rank)
        # A worker of this rank's own may have to open it one day.
        local = self.config.on_inference_failure.action == "local"
        return SHARED_MEMORY / f"{PREFIX}{self.run_id}-{simulation_rank}-own" if local else None

    def beside(self, keeper: int) -> range:
        """The keepers among whom the rings of the node of ``keeper`` are shared out."""
        ranks = self.config.placement.ranks
        first = keeper // ranks * ranks
        return range(keeper, keeper + 1) if self.config.placement.scaling is None else range(first, first + ranks)

    def has_ring(self, rank: int) -> bool:
        """Whether ``rank`` among all, which simulates, has a ring."""
        return self.simulation_rank(rank) in ranks_with_rings(self.config, self.simulation_ranks)


def sweep(joined: Joined, events: EventLog) -> None:
    """One rank of each node removes what killed runs left there, before memory is asked for."""
    for stale in remove_stale() if joined.first_of_node else ():
        events.log("stale_removed", path=stale.path, bytes=stale.bytes, rank=stale.rank, pid=stale.owner_pid)


def supervisor_of(
    joined: Joined,
    events: EventLog,
    *,
    first_incarnation: int = 0,
    paths: Sequence[Path] | None = None,
    worker: int | None = None,
) -> Supervisor:
    """A supervisor of the worker that serves the share of this rank's keeper, or the rings at ``paths``.

    Where workers come and go it knows all rings of the node.
    """
    keepers, rank = joined.roles.keepers, joined.rank
    index = keepers.index(rank) if rank in keepers else joined.roles.keeper_of(rank)
    if paths is None:
        ranks = [rank for keeper in joined.beside(index) for rank in joined.roles.served[keeper]]
        served = [rank for rank in ranks if joined.has_ring(rank)]
        paths = [joined.ring_path(joined.simulation_rank(rank)) for rank in served]
    number = index if worker is None else worker
    spec = WorkerSpec(
        number,
        tuple(map(str, paths)),
        str(joined.output / CONFIG),
        str(joined.output),
        joined.commands,
        joined.run_id,
        workers=len(keepers),
    )
    spec_path = joined.output / f"worker-{number}.json"
    spec.write(spec_path)
    return Supervisor(
        spec_path,
        [Region.open(path) for path in paths],
        failure=joined.config.on_inference_failure,
        placement=joined.config.placement,
        events=events,
        first_incarnation=first_incarnation,
        worker=number,
    )
