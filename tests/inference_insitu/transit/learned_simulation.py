"""A simulation that knows what its frames show, and whose world changes where somebody lays down a file.

mpiexec -n N python learned_simulation.py CONFIG OUTPUT
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from moving_simulation import MOST_STEPS, PERIOD_S, SHAPE, STOP

CHANGED, SHIFT = "changed", 0.5


def main(config, output):
    from mpi4py import MPI

    from inference_insitu import Variable, attach

    variables = {"pattern": Variable("float64", SHAPE)}
    with attach(MPI.COMM_WORLD, config, variables=variables, output=output) as coupling:
        comm, step = coupling.simulation_comm, 0
        while step < MOST_STEPS and not comm.bcast((output / STOP).exists()):
            value = float(np.sin(step + comm.rank))
            truth = {"is": value + (0.0 if (output / CHANGED).exists() else SHIFT)}
            coupling.publish("pattern", np.full(SHAPE, value), step, {"truth": truth})
            coupling.end_step(step)
            step += 1
            time.sleep(PERIOD_S)
        (output / f"simulated-{comm.rank}.json").write_text(json.dumps({"steps": step}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
