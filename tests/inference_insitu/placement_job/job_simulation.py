"""A simulation for these tests: job_simulation.py OUTPUT CONFIG MOST_STEPS. Ends early once OUTPUT/../stop exists.

Each rank appends the step that it has ended to OUTPUT/../progress-<rank>; rank 0's pid is in OUTPUT/../pid-<rank>.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

from inference_insitu import Variable, attach

SIZE = 50_000
STEP_S = 0.02


def main(output: Path, config: str, most_steps: int) -> None:
    rank = MPI.COMM_WORLD.rank
    (output.parent / f"pid-{rank}").write_text(str(os.getpid()))
    slowest_s = 0.0
    with attach(MPI.COMM_WORLD, config, variables={"field": Variable("float32", (SIZE,))}, output=output) as coupling:
        progress = (output.parent / f"progress-{rank}").open("w")
        for step in range(most_steps):
            time.sleep(STEP_S)
            field = np.full(SIZE, 1000 * rank + step, np.float32)
            started = time.monotonic()
            coupling.publish("field", field, step, {"rank": rank})
            coupling.end_step(step)
            slowest_s = max(slowest_s, time.monotonic() - started)
            progress.write(f"{step}\n")
            progress.flush()
            stop = np.array([(output.parent / "stop").exists()], np.int64)
            coupling.simulation_comm.Bcast(stop, 0)
            if stop[0]:
                break
    print(json.dumps({"rank": rank, "slowest_s": slowest_s}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
