"""A simulation that goes on until somebody lays down a file.

    mpiexec -n N python moving_simulation.py CONFIG OUTPUT


What it computes does not depend on what becomes of its frames.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

SHAPE = (4, 6)
STOP, PAUSE, PAUSED, PERIOD_S = "stop", "pause", "paused", 0.05
MOST_STEPS = 60_000


def initial(rank):
    return np.arange(24.0).reshape(SHAPE) + rank


def advance(state):
    state[:] = np.cos(state) + 0.25 * state[::-1]


def main(config, output):
    from mpi4py import MPI

    from inference_insitu import CommandSpec, Variable, attach

    variables, commands = {"pattern": Variable("float64", SHAPE)}, [CommandSpec("mark", 0, 1)]
    with attach(MPI.COMM_WORLD, config, variables=variables, output=output, commands=commands) as coupling:
        comm = coupling.simulation_comm
        state, step, longest_s = initial(comm.rank), 0, 0.0
        while step < MOST_STEPS and not comm.bcast((output / STOP).exists()):
            if comm.bcast((output / PAUSE).exists()):
                (output / PAUSED).write_text(str(step))
                coupling.end_step(step - 1)  # the ledger takes in what is answered
                time.sleep(PERIOD_S)
                continue
            advance(state)
            started = time.monotonic()
            coupling.publish("pattern", state, step)
            coupling.end_step(step)
            coupling.poll_steering()
            longest_s = max(longest_s, time.monotonic() - started)
            step += 1
            time.sleep(PERIOD_S)
        said = {"steps": step, "longest_s": longest_s, "state": state.tolist()}
        (output / f"simulated-{comm.rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
