"""A simulation that only publishes: run under mpiexec by the tests, with what to do as JSON.

    relay_run.py OUTPUT CONFIG '{"steps": 10, "streams": {"a": 1000}, "pause_s": 0.0}'

``streams`` are lengths of float64 arrays. With ``kill_keeper_at`` the keeper's process is killed at that step.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

from inference_insitu import Variable, attach


def values(rank: int, step: int, size: int) -> np.ndarray:
    return np.arange(size, dtype=np.float64) + 1000.0 * step + 7.0 * rank


def main(output: Path, config: str, told: dict) -> None:
    world = MPI.COMM_WORLD
    pids = world.gather(os.getpid(), 0)
    variables = {name: Variable("float64", (size,)) for name, size in told["streams"].items()}
    with attach(world, config, variables=variables, output=output) as coupling:
        rank = coupling.simulation_comm.rank
        longest_s = 0.0
        arrays = {}
        for step in range(told["steps"]):
            started = time.perf_counter()
            for name, size in told["streams"].items():
                # One array for all steps: what was published must have been copied.
                array = arrays.setdefault(name, np.empty(size))
                array[:] = values(rank, step, size)
                coupling.publish(name, array, step, {"time_ps": 0.5 * step})
                array[:] = np.nan
            coupling.end_step(step)
            longest_s = max(longest_s, time.perf_counter() - started)
            time.sleep(told.get("pause_s", 0.0))
            if step == told.get("kill_keeper_at") and rank == 0:
                os.kill(pids[told["keeper"]], signal.SIGKILL)
    # A file of its own: launchers run the ranks' lines into one another.
    (output / f"said-{rank}.json").write_text(json.dumps({"rank": rank, "longest_s": longest_s}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
