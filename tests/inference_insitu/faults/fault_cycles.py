"""Attaches and closes again and again on the ranks of mpiexec, and counts what a leak would let grow.

    mpiexec -n 2 python fault_cycles.py FOLDER CYCLES real|fake

``fake`` starts no worker process: its supervisor says that all is well.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from inference_insitu import Variable, attach, coupling_config
from inference_insitu.inference.supervisor import Supervisor
from inference_insitu.ring.layout import Side

WARM_UP = 10
"""Cycles after which caches are full; half of them, where there are fewer than twice as many."""


class NoWorker(Supervisor):
    def poll(self) -> None:
        self.over = True
        self._say(Side.CLOSED)


def config() -> coupling_config.CouplingConfig:
    return coupling_config.CouplingConfig(
        streams={"heat": coupling_config.StreamConfig("test")},
        analyses={"test": coupling_config.AnalysisConfig("fault_analyses:Faulty")},
        placement=coupling_config.PlacementConfig("process", wait_ready=False),
    )


def counted(runs: set[str]) -> dict[str, Any]:
    """Descriptors, mappings and memory of this rank, segments of these runs."""
    status = Path("/proc/self/status").read_text()
    maps = Path("/proc/self/maps").read_text()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mappings": maps.count("/dev/shm/cdi-"),
        "segments": sum(name.startswith("cdi-") and name.split("-")[1] in runs for name in os.listdir("/dev/shm")),
        "kB": int(status.partition("VmRSS:")[2].split()[0]),
    }


def main(folder: Path, cycles: int, kind: str) -> None:
    if kind == "fake":
        attaching: Any = sys.modules["inference_insitu.attach"]
        supervised: Any = sys.modules["inference_insitu.placement.joined"]
        supervised.Supervisor, attaching.write_config = NoWorker, lambda config, path: None
    comm = MPI.COMM_WORLD
    before: dict[str, Any] = {}
    runs: set[str] = set()
    for cycle in range(cycles):
        output = folder / f"{cycle}"
        with attach(comm, config(), variables={"heat": Variable("float64", (8,))}, output=output) as coupling:
            coupling.publish("heat", np.arange(8.0), 0)
            coupling.end_step(0)
            assert coupling.simulation_comm.size == comm.size
        balanced = json.loads((output / "books.json").read_text())["balanced"] if comm.rank == 0 else True
        assert balanced
        told = map(json.loads, (output / f"events-simulation{comm.rank}.jsonl").read_text().splitlines())
        runs.add(next(one["run"] for one in told if one["event"] == "attach"))
        if cycle == min(WARM_UP, cycles // 2):
            before = counted(runs)
    comm.Barrier()
    # Not to the standard output, where the launcher may put two ranks' lines into one.
    (folder / f"figures-{comm.rank}.json").write_text(json.dumps({"before": before, "after": counted(runs)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
