"""A rank given up for inference: it watches over a worker process, and computes nothing itself."""

import signal
import sys
import time
from collections.abc import Sequence

from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.supervisor import Supervisor
from inference_insitu.placement.joined import Joined, supervisor_of, sweep
from inference_insitu.placement.relay_receiver import Receiver
from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.processes import runs
from inference_insitu.ring.region import Region
from inference_insitu.sharing.sharing_out import SharingOut
from inference_insitu.sharing.wish import WishFile
from inference_insitu.waiting import AGREE_TIMEOUT_S, wait_until
from inference_insitu.watching.events import EventLog

LOOK_S = 0.02
"""Between looks: short beside a restart, long beside a step, and asleep meanwhile."""
SHORTEST_NAP_S, LONGEST_NAP_S = 0.0002, 0.002
"""Between looks at messages."""
LATE_S = 30.0
"""Beyond what a worker may take to be ready: it may be started anew meanwhile, and its ring be busy."""
LATEST_AHEAD = 2
"""Slots of a ``latest`` stream that may be under way: what has left cannot be replaced."""


def keep(joined: Joined) -> int:
    """Serve until the simulation's ranks have closed; the exit code of this rank."""
    try:
        # A Ctrl-C is the simulation's; its end is ours.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread, which alone is interrupted
        return _keep(joined)
    try:
        return _keep(joined)
    finally:
        signal.signal(signal.SIGINT, before)


def _keep(joined: Joined) -> int:
    from inference_insitu.placement import mpi, mpi_parting

    index = joined.roles.keepers.index(joined.rank)
    events = EventLog(joined.output / f"events-keeper{index}.jsonl", f"keeper{index}")
    sweep(joined, events)
    # The simulation's ranks create their rings meanwhile; where one cannot, all leave.
    mpi.agreed(joined.world, lambda: None, timeout_s=AGREE_TIMEOUT_S)
    receivers: list[Receiver] = []
    if joined.config.placement.kind == "nodes":
        mpi.agreed(joined.world, lambda: None, timeout_s=AGREE_TIMEOUT_S)
        receivers = _receivers(joined, events)
        wait_until(lambda: _all_known(receivers), timeout_s=AGREE_TIMEOUT_S)
    paths = [one.path for one in receivers if one.has_ring] if receivers else None
    supervisor = mpi.agreed(joined.world, lambda: supervisor_of(joined, events, paths=paths), timeout_s=AGREE_TIMEOUT_S)
    _serve(supervisor, receivers, _sharing_out(joined, index, supervisor, events))
    supervisor.stop(timeout_s=joined.config.on_inference_failure.drain_timeout_s)
    for receiver in receivers:
        receiver.close()
    events.log("closed")
    events.close()
    if _all_part(joined):
        mpi.free(joined.own, joined.world)
    else:
        mpi_parting.leave_without_finalize()
    return 0


def _all_part(joined: Joined) -> bool:
    """Wait until every simulation rank has parted, or one has given up; whether all ranks live.

    A rank that serves nobody is here from the start, so the wait is as long as the simulation. The launcher ends
    it where a rank dies, or MPI says so.
    """
    from inference_insitu.placement import mpi_parting

    words: list[int] = []
    try:
        while len(words) < joined.simulation_ranks and mpi_parting.ABANDONED not in words:
            words += mpi_parting.farewells(joined.world)
            time.sleep(LOOK_S)
    except Exception as error:
        print(f"cdi: rank {joined.rank} leaves: {error}", file=sys.stderr, flush=True)
        return False
    return mpi_parting.RANK_DIED not in words


def slots_under_way(config: CouplingConfig, stream: str, slots: int) -> int:
    """Of the ``slots`` that a simulation rank has of ``stream``, how many may be on the way to a keeper or there."""
    latest = stream in config.streams and config.streams[stream].policy.when_full == "latest"
    return max(1, min(LATEST_AHEAD, slots - 1)) if latest else slots


def _sharing_out(joined: Joined, index: int, supervisor: Supervisor, events: EventLog) -> SharingOut | None:
    """Where workers come and go the first keeper of the node shares its rings out."""
    placement, workers = joined.config.placement, joined.beside(index)
    if placement.scaling is None or index != workers[0] or not supervisor.regions:
        return None
    return SharingOut(
        supervisor.regions,
        workers,
        placement.scaling,
        WishFile(joined.output),
        events,
        timeout_s=placement.ready_timeout_s + LATE_S,
    )


def _serve(supervisor: Supervisor, receivers: Sequence[Receiver], sharing_out: SharingOut | None) -> None:
    nap_s = LOOK_S
    looked_s = 0.0
    while not (all(one.over for one in receivers) and all(map(_closed, supervisor.regions))):
        if receivers:
            busy = [receiver.progress() for receiver in receivers]
            nap_s = SHORTEST_NAP_S if any(busy) else min(2 * nap_s, LONGEST_NAP_S)
        if time.monotonic() - looked_s >= LOOK_S:
            looked_s = time.monotonic()
            supervisor.poll()
            if sharing_out is not None:
                sharing_out.poll(looked_s)
        time.sleep(nap_s)


def _receivers(joined: Joined, events: EventLog) -> list[Receiver]:
    from inference_insitu.placement.mpi_wire import MpiWire

    def receiver(rank: int) -> Receiver:
        number = joined.simulation_rank(rank)
        return Receiver(
            MpiWire(joined.world, rank),
            rank=number,
            path=joined.ring_path(number),
            slots_of=lambda stream, slots: slots_under_way(joined.config, stream, slots),
            tell=lambda line: _tell(events, number, line),
        )

    index = joined.roles.keepers.index(joined.rank)
    return [receiver(rank) for rank in joined.roles.served[index] if joined.has_ring(rank)]


def _all_known(receivers: Sequence[Receiver]) -> bool:
    for receiver in receivers:
        receiver.progress()
    return all(one.has_ring or one.over for one in receivers)


def _tell(events: EventLog, rank: int, line: str) -> None:
    events.log("relay", rank=rank, line=line)
    print(f"cdi: {line}", file=sys.stderr, flush=True)


def _closed(region: Region) -> bool:
    words = region.words
    return words[Word.PRODUCER_STATE] >= Side.CLOSED or not runs(words[Word.OWNER_PID], words[Word.OWNER_STARTED])
