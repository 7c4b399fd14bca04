"""A rank given up for inference: it watches over a worker process, and computes nothing itself."""

import os
import sys
import time
from typing import TYPE_CHECKING

from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.region import Region
from inference_insitu.watching.events import EventLog

if TYPE_CHECKING:
    from inference_insitu.attach import Joined

LOOK_S = 0.02
"""Between looks: short beside a restart, long beside a step, and asleep meanwhile."""
END_TIMEOUT_S = 600.0


def keep(joined: "Joined") -> int:
    """Serve until the simulation's ranks have closed; the exit code of this rank."""
    from inference_insitu.attach import AGREE_TIMEOUT_S, supervisor_of
    from inference_insitu.placement import mpi

    index = joined.roles.keepers.index(joined.rank)
    events = EventLog(joined.output / f"events-keeper{index}.jsonl", f"keeper{index}")
    # The simulation's ranks create their rings meanwhile; where one cannot, all leave.
    mpi.agreed(joined.world, lambda: None, timeout_s=AGREE_TIMEOUT_S)
    supervisor = supervisor_of(joined, events)
    regions = supervisor.regions
    while not (supervisor.over and all(map(_closed, regions))):
        supervisor.poll()
        time.sleep(LOOK_S)
    supervisor.stop(timeout_s=joined.config.on_inference_failure.drain_timeout_s)
    events.log("closed")
    events.close()
    try:
        mpi.wait_for_all(joined.world, timeout_s=END_TIMEOUT_S)
    except Exception as error:  # a rank died meanwhile: MPI's own end would wait for it
        print(f"cdi: rank {joined.rank} leaves: {error}", file=sys.stderr, flush=True)
        os._exit(0)
    return 0


def _closed(region: Region) -> bool:
    return region.words[Word.PRODUCER_STATE] == Side.CLOSED
